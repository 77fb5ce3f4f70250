//! A comparison as a table and as CSV.

use super::{Results, rows::Spread};
use crate::{
    cli::output,
    domain::{CostKind, Measure, show_cost},
};

/// How the figures came about, in one line.
pub fn protocol(results: &Results) -> String {
    let first = &results.seeds[0].description;
    let seeds = match results.seeds.as_slice() {
        [seed] => format!("seed {}", seed.description.seed),
        seeds => format!("{} seeds from {}, mean ± standard deviation", seeds.len(), first.seed),
    };
    let pins = match results.pins.as_str() {
        "none" => String::new(),
        pins => format!(" · {pins}"),
    };
    format!(
        "{} {} images, calibrated on {} others{pins} · {seeds}",
        first.images, results.split, first.calibration_images
    )
}

pub fn table(results: &Results) -> String {
    let measure = results.measure;
    let mut header = vec!["method", "W/A", measure.word(), "to float", "KL", "agreement"];
    header.extend(["size", "of float"]);
    if results.profile.is_some() {
        header.extend(["device size", "latency"]);
    }
    header.extend(["calibrate", "round", "evaluate"]);
    let numbers: Vec<usize> = (2..header.len()).collect();
    let mut table = output::plain_table(&header, &numbers);
    let size = |bytes: u64| show_cost(CostKind::Size, bytes as f64);
    let mut float = vec!["float".to_owned(), String::new()];
    float.push(shown(measure, results.float_quality()));
    float.extend([String::new(), String::new(), String::new()]);
    float.extend([size(results.float_size_bytes), "1.000".into()]);
    float.resize(header.len() - 1, String::new());
    let float_s = results.seeds.iter().map(|seed| Some(seed.comparison.float.evaluate_s));
    float.push(seconds(Spread::of(float_s)));
    table.add_row(float);
    for row in &results.rows {
        let ratio = row.size_bytes as f64 / results.float_size_bytes as f64;
        let mut cells = vec![
            row.method.clone(),
            row.bits.to_string(),
            shown(measure, row.quality),
            to_float(measure, row.to_float),
            row.kl.map_or(String::new(), |kl| format!("{:.4}", kl.mean)),
            row.agreement.map_or(String::new(), |share| format!("{:.2} %", share.mean * 100.0)),
            size(row.size_bytes),
            format!("{ratio:.3}"),
        ];
        if results.profile.is_some() {
            let cost = |kind| row.modelled.map_or(String::new(), |c| show_cost(kind, c.get(kind)));
            cells.extend([cost(CostKind::Size), cost(CostKind::Latency)]);
        }
        cells.extend([row.calibrate_s, row.round_s, row.evaluate_s].map(seconds));
        table.add_row(cells);
    }
    let modelled = match &results.profile {
        Some(profile) => format!("\ndevice size and latency are modelled on {profile}"),
        None => String::new(),
    };
    let protocol = protocol(results);
    format!("{}\n\n{}: {protocol}{modelled}", table.trim_fmt(), results.model.name)
}

/// `91.82 %`, or `91.82 ± 0.04 %`.
fn shown(measure: Measure, quality: Option<Spread>) -> String {
    let Some(Spread { mean, deviation }) = quality else { return String::new() };
    let Some(deviation) = deviation else { return measure.show(mean) };
    match measure {
        Measure::Top1 | Measure::Top5 | Measure::Agreement => {
            format!("{:.2} ± {:.2} %", mean * 100.0, deviation * 100.0)
        }
        Measure::Kl | Measure::Mse => format!("{} ± {deviation:.4}", measure.show(mean)),
    }
}

/// The difference to float: in points for shares, in the measure's own unit for distances.
fn to_float(measure: Measure, difference: Option<Spread>) -> String {
    let Some(Spread { mean, .. }) = difference else { return String::new() };
    match measure {
        Measure::Top1 | Measure::Top5 | Measure::Agreement => format!("{:+.2}", mean * 100.0),
        Measure::Kl | Measure::Mse => format!("{:+.4}", -mean),
    }
}

fn seconds(spread: Option<Spread>) -> String {
    spread.map_or(String::new(), |spread| format!("{:.2} s", spread.mean))
}

const COLUMNS: [&str; 19] = [
    "model",
    "method",
    "weight_bits",
    "activation_bits",
    "pins",
    "measure",
    "seeds",
    "images",
    "quality",
    "quality_deviation",
    "to_float",
    "kl_nats",
    "agreement",
    "size_bytes",
    "size_ratio",
    "modelled_latency_s",
    "calibrate_s",
    "round_s",
    "evaluate_s",
];

/// One line a row; shares from 0 to 1, more is better.
pub fn csv(results: &Results) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let mean = |spread: Option<Spread>| number(spread.map(|spread| spread.mean));
    for row in &results.rows {
        writer.write_record([
            results.model.name.clone(),
            row.method.clone(),
            row.bits.weight.to_string(),
            row.bits.activation.to_string(),
            results.pins.clone(),
            results.measure.to_string(),
            results.seeds.len().to_string(),
            results.seeds[0].description.images.to_string(),
            mean(row.quality),
            number(row.quality.and_then(|spread| spread.deviation)),
            mean(row.to_float),
            mean(row.kl),
            mean(row.agreement),
            row.size_bytes.to_string(),
            number(Some(row.size_bytes as f64 / results.float_size_bytes as f64)),
            number(row.modelled.map(|cost| cost.latency_s)),
            mean(row.calibrate_s),
            mean(row.round_s),
            mean(row.evaluate_s),
        ])?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}
