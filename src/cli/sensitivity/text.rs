//! Sensitivities as tables and as CSV.

use super::Results;
use crate::{
    cli::output,
    domain::{Measure, Operand, SensitivityRecord},
};

/// Single roundings that are marked: those that lose most at their width.
const MARKED: usize = 3;

/// What the cells show.
pub fn quantity(measure: Measure) -> &'static str {
    match measure {
        Measure::Top1 => "loss of top-1 accuracy, share",
        Measure::Top5 => "loss of top-5 accuracy, share",
        Measure::Agreement => "loss of agreement with float, share",
        Measure::Kl => "KL divergence from float, nats",
        Measure::Mse => "squared error against float",
    }
}

/// How the figures came about, in one line.
pub fn protocol(results: &Results) -> String {
    let of = &results.description;
    format!(
        "{} {} images, calibrated on {} others · {} · seed {}",
        of.images, of.split, of.calibration_images, results.method, of.seed
    )
}

/// A table an operand, then the Hessian's, then how it came about.
pub fn tables(results: &Results) -> String {
    let mut parts: Vec<String> =
        results.operands.iter().map(|&operand| table(results, operand)).collect();
    if !results.found.traces.is_empty() {
        parts.push(hessian_table(results));
    }
    parts.push(format!(
        "{}: {}\n{}; * among the {MARKED} largest at that width",
        results.description.model,
        protocol(results),
        quantity(results.measure)
    ));
    parts.join("\n\n")
}

/// Layers by widths.
fn table(results: &Results, operand: Operand) -> String {
    let mut header = vec!["#".to_owned(), operand.word().to_owned()];
    header.extend(results.bits.iter().map(|bits| format!("{bits} bits")));
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let numbers: Vec<usize> = (0..header.len()).filter(|&column| column != 1).collect();
    let mut table = output::plain_table(&header, &numbers);
    let loss_of = |record: &SensitivityRecord| results.loss(&record.quality);
    let limits: Vec<f64> = results
        .bits
        .iter()
        .map(|&bits| {
            let same = |r: &&SensitivityRecord| (r.operand, r.bits) == (operand, bits);
            let mut losses: Vec<f64> =
                results.found.records.iter().filter(same).filter_map(loss_of).collect();
            losses.sort_by(|a, b| b.total_cmp(a));
            losses.get(MARKED - 1).copied().unwrap_or(f64::INFINITY)
        })
        .collect();
    for (layer, name) in results.layers.iter().enumerate() {
        let mut cells = vec![layer.to_string(), name.clone()];
        for (&bits, &limit) in results.bits.iter().zip(&limits) {
            let loss = results.record(layer, operand, bits).and_then(loss_of);
            cells.push(loss.map_or(String::new(), |loss| {
                let mark = if loss >= limit && loss > 0.0 { "*" } else { " " };
                format!("{}{mark}", shown(loss))
            }));
        }
        table.add_row(cells);
    }
    table.trim_fmt()
}

fn hessian_table(results: &Results) -> String {
    let mut header: Vec<String> =
        ["#", "Hessian", "trace", "± error", "average trace"].map(str::to_owned).into();
    let weights = results.operands.contains(&Operand::Weight);
    if weights {
        header.extend(results.bits.iter().map(|bits| format!("omega {bits}")));
    }
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let numbers: Vec<usize> = (0..header.len()).filter(|&column| column != 1).collect();
    let mut table = output::plain_table(&header, &numbers);
    for trace in &results.found.traces {
        let is_certain = trace.trace > 2.0 * trace.standard_error;
        let mark = if is_certain { " " } else { "?" };
        let mut cells = vec![
            trace.layer_index.to_string(),
            trace.name.clone(),
            format!("{}{mark}", shown(trace.trace)),
            shown(trace.standard_error),
            shown(trace.trace / trace.weights as f64),
        ];
        if weights {
            cells.extend(results.bits.iter().map(|&bits| {
                let record = results.record(trace.layer_index, Operand::Weight, bits);
                record.and_then(|record| results.omega(record)).map_or(String::new(), shown)
            }));
        }
        table.add_row(cells);
    }
    format!(
        "{}\n{} probes on {} calibration images; omega is average trace · squared change of the weights (HAWQ-V2)\n? not two standard errors above 0: more --probes would tell",
        table.trim_fmt(),
        results.probes,
        results.found.probed_images
    )
}

/// Three digits.
fn shown(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    match value.abs() {
        1e-3..1e3 => {
            let digits = (2 - value.abs().log10().floor() as i32).clamp(0, 5) as usize;
            format!("{value:.digits$}")
        }
        _ => format!("{value:.2e}"),
    }
}

const COLUMNS: [&str; 16] = [
    "model",
    "method",
    "layer_index",
    "layer",
    "tensor",
    "bits",
    "images",
    "top1",
    "top5",
    "loss_nats",
    "agreement",
    "kl_nats",
    "mse",
    "squared_error",
    "average_trace",
    "omega",
];

/// One line a layer, tensor and width; shares from 0 to 1.
pub fn csv(results: &Results) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    for record in &results.found.records {
        let quality = &record.quality;
        let trace = results.found.traces.iter().find(|t| t.layer_index == record.layer_index);
        writer.write_record([
            results.description.model.clone(),
            results.method.clone(),
            record.layer_index.to_string(),
            record.name.clone(),
            record.operand.to_string(),
            record.bits.to_string(),
            results.description.images.to_string(),
            number(quality.top1),
            number(quality.top5),
            number(quality.loss),
            number(quality.agreement),
            number(quality.kl),
            number(quality.mse),
            number(record.squared_error),
            number(trace.map(|trace| trace.trace / trace.weights as f64)),
            number(results.omega(record)),
        ])?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        for (value, expected) in [
            (0.0, "0"),
            (0.0123, "0.0123"),
            (1.2345, "1.23"),
            (123.4, "123"),
            (-0.5, "-0.500"),
            (2.5e-6, "2.50e-6"),
            (12345.0, "1.23e4"),
        ] {
            assert_eq!(shown(value), expected);
        }
    }
}
