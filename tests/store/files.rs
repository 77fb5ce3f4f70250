//! Files that are new, old, damaged, foreign, or in the wrong place.

use std::{fs, path::Path};

use haq::store::{BlockingStore, Checkpoint, RunQuery, StoreError};
use sqlx::{Connection, SqliteConnection, migrate::Migrator, sqlite::SqliteConnectOptions};

use crate::common::{KEY, assert_sound, checkpoint, description, episode, sql, temporary};

#[test]
fn a_new_file_is_strict_logged_and_sound() {
    let (_folder, path) = temporary();
    drop(BlockingStore::open(&path).unwrap());
    assert_sound(&path);
    assert_eq!(sql(&path, "PRAGMA journal_mode"), ["wal"]);
    let loose = "SELECT name FROM pragma_table_list WHERE type = 'table' AND NOT strict
                 AND name NOT LIKE 'sqlite_%' AND name <> '_sqlx_migrations'";
    assert_eq!(sql(&path, loose), [""; 0]);
}

#[test]
fn what_was_written_is_there_after_closing_in_one_file() {
    let (folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let run = store.create_run(&description(), KEY).unwrap();
    store.commit_episode(run, &episode(0, 0.9, 0.004), &checkpoint(0)).unwrap();
    drop(store);
    let files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["haq.db"]);
    let store = BlockingStore::open(&path).unwrap();
    assert_eq!(store.episodes(run).unwrap(), [episode(0, 0.9, 0.004)]);
}

#[test]
fn an_empty_file_becomes_a_database() {
    let (_folder, path) = temporary();
    fs::write(&path, "").unwrap();
    BlockingStore::open(&path).unwrap().create_run(&description(), KEY).unwrap();
}

#[test]
fn what_cannot_be_a_database_is_named_and_left_as_it_is() {
    let (folder, _) = temporary();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("text"), "no database\n".repeat(100)).unwrap();
    fs::write(at("short"), "xy").unwrap();
    fs::create_dir(at("folder")).unwrap();
    sql(&at("foreign"), "CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('keep me')");
    for (name, expected) in [
        ("text", "is not an SQLite database"),
        ("short", "is not an SQLite database"),
        ("folder", "is a folder; a database is a file"),
        ("foreign", "of another program, not of haq"),
        ("none/haq.db", "does not exist; create it first"),
        ("text/haq.db", "is a file, not a folder"),
    ] {
        let path = at(name);
        let before = fs::read(&path).ok();
        let message = BlockingStore::open(&path).unwrap_err().to_string();
        assert!(message.contains(expected), "{name}: {message}");
        assert!(message.contains(path.to_str().unwrap()), "{name}: {message}");
        assert_eq!(fs::read(&path).ok(), before, "{name}");
    }
    assert_eq!(sql(&at("foreign"), "PRAGMA journal_mode"), ["delete"]);
}

#[cfg(target_os = "linux")]
#[test]
fn places_where_nobody_can_write_are_named() {
    for (path, expected) in [
        ("/dev/null", "is not a regular file"),
        // Refused even to root.
        ("/proc/self/haq.db", "/proc/self"),
    ] {
        let error = BlockingStore::open(path).unwrap_err();
        assert!(error.to_string().contains(expected), "{path}: {error}");
    }
}

#[test]
fn damage_is_named() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let run = store.create_run(&description(), KEY).unwrap();
    for index in 0..200 {
        let checkpoint = Checkpoint { state: None, delta: vec![1; 100], in_flight: None };
        store.commit_episode(run, &episode(index, 0.9, 0.004), &checkpoint).unwrap();
    }
    drop(store);
    let whole = fs::read(&path).unwrap();

    // The first page stays, all the others turn to noise.
    let mut noise = whole.clone();
    noise[4096..].fill(0xa5);
    fs::write(&path, noise).unwrap();
    let error = BlockingStore::open(&path).and_then(|store| store.episodes(run)).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");

    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = BlockingStore::open(&path).and_then(|store| store.episodes(run)).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

#[test]
fn a_newer_schema_is_refused() {
    let (_folder, path) = temporary();
    drop(BlockingStore::open(&path).unwrap());
    sql(
        &path,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (99, 'from the future', 1, x'00', 0)",
    );
    for error in
        [BlockingStore::open(&path).unwrap_err(), BlockingStore::open_read_only(&path).unwrap_err()]
    {
        assert!(matches!(error, StoreError::NewerSchema { found: 99, .. }), "{error}");
    }
}

#[test]
fn a_schema_of_an_unreleased_build_is_refused() {
    let (_folder, path) = temporary();
    drop(BlockingStore::open(&path).unwrap());
    sql(&path, "UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 2");
    let error = BlockingStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::UnknownSchema { version: 2, .. }), "{error}");
}

/// Applies the first `steps` migrations only.
fn create_old(path: &Path, steps: usize) {
    let all: Migrator = sqlx::migrate!("./migrations");
    let some = Migrator::with_migrations(all.iter().take(steps).cloned().collect());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        some.run(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

#[test]
fn an_older_schema_is_upgraded_after_a_backup() {
    let latest = sqlx::migrate!("./migrations").iter().count();
    for steps in 1..latest {
        let (_folder, path) = temporary();
        create_old(&path, steps);
        sql(
            &path,
            "INSERT INTO runs VALUES (1, '2026-11-23T12:00:00.000Z', 'interrupted', NULL, 'old.onnx',
                 '1a2b', 'embedded', 'edge-tpu', 'ddpg', 'top1', 'size', 7, 200, 1, '[]', '[]',
                 0.01, 0.02, 40000, 90000, '{}', 'key', 0, 0, 0.0, NULL, '[]', 3, 'host', 'boot', 1, 1, 0);
             INSERT INTO layers VALUES (1, 0, 'old layer', 'conv', 1, 1, 0)",
        );
        let error = BlockingStore::open_read_only(&path).unwrap_err();
        assert!(matches!(error, StoreError::OlderSchema { .. }), "{steps}: {error}");
        let copy = path.with_extension("copy");
        BlockingStore::open_as_found(&path).unwrap().back_up(&copy, false).unwrap();
        for file in [&path, &copy] {
            let check = BlockingStore::check(file).unwrap();
            assert!(check.is_sound(), "{steps}: {check:?}");
            assert_eq!((check.schema_version, check.runs), (Some(steps as i64), Some(1)));
        }

        let store = BlockingStore::open(&path).unwrap();
        assert_eq!(store.run(1).unwrap().description.layers[0].name, "old layer");
        store.claim(1).unwrap();
        store.commit_episode(1, &episode(0, 0.9, 0.004), &checkpoint(0)).unwrap();
        drop(store);
        let applied = "SELECT CAST(count(*) AS TEXT) FROM _sqlx_migrations";
        assert_eq!(sql(&path, applied), [latest.to_string()]);

        let backup = format!("{}.schema-{steps}.backup", path.display());
        assert_eq!(sql(backup.as_ref(), applied), [steps.to_string()]);
        assert_eq!(sql(backup.as_ref(), "SELECT name FROM layers"), ["old layer"]);
        assert_sound(&path);
    }
}

#[test]
fn an_upgrade_never_overwrites_a_backup() {
    let (_folder, path) = temporary();
    create_old(&path, 1);
    let backup = format!("{}.schema-1.backup", path.display());
    fs::write(&backup, "precious").unwrap();
    drop(BlockingStore::open(&path).unwrap());
    assert_eq!(fs::read_to_string(&backup).unwrap(), "precious");
    let second = format!("{}.schema-1-2.backup", path.display());
    assert_eq!(sql(second.as_ref(), "PRAGMA integrity_check"), ["ok"]);
}

#[test]
fn reading_only_neither_creates_nor_writes() {
    let (_folder, path) = temporary();
    let error = BlockingStore::open_read_only(&path).unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    assert!(!path.exists());

    let store = BlockingStore::open(&path).unwrap();
    let run = store.create_run(&description(), KEY).unwrap();
    drop(store);
    let before = fs::read(&path).unwrap();
    let store = BlockingStore::open_read_only(&path).unwrap();
    assert_eq!(store.list(&RunQuery::default()).unwrap().len(), 1);
    for error in [
        store.create_run(&description(), KEY).unwrap_err(),
        store.claim(run).unwrap_err(),
        store.delete_run(run).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::OpenedForReading { .. }), "{error}");
    }
    drop(store);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_reader_follows_a_writer() {
    let (_folder, path) = temporary();
    let writer = BlockingStore::open(&path).unwrap();
    let reader = BlockingStore::open_read_only(&path).unwrap();
    let run = writer.create_run(&description(), KEY).unwrap();
    for index in 0..3 {
        writer.commit_episode(run, &episode(index, 0.9, 0.004), &checkpoint(index)).unwrap();
        assert_eq!(reader.episodes(run).unwrap().len(), index as usize + 1);
    }
}
