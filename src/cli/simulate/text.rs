//! The tables of a simulation.

use super::{Case, json::ratio};
use crate::{
    cli::output,
    domain::{CostKind, show_cost},
    search::kind_word,
};

/// One profile with one policy: its layers, where asked for their traffic, and the totals.
pub fn one(case: &Case<'_>, explain: bool) -> String {
    let traffic = if explain { format!("{}\n\n", traffic_table(case)) } else { String::new() };
    format!("{}\n\n{traffic}{}", layer_table(case), totals(case))
}

/// Several side by side, one column each; where asked for, the traffic of each below.
pub fn compared(cases: &[Case<'_>], explain: bool) -> String {
    let mut text = comparison_table(cases);
    text += "\n\nin brackets: against the first column, latency and energy of one image";
    if explain {
        for case in cases {
            let name = format!("{}, {}", case.profile.name(), case.policy.name);
            text += &format!("\n\n{name}\n{}", traffic_table(case));
        }
    }
    text
}

fn layer_table(case: &Case<'_>) -> String {
    let header = [
        "#",
        "layer",
        "kind",
        "w/a",
        "runs at",
        "MACs",
        "cycles",
        "latency",
        "share",
        "energy",
        "utilization",
        "bound",
    ];
    let mut table = output::plain_table(&header, &[0, 5, 6, 7, 8, 9, 10]);
    let total: f64 = case.cost.layers.iter().map(|layer| layer.latency_s).sum();
    let rows =
        case.subject.workload.layers.iter().zip(case.policy.policy.layers()).zip(&case.cost.layers);
    for (index, ((layer, bits), cost)) in rows.enumerate() {
        let promoted =
            if cost.promoted == *bits { String::new() } else { cost.promoted.to_string() };
        table.add_row([
            index.to_string(),
            layer.name.clone(),
            kind_word(layer.kind).to_owned(),
            bits.to_string(),
            promoted,
            cost.macs.to_string(),
            cost.cycles.to_string(),
            show_cost(CostKind::Latency, cost.latency_s),
            percent(cost.latency_s / total.max(f64::MIN_POSITIVE)),
            show_cost(CostKind::Energy, cost.energy_j),
            percent(cost.utilization),
            cost.bound.to_string(),
        ]);
    }
    table.trim_fmt()
}

/// What each layer reads and writes at each memory level, and how near its roof it comes.
fn traffic_table(case: &Case<'_>) -> String {
    let Some(first) = case.details.first() else { return String::new() };
    let mut header = vec!["#".to_owned(), "layer".into(), "MAC/byte".into(), "of roof".into()];
    for (level, _) in &first.traffic {
        header.extend([format!("{level} reads"), format!("{level} writes")]);
    }
    let numbers: Vec<usize> = [0].into_iter().chain(2..header.len()).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = output::plain_table(&header, &numbers);
    let bytes = |bits: f64| show_cost(CostKind::Size, (bits / 8.0).ceil());
    let mut sums = vec![0.0; 2 * first.traffic.len()];
    for (index, detail) in case.details.iter().enumerate() {
        let intensity = detail.roofline.intensity_macs_per_byte;
        let mut row = vec![
            index.to_string(),
            case.subject.workload.layers[index].name.clone(),
            intensity.map_or("no traffic".into(), |intensity| format!("{intensity:.2}")),
            percent(case.macs_per_s(index) / detail.roofline.attainable_macs_per_s),
        ];
        let moved = detail.traffic.iter();
        let moved = moved.flat_map(|(_, moved)| [moved.read_bits(), moved.written_bits()]);
        for (sum, bits) in sums.iter_mut().zip(moved) {
            *sum += bits;
            row.push(bytes(bits));
        }
        table.add_row(row);
    }
    let mut row = vec![String::new(), "all".into(), String::new(), String::new()];
    row.extend(sums.into_iter().map(bytes));
    table.add_row(row);
    table.trim_fmt()
}

fn totals(case: &Case<'_>) -> String {
    let cost = &case.cost;
    let totals =
        CostKind::ALL.map(|kind| format!("{kind} {}", show_cost(kind, cost.cost.get(kind))));
    let mut text = format!("{}, batch {}: {}", case.profile.name(), cost.batch, totals.join(", "));
    let size = |bytes: u64| show_cost(CostKind::Size, bytes as f64);
    if !cost.peak_step.is_empty() {
        let activations = size(cost.activation_peak_bytes);
        text += &format!("\nmemory peaks at {}: {activations} of activations", cost.peak_step);
    }
    if cost.streamed_bytes > 0 {
        text += &format!(
            "\n{} of weights do not fit on the device and are streamed every time: {}",
            size(cost.streamed_bytes),
            show_cost(CostKind::Latency, cost.streaming_s)
        );
    }
    text
}

fn comparison_table(cases: &[Case<'_>]) -> String {
    let names: Vec<String> =
        cases.iter().map(|case| format!("{}\n{}", case.profile.name(), case.policy.name)).collect();
    let header: Vec<&str> = [""].into_iter().chain(names.iter().map(String::as_str)).collect();
    let numbers: Vec<usize> = (1..header.len()).collect();
    let mut table = output::plain_table(&header, &numbers);
    let mut row = |name: &str, cell: &dyn Fn(&Case<'_>) -> String| {
        table.add_row([name.to_owned()].into_iter().chain(cases.iter().map(cell)));
    };
    row("batch", &|case| case.cost.batch.to_string());
    for kind in CostKind::ALL {
        row(kind.word(), &|case| {
            let ratio = ratio(case, &cases[0], kind)
                .map_or("no ratio".into(), |ratio| format!("{ratio:.3}×"));
            format!("{} ({ratio})", show_cost(kind, case.cost.cost.get(kind)))
        });
    }
    row("cycles", &|case| case.cost.cycles.to_string());
    row("wait for memory", &|case| {
        let layers = &case.cost.layers;
        let waiting = layers.iter().filter(|layer| layer.bound == crate::domain::Bound::Memory);
        format!("{} of {} layers", waiting.count(), layers.len())
    });
    row("memory peaks at", &|case| case.cost.peak_step.clone());
    table.trim_fmt()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
