//! Profiles fitted to measured latencies, and profiles that carry them.

mod common;

use common::{bits, conv, mobilenet_v1, profile, reference, resnet18};
use haq_simulator::{
    CalibrationError, CostModel, HardwareProfile, Measurement, Workload, calibrate,
};

fn measure(profile: &HardwareProfile, workload: &Workload, widths: &[u8]) -> Vec<Measurement> {
    let model = CostModel::new(profile, workload, 1).unwrap();
    let mut rows = Vec::new();
    for (index, layer) in workload.layers.iter().enumerate() {
        for width in widths {
            let bits = bits(*width, *width);
            let latency_s = model.layer(index, bits).latency_s;
            rows.push(Measurement { layer: layer.name.clone(), bits, latency_s });
        }
    }
    rows
}

/// The profile with some values changed in its text.
fn changed(name: &str, changes: &[(&str, &str)]) -> HardwareProfile {
    let mut text = profile(name).source().to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{name} has {from}");
        text = text.replacen(from, to, 1);
    }
    HardwareProfile::parse(&text, name).unwrap()
}

#[test]
fn a_device_that_differs_in_the_fitted_values_is_found_again() {
    for (name, changes) in [
        (
            "tpu-v1",
            vec![
                ("efficiency = 1.0", "efficiency = 0.43"),
                ("34e9", "21e9"),
                ("per_layer_overhead_s = 0.0", "per_layer_overhead_s = 3e-6"),
            ],
        ),
        ("stripes", vec![("efficiency = 1.0", "efficiency = 0.7"), ("64e9", "9e9")]),
        ("a100", vec![("efficiency = 0.68", "efficiency = 0.5"), ("8e-6", "5e-6")]),
    ] {
        let device = changed(name, &changes);
        let workload = Workload::of_layers(mobilenet_v1(1.0, 224));
        let rows = measure(&device, &workload, &[2, 4, 8]);
        let found = calibrate(&profile(name), &workload, 1, &rows).unwrap();
        assert!(found.mean_error_before() > 0.05, "{name} starts off");
        assert!(found.mean_error() < 1e-3, "{name}: {} {:?}", found.mean_error(), found.fitted);
        let close = |a: f64, b: f64| (a / b - 1.0).abs() < 0.02;
        assert!(close(found.profile.efficiency(), device.efficiency()), "{name}");
        assert!(
            close(found.profile.bandwidth_bytes_per_s(), device.bandwidth_bytes_per_s()),
            "{name}: {:?}",
            found.fitted
        );
    }
}

#[test]
fn a_calibrated_profile_keeps_everything_else_as_it_is_written() {
    let base = profile("tpu-v1");
    let workload = Workload::of_layers(mobilenet_v1(1.0, 224));
    let mut rows = measure(&base, &workload, &[8]);
    for row in &mut rows {
        row.latency_s *= 2.0;
    }
    let found = calibrate(&base, &workload, 1, &rows).unwrap();
    let lines = |profile: &HardwareProfile| -> Vec<String> {
        profile.source().lines().map(str::to_owned).collect()
    };
    let (before, after) = (lines(&base), lines(&found.profile));
    assert_eq!(before.len(), after.len());
    let differing = before.iter().zip(&after).filter(|(before, after)| before != after);
    for (before, after) in differing {
        let fitted = ["efficiency", "bw_bytes_per_s", "per_layer_overhead_s"];
        assert!(fitted.iter().any(|key| after.starts_with(key)), "{before} became {after}");
    }
    assert_eq!(HardwareProfile::parse(found.profile.source(), "again").unwrap(), found.profile);
}

#[test]
fn the_t4_is_calibrated_on_its_measured_layers() {
    let Some(table) = reference("silicon/t4_tensorcore_resnet18_per_layer.csv") else { return };
    let workload = Workload::of_layers(resnet18());
    let mut rows = Vec::new();
    for row in &table {
        for (width, column) in [(4, "latency_ms_w4a4"), (8, "latency_ms_w8a8")] {
            rows.push(Measurement {
                layer: row.text("layer").to_owned(),
                bits: bits(width, width),
                latency_s: row.real(column) * 1e-3,
            });
        }
    }
    let base = profile("t4-tensorrt");
    let found = calibrate(&base, &workload, 8, &rows).unwrap();
    assert!(found.mean_error_before() > 0.5);
    assert!(found.mean_error() < 0.10, "{} {:?}", found.mean_error(), found.fitted);
    let tuned = calibrate(&profile("t4"), &workload, 8, &rows).unwrap();
    assert!(tuned.mean_error() < 0.07, "{} {:?}", tuned.mean_error(), tuned.fitted);
}

#[test]
fn measurements_that_mean_nothing_are_refused() {
    let workload = Workload::of_layers(vec![conv("stem", 8, 3, 1, 1, (3, 8))]);
    let base = profile("tpu-v1");
    assert_eq!(calibrate(&base, &workload, 1, &[]), Err(CalibrationError::Empty));
    let row = Measurement { layer: "tail".to_owned(), bits: bits(8, 8), latency_s: 1e-3 };
    assert_eq!(
        calibrate(&base, &workload, 1, &[row]),
        Err(CalibrationError::UnknownLayer("tail".to_owned()))
    );
}

#[test]
fn tables_of_measurements_are_read_or_refused_by_line() {
    let header = "layer,weight_bits,activation_bits,latency_s\n";
    let rows = Measurement::parse_table(&format!("{header}stem,8,4,1.5e-3\n"), "m.csv").unwrap();
    let expected = Measurement { layer: "stem".to_owned(), bits: bits(8, 4), latency_s: 1.5e-3 };
    assert_eq!(rows, [expected]);
    for (text, expected) in [
        ("", "m.csv:1: no header line"),
        ("layer,latency_s\n", "m.csv:1: no column weight_bits"),
        (&format!("{header}stem,8,4,fast\n"), "m.csv:2: latency_s is \"fast\""),
        (&format!("{header}stem,8,4,-1\n"), "m.csv:2: latency_s is \"-1\""),
        (&format!("{header}\nstem,8,40,1\n"), "m.csv:3: activation_bits is \"40\""),
        (&format!("{header}stem,8\n"), "m.csv:2: latency_s is empty"),
    ] {
        let error = Measurement::parse_table(text, "m.csv").unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_measured_layer_costs_what_was_measured_and_the_rest_is_named() {
    let text = format!(
        "{}\n[[measured]]\nlayer = \"stem\"\nweight_bits = 4\nactivation_bits = 8\n\
         latency_s = 1.25e-3\nenergy_j = 2e-3\n",
        profile("edge-tpu").source()
    );
    let measured = HardwareProfile::parse(&text, "measured").unwrap();
    let workload = Workload::of_layers(vec![
        conv("stem", 8, 3, 1, 1, (3, 8)),
        conv("tail", 8, 3, 1, 1, (8, 8)),
    ]);
    let model = CostModel::new(&measured, &workload, 1).unwrap();
    let policy = [bits(4, 8), bits(8, 8)];
    let network = model.network(&policy);
    assert_eq!(network.layers[0].latency_s, 1.25e-3);
    assert_eq!(network.layers[0].energy_j, 2e-3);
    assert_eq!(network.modelled_layers, [1]);
    assert_eq!(network.cost, model.total(&policy));

    let analytic = CostModel::new(&profile("edge-tpu"), &workload, 1).unwrap();
    assert_eq!(network.layers[1], analytic.network(&policy).layers[1]);
    assert!(analytic.network(&policy).modelled_layers.is_empty());
    assert_eq!(model.network(&[bits(8, 8); 2]).modelled_layers, [0, 1]);
}
