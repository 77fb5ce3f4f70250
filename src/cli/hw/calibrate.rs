//! `haq hw calibrate`.

use haq_simulator::{Calibration, CalibrationError, FittedValue, Measurement, Residual, calibrate};
use serde_json::{Value, json};

use crate::{
    cli::{
        args::{Global, HwCalibrateArgs},
        output,
        workload::{Subject, read},
    },
    domain::{CostKind, show_cost},
    runner::find_profile,
};

pub fn run(global: &Global, args: &HwCalibrateArgs) -> anyhow::Result<()> {
    let profile = find_profile(&args.profile)?.parse()?;
    let table = args.measurements.display().to_string();
    let text = read(&args.measurements)?;
    let measurements = Measurement::parse_table(&text, &table)?;
    let subject = Subject::load(&args.workload)?;
    let batch = args.batch.unwrap_or(profile.batch());
    let fitted = calibrate(&profile, &subject.workload, batch, &measurements)
        .map_err(|error| placed(error, &text, &table, &measurements, &subject.layer_names()))?;
    if let Some(out) = &args.out {
        std::fs::write(out, fitted.profile.source())
            .map_err(|error| anyhow::anyhow!("{}: {error}", out.display()))?;
    }
    if global.json {
        return output::print_json(&json_of(&fitted, batch, args));
    }
    match &args.out {
        Some(out) => {
            output::print(&tables(&fitted))?;
            output::note(global, format!("written to {}", out.display()));
            Ok(())
        }
        // The profile alone goes to stdout, so that it can be redirected into a file.
        None => {
            output::note(global, tables(&fitted));
            output::print(fitted.profile.source())
        }
    }
}

/// The error with the place in the table it is about.
fn placed(
    error: CalibrationError,
    text: &str,
    table: &str,
    measurements: &[Measurement],
    known: &[&str],
) -> anyhow::Error {
    match &error {
        CalibrationError::UnknownLayer(name) => {
            let row = measurements.iter().position(|measurement| measurement.layer == *name);
            let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            // The header is the first line that is not empty.
            let line = row.and_then(|row| lines.nth(row + 1)).map_or(1, |(line, _)| line + 1);
            anyhow::anyhow!("{table}:{line}: {error}, whose layers are {}", known.join(", "))
        }
        CalibrationError::Empty => anyhow::anyhow!("{table}:1: {error}"),
        CalibrationError::Cost(_) => error.into(),
    }
}

fn tables(fitted: &Calibration) -> String {
    let mut values = output::plain_table(&["fitted", "before", "after"], &[1, 2]);
    for FittedValue { key, before, after } in &fitted.fitted {
        values.add_row([key.clone(), number(*before), number(*after)]);
    }
    let header = ["layer", "w/a", "measured", "before", "error", "after", "error"];
    let mut errors = output::plain_table(&header, &[2, 3, 4, 5, 6]);
    let latency = |seconds| show_cost(CostKind::Latency, seconds);
    for residual in &fitted.residuals {
        errors.add_row([
            residual.layer.clone(),
            residual.bits.to_string(),
            latency(residual.measured_s),
            latency(residual.before_s),
            signed_percent(residual.error_before()),
            latency(residual.after_s),
            signed_percent(residual.error()),
        ]);
    }
    format!(
        "{}\n\n{}\n\nmean error of {} measurements: {:.2} % before, {:.2} % after",
        values.trim_fmt(),
        errors.trim_fmt(),
        fitted.residuals.len(),
        100.0 * fitted.mean_error_before(),
        100.0 * fitted.mean_error(),
    )
}

/// Six digits, without zeros at the end; as a power of ten where it is far from 1.
fn number(value: f64) -> String {
    let rounded: f64 = format!("{value:.5e}").parse().unwrap_or(value);
    if rounded == 0.0 || (1e-3..1e6).contains(&rounded.abs()) {
        rounded.to_string()
    } else {
        format!("{rounded:e}")
    }
}

fn signed_percent(error: f64) -> String {
    format!("{:+.2} %", 100.0 * error)
}

fn json_of(fitted: &Calibration, batch: u64, args: &HwCalibrateArgs) -> Value {
    let values: Vec<Value> = fitted
        .fitted
        .iter()
        .map(|value| json!({"key": value.key, "before": value.before, "after": value.after}))
        .collect();
    let layer = |residual: &Residual| {
        json!({
            "layer": residual.layer,
            "weight_bits": residual.bits.weight,
            "activation_bits": residual.bits.activation,
            "measured_s": residual.measured_s,
            "before_s": residual.before_s,
            "after_s": residual.after_s,
            "error_before": residual.error_before(),
            "error_after": residual.error(),
        })
    };
    let mut object = json!({
        "schema": output::SCHEMA,
        "profile": fitted.profile.name(),
        "batch": batch,
        "fitted": values,
        "layers": fitted.residuals.iter().map(layer).collect::<Vec<_>>(),
        "mean_error_before": fitted.mean_error_before(),
        "mean_error_after": fitted.mean_error(),
    });
    match &args.out {
        Some(out) => object["file"] = json!(out),
        None => object["text"] = json!(fitted.profile.source()),
    }
    object
}
