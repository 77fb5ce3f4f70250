//! What is measured without a search, kept and found again.

use haq::{
    domain::{
        Bits, HessianTrace, LayerBits, MethodKey, Operand, Quality, QuantizationRecord,
        SensitivityRecord, SubjectDescription,
    },
    store::BlockingStore,
};

use crate::common::{KEY, assert_sound, bits, description, sql, temporary};

pub fn subject(seed: u64) -> SubjectDescription {
    SubjectDescription {
        model: "digits.onnx".into(),
        model_digest: "1a2b".into(),
        data: "embedded".into(),
        data_digest: "3c4d".into(),
        split: "test".into(),
        images: 449,
        calibration_images: 899,
        seed,
    }
}

pub fn float() -> Quality {
    Quality { top1: Some(0.98), kl: Some(0.0), agreement: Some(1.0), ..Quality::default() }
}

pub fn method(name: &str) -> MethodKey {
    MethodKey { name: name.into(), recipe: format!("{{\"rounding\":\"{name}\"}}") }
}

pub fn row(name: &str, bits: LayerBits, top1: f64) -> QuantizationRecord {
    QuantizationRecord {
        method: method(name),
        bits,
        pins: "none".into(),
        quality: Quality { top1: Some(top1), kl: Some(1.0 - top1), ..float() },
        size_bytes: 1858,
        calibrate_s: 1.5,
        round_s: 0.25,
        evaluate_s: 0.75,
    }
}

pub fn single(layer_index: usize, operand: Operand, width: u8) -> SensitivityRecord {
    SensitivityRecord {
        layer_index,
        name: format!("layer{layer_index}"),
        operand,
        bits: Bits::new(width).unwrap(),
        quality: Quality { kl: Some(0.1 / f64::from(width)), ..float() },
        squared_error: (operand == Operand::Weight).then_some(0.5),
    }
}

pub fn trace(layer_index: usize) -> HessianTrace {
    HessianTrace {
        layer_index,
        name: format!("layer{layer_index}"),
        weights: 72,
        trace: 6.5,
        standard_error: 0.5,
    }
}

#[test]
fn a_subject_is_found_again_by_everything_that_figures_depend_on() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    assert_eq!(store.find_subject(&subject(0)).unwrap(), None);
    let kept = store.add_subject(&subject(0), &float(), 0.5).unwrap();
    assert_eq!((kept.float, kept.float_evaluate_s), (float(), 0.5));
    assert_eq!(store.find_subject(&subject(0)).unwrap(), Some(kept));
    let later = store.add_subject(&subject(0), &float(), 9.0).unwrap();
    assert_eq!(later, kept, "what is there stays");

    let renamed = SubjectDescription { model: "copy.onnx".into(), ..subject(0) };
    assert_eq!(store.find_subject(&renamed).unwrap(), Some(kept), "a name is no identity");
    for other in [
        subject(u64::MAX),
        SubjectDescription { model_digest: "5e6f".into(), ..subject(0) },
        SubjectDescription { data_digest: "5e6f".into(), ..subject(0) },
        SubjectDescription { split: "search".into(), ..subject(0) },
        SubjectDescription { images: 1, ..subject(0) },
        SubjectDescription { calibration_images: 1, ..subject(0) },
    ] {
        assert_eq!(store.find_subject(&other).unwrap(), None, "{other:?}");
        let added = store.add_subject(&other, &float(), 0.5).unwrap();
        assert_ne!(added.id, kept.id);
    }
}

#[test]
fn figures_come_back_as_they_were_kept_and_newer_ones_replace_them() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let id = store.add_subject(&subject(0), &float(), 0.5).unwrap().id;
    let first = row("gptq", bits(4, 8), 0.97);
    store.keep_quantization(id, &first).unwrap();
    store.keep_quantization(id, &row("mse", bits(4, 8), 0.9)).unwrap();
    assert_eq!(store.quantizations(id).unwrap(), [first, row("mse", bits(4, 8), 0.9)]);
    store.keep_quantization(id, &row("mse", bits(4, 8), 0.95)).unwrap();
    let pinned = QuantizationRecord { pins: "first=8/8".into(), ..row("mse", bits(4, 8), 0.96) };
    store.keep_quantization(id, &pinned).unwrap();
    assert_eq!(store.quantizations(id).unwrap()[1..], [pinned, row("mse", bits(4, 8), 0.95)]);

    let gptq = method("gptq");
    let singles: Vec<SensitivityRecord> = [(0, Operand::Weight, 2), (0, Operand::Weight, 4)]
        .into_iter()
        .chain([(0, Operand::Activation, 2), (1, Operand::Weight, 2)])
        .map(|(layer, operand, width)| single(layer, operand, width))
        .collect();
    store.keep_sensitivities(id, &gptq, &singles[2..]).unwrap();
    store.keep_sensitivities(id, &gptq, &singles[..2]).unwrap();
    assert_eq!(store.sensitivities(id, &gptq).unwrap(), singles, "by layer, tensor, bits");
    let other_recipe = MethodKey { recipe: "{}".into(), ..gptq };
    assert_eq!(store.sensitivities(id, &other_recipe).unwrap(), []);

    store.keep_hessian_traces(id, 50, 256, &[trace(1), trace(0)]).unwrap();
    assert_eq!(store.hessian_traces(id, 50, 256).unwrap(), [trace(0), trace(1)]);
    assert_eq!(store.hessian_traces(id, 51, 256).unwrap(), []);
    assert!((trace(0).omega(0.5) - 6.5 / 72.0 * 0.5).abs() < 1e-15);
    drop(store);
    assert_sound(&path);
    sql(&path, "PRAGMA foreign_keys = ON; DELETE FROM measurement_subjects");
    for table in ["quantizations", "sensitivities", "hessian_traces"] {
        assert_eq!(sql(&path, &format!("SELECT count(*) FROM {table}")), ["0"], "{table}");
    }
}

#[test]
fn runs_share_sensitivities_and_losing_one_run_loses_none() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let runs = [(); 2].map(|()| store.create_run(&description(), KEY).unwrap());
    assert_eq!(store.run_sensitivities(runs[0]).unwrap(), None);
    let id = store.add_subject(&subject(0), &float(), 0.5).unwrap().id;
    for run in runs {
        store.link_sensitivities(run, id, &method("gptq")).unwrap();
    }
    let found = |run| store.run_sensitivities(run).unwrap().unwrap();
    assert_eq!(found(runs[1]).records, [], "nothing is measured yet");
    let singles = [single(0, Operand::Weight, 2), single(0, Operand::Activation, 2)];
    store.keep_sensitivities(id, &method("gptq"), &singles).unwrap();
    store.keep_sensitivities(id, &method("mse"), &[single(1, Operand::Weight, 2)]).unwrap();
    for run in runs {
        assert_eq!(found(run).records, singles);
        assert_eq!((found(run).subject, found(run).images), (id, 449));
    }
    store.interrupt(runs[0]).unwrap();
    store.delete_run(runs[0]).unwrap();
    assert_eq!(store.run_sensitivities(runs[0]).unwrap(), None);
    assert_eq!(found(runs[1]).records, singles);
    drop(store);
    assert_sound(&path);
}
