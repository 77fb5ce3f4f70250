//! The documentation of the database says what is so.

use std::fs;

use haq::{
    domain::{EpisodeRecord, JudgedBy, Operand},
    store::BlockingStore,
};

use crate::{
    common::{KEY, bits, checkpoint, description, episode, sql, temporary},
    measurements::{float, method, row, single, subject, trace},
    tunings::{self, tuning},
};

fn readme() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/README.md")).unwrap()
}

#[test]
fn every_documented_query_answers() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let run = store.create_run(&description(), KEY).unwrap();
    for index in 0..3 {
        let quality = 0.9 + f64::from(index) / 100.0;
        let judged_by = Some(JudgedBy {
            worker: "one".into(),
            device: "NVIDIA H100".into(),
            libtorch_version: "2.10.0".into(),
            evaluation_s: 0.5,
        });
        let record =
            EpisodeRecord { judged_by, ..episode(index, quality, 0.002 + quality / 1000.0) };
        store.commit_episode(run, &record, &checkpoint(index)).unwrap();
    }
    let subject = store.add_subject(&subject(0), &float(), 0.5).unwrap().id;
    store.keep_quantization(subject, &row("gptq", bits(4, 8), 0.97)).unwrap();
    let singles = [single(0, Operand::Weight, 4), single(1, Operand::Weight, 4)];
    store.keep_sensitivities(subject, &method("gptq"), &singles).unwrap();
    store.link_sensitivities(run, subject, &method("gptq")).unwrap();
    store.keep_hessian_traces(subject, 50, 256, &[trace(0)]).unwrap();
    let claim = store.create_tuning(&tuning(Some(run))).unwrap();
    for (epoch, top1) in [(0, 0.5), (1, 0.9)] {
        let epoch = tunings::epoch(epoch, top1);
        store.commit_tuning_epoch(&claim, &tunings::step(&epoch, true)).unwrap();
    }
    let readme = readme();
    let queries: Vec<&str> =
        readme.split("```sql\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    assert!(queries.len() >= 5);
    for query in queries {
        assert!(!sql(&path, query).is_empty(), "{query}");
    }
}

#[test]
fn every_table_view_and_column_is_documented() {
    let (_folder, path) = temporary();
    drop(BlockingStore::open(&path).unwrap());
    let readme = readme();
    let tables = sql(
        &path,
        "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')
         AND name NOT LIKE 'sqlite_%' AND name <> '_sqlx_migrations'",
    );
    for table in tables {
        assert!(readme.contains(&format!("### `{table}`")), "{table}");
        for column in sql(&path, &format!("SELECT name FROM pragma_table_info('{table}')")) {
            assert!(readme.contains(&format!("`{column}`")), "{table}.{column}");
        }
    }
}
