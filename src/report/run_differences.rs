//! Policies of several runs beside each other: what differs from the first, as a whole and layer
//! by layer.

use serde::Serialize;

use crate::{
    domain::{CostKind, LayerBits, LayerExplanation, RunId, show_cost},
    report::{
        RunView,
        layer_axis::layer_names,
        tables::{
            Column, Fit, Look, add, finish, number, number_column, percent, signed, signed_percent,
            start, text_column, words,
        },
    },
};

/// How one run's best policy differs from the first run's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunDifference {
    pub run: RunId,
    pub against: RunId,
    /// Quality of the run less that of the first, by the first's measure: above 0 is better.
    /// `None` where one of them has none, or they maximize different measures.
    pub quality_search: Option<f64>,
    pub quality_test: Option<f64>,
    /// Cost of the run as a share of the first's, less 1; `None` for other devices or batches.
    pub latency: Option<f64>,
    pub energy: Option<f64>,
    pub size: Option<f64>,
    pub memory: Option<f64>,
    /// Mean bits of a weight and of a layer's input, less the first's.
    pub weight_bits: Option<f64>,
    pub activation_bits: Option<f64>,
    pub n_layers_that_differ: usize,
}

impl RunDifference {
    fn cost(&self, kind: CostKind) -> Option<f64> {
        match kind {
            CostKind::Latency => self.latency,
            CostKind::Energy => self.energy,
            CostKind::Size => self.size,
            CostKind::Memory => self.memory,
        }
    }
}

/// One layer in the best policy of each run, in the order of the runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerDifference {
    pub layer_index: usize,
    pub layer: String,
    pub bits: Vec<Option<LayerBits>>,
    pub differs: bool,
    /// KL divergence in nats from float that weights and input bring alone, added up.
    pub kl: Vec<Option<f64>>,
    /// Share of the run's cost in its objective.
    pub cost_share: Vec<Option<f64>>,
}

/// Each run against the first.
pub fn run_differences(runs: &[RunView]) -> Vec<RunDifference> {
    let Some((first, others)) = runs.split_first() else { return Vec::new() };
    others.iter().map(|run| run_difference(first, run)).collect()
}

fn run_difference(first: &RunView, run: &RunView) -> RunDifference {
    let (was, is) = (&first.description, &run.description);
    let same_measure = was.measure == is.measure;
    let both = |of: fn(&RunView) -> Option<f64>| Some((of(first)?, of(run)?));
    let quality = |of| both(of).filter(|_| same_measure).map(|(was, is)| is - was);
    let same_device = (&was.profile, was.batch) == (&is.profile, is.batch);
    let cost = |kind: CostKind| {
        let ratio = run.best()?.cost.get(kind) / first.best()?.cost.get(kind);
        Some(ratio - 1.0).filter(|change| same_device && change.is_finite())
    };
    let bits = first.best().zip(run.best()).map(|(was, is)| {
        let (was, is) = (first.mean_bits(&was.policy), run.mean_bits(&is.policy));
        (is.0 - was.0, is.1 - was.1)
    });
    let pair = [first, run];
    let n_layers = n_layers(&pair);
    let differs = |&layer: &usize| bits_of(first, layer) != bits_of(run, layer);
    RunDifference {
        run: run.id,
        against: first.id,
        quality_search: quality(|run| run.quality(run.best()?)),
        quality_test: quality(|run| run.tested_quality(&run.best()?.policy)),
        latency: cost(CostKind::Latency),
        energy: cost(CostKind::Energy),
        size: cost(CostKind::Size),
        memory: cost(CostKind::Memory),
        weight_bits: bits.map(|bits| bits.0),
        activation_bits: bits.map(|bits| bits.1),
        n_layers_that_differ: (0..n_layers).filter(differs).count(),
    }
}

/// Layer by layer, in the order of the network.
pub fn layer_differences(runs: &[RunView]) -> Vec<LayerDifference> {
    let borrowed: Vec<&RunView> = runs.iter().collect();
    let of_layer = |layer_index: usize| {
        let name = runs.iter().find_map(|run| run.description.layers.get(layer_index));
        let bits: Vec<_> = runs.iter().map(|run| bits_of(run, layer_index)).collect();
        let explained = |run: &RunView| run.explanation.get(layer_index).cloned();
        LayerDifference {
            layer_index,
            layer: name.map_or(String::new(), |layer| layer.name.clone()),
            differs: bits.iter().any(|other| *other != bits[0]),
            bits,
            kl: runs.iter().map(|run| explained(run).and_then(|layer| total_kl(&layer))).collect(),
            cost_share: runs
                .iter()
                .map(|run| explained(run).and_then(|layer| layer.cost_share))
                .collect(),
        }
    };
    (0..n_layers(&borrowed)).map(of_layer).collect()
}

fn n_layers(runs: &[&RunView]) -> usize {
    runs.iter().map(|run| run.description.layers.len()).max().unwrap_or(0)
}

fn bits_of(run: &RunView, layer: usize) -> Option<LayerBits> {
    run.best().and_then(|best| best.policy.layers().get(layer).copied())
}

fn total_kl(layer: &LayerExplanation) -> Option<f64> {
    match (layer.weight_kl, layer.activation_kl) {
        (None, None) => None,
        (weight, activation) => Some(weight.unwrap_or(0.0) + activation.unwrap_or(0.0)),
    }
}

/// The first run in figures, the others as what they have more or less.
pub fn difference_table(runs: &[RunView], look: Look) -> String {
    let Some(first) = runs.first() else { return String::new() };
    let measure = first.description.measure;
    let (search, test) = (format!("{measure}, search"), "test".to_owned());
    let mut columns = vec![text_column("")];
    columns.extend([search.as_str(), test.as_str()].map(number_column));
    columns.extend(CostKind::ALL.iter().map(|kind| number_column(kind.word())));
    columns.extend(["W bits", "A bits", "layers that differ"].map(number_column));
    let mut table = start(look, &columns);
    let none = || "–".to_owned();
    let best = first.best();
    let show = |quality: Option<f64>| quality.map_or_else(none, |q| measure.show(q));
    let mut row = vec![
        words(&format!("run {}", first.id)),
        number(show(best.and_then(|best| first.quality(best)))),
        number(show(best.and_then(|best| first.tested_quality(&best.policy)))),
    ];
    let cost = |kind| best.map_or_else(none, |best| show_cost(kind, best.cost.get(kind)));
    row.extend(CostKind::ALL.iter().map(|&kind| number(cost(kind))));
    let bits = best.map(|best| first.mean_bits(&best.policy));
    row.push(number(bits.map_or_else(none, |bits| format!("{:.2}", bits.0))));
    row.push(number(bits.map_or_else(none, |bits| format!("{:.2}", bits.1))));
    row.push(number(""));
    add(&mut table, row);
    for difference in run_differences(runs) {
        let quality = |d: Option<f64>| d.map_or_else(none, |d| signed(measure, d, Some(0.0)));
        let mut row = vec![
            words(&format!("run {}", difference.run)),
            number(quality(difference.quality_search)),
            number(quality(difference.quality_test)),
        ];
        row.extend(
            CostKind::ALL
                .iter()
                .map(|&kind| number(difference.cost(kind).map_or_else(none, signed_percent))),
        );
        let bits = |change: Option<f64>| {
            change.map_or_else(none, |change| plain_minus(&format!("{change:+.2}")))
        };
        row.push(number(bits(difference.weight_bits)));
        row.push(number(bits(difference.activation_bits)));
        row.push(number(difference.n_layers_that_differ));
        add(&mut table, row);
    }
    let mut text = finish(table);
    for run in &runs[1..] {
        text += &strangeness(first, run);
    }
    text
}

/// Why two runs say little about each other, as lines to add.
fn strangeness(first: &RunView, run: &RunView) -> String {
    let (was, is) = (&first.description, &run.description);
    let mut text = String::new();
    if was.model_digest != is.model_digest {
        text += &format!(
            "\nrun {} is about another network: layers stand side by side as they come",
            run.id
        );
    }
    if (&was.profile, was.batch) != (&is.profile, is.batch) {
        text += &format!("\nrun {} has another device or batch: costs are not compared", run.id);
    }
    if was.measure != is.measure {
        text += &format!("\nrun {} maximizes {}: quality is not compared", run.id, is.measure);
    }
    text
}

/// The best policies layer by layer: bits, what they lose alone, their share of the cost; for
/// all but the first run how many bits more or less.
pub fn layer_difference_table(runs: &[RunView], look: Look) -> String {
    let layers = layer_differences(runs);
    let Some(first) = runs.first() else { return String::new() };
    let is_wide = look.width.is_none_or(|width| width >= 40 + 36 * runs.len() as u16);
    let names = layer_names(first, layers.len());
    let titles: Vec<String> = runs.iter().map(|run| format!("run {}", run.id)).collect();
    let shares: Vec<String> =
        runs.iter().map(|run| format!("of {}", run.description.objective)).collect();
    let mut columns = vec![number_column("#"), Column { title: "layer", fit: Fit::Cut }];
    for (index, title) in titles.iter().enumerate() {
        columns.push(number_column(title));
        if index > 0 {
            columns.push(number_column("±"));
        }
        columns.push(number_column("KL"));
        if is_wide {
            columns.push(number_column(&shares[index]));
        }
    }
    let mut table = start(look, &columns);
    for (layer, name) in layers.iter().zip(&names) {
        let mut row = vec![number(layer.layer_index), words(name)];
        for index in 0..runs.len() {
            let bits = layer.bits[index];
            row.push(number(bits.map_or("–".into(), |bits| bits.to_string())));
            if index > 0 {
                let change = layer.bits[0].zip(bits).map(|(was, is)| bits_change(was, is));
                row.push(number(change.unwrap_or_default()));
            }
            row.push(number(layer.kl[index].map_or("–".into(), |kl| format!("{kl:.4}"))));
            if is_wide {
                row.push(number(layer.cost_share[index].map_or("–".into(), percent)));
            }
        }
        add(&mut table, row);
    }
    let mut text = finish(table);
    text += "\nbits as weights/activations, ± against the first run\n\
             KL: what weights and input lose alone, in nats from float";
    text
}

/// `+1/−2`; empty where nothing changes.
fn bits_change(from: LayerBits, to: LayerBits) -> String {
    if from == to {
        return String::new();
    }
    let sign = |from: u8, to: u8| match i16::from(to) - i16::from(from) {
        0 => "·".to_owned(),
        change => plain_minus(&format!("{change:+}")),
    };
    let weight = sign(from.weight.get(), to.weight.get());
    format!("{weight}/{}", sign(from.activation.get(), to.activation.get()))
}

fn plain_minus(text: &str) -> String {
    text.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Bits;

    #[test]
    fn changes_of_bits_read_as_what_is_more_or_less() {
        let pair = |w, a| LayerBits::new(Bits::new(w).unwrap(), Bits::new(a).unwrap());
        for (from, to, expected) in [
            (pair(4, 8), pair(4, 8), ""),
            (pair(4, 8), pair(6, 8), "+2/·"),
            (pair(4, 8), pair(3, 5), "−1/−3"),
        ] {
            assert_eq!(bits_change(from, to), expected);
        }
        assert_eq!(signed_percent(-0.000_01), "0");
        assert_eq!(signed_percent(-0.251), "−25.1 %");
    }
}
