//! The report of a run: one HTML page that needs nothing else, in light and dark.

use std::{fs, path::Path};

use askama::Template;

use crate::{
    domain::{CostKind, EpisodeRecord, show_cost},
    report::{
        BitsFigure, ConvergenceFigure, CostFigure, Figure, LearningFigure, ParetoFigure,
        ReportError, RunView,
        axis::measure_name,
        costs::{layer_cost, shares},
        explanation::{ExplanationRow, NEIGHBOURS, PREDICTED, explanation_rows},
        layer_axis::layer_names,
        summary::{Compared, comparison, summary_sentence},
        tables::{count, percent, signed},
        theme,
    },
};

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    run: &'a RunView,
    summary: String,
    measure: &'static str,
    objective: CostKind,
    /// Style rules that give plots their dark colours.
    dark_plots: String,
    comparison: Vec<ComparisonRow>,
    pareto: Plot,
    other_fronts: Vec<(CostKind, Plot)>,
    front: Vec<FrontRow>,
    bits: Plot,
    layers: Vec<LayerRow>,
    explanation: Vec<ExplanationRow>,
    costs: Plot,
    learning: Plot,
    convergence: Plot,
    provenance: Vec<(String, String)>,
    config: String,
}

/// A plot, or why there is none.
enum Plot {
    Drawn(String),
    Missing(String),
}

struct ComparisonRow {
    name: String,
    search: String,
    test: String,
    bits: String,
    /// Each of the four costs, and its share of 8/8.
    costs: Vec<(String, String)>,
}

struct FrontRow {
    episode: u32,
    chosen: bool,
    quality: String,
    to_float: String,
    cost: String,
    ratio: String,
    others: Vec<String>,
    bits: String,
}

struct LayerRow {
    index: usize,
    name: String,
    full_name: String,
    kind: String,
    pinned: bool,
    weight_bits: u8,
    activation_bits: u8,
    macs: String,
    weights: String,
    /// Latency, energy and size: the share to read, and the length of its bar in percent of
    /// the longest.
    shares: Vec<(String, f64)>,
    utilization: String,
    bound: String,
}

/// The page of one run.
///
/// # Errors
/// [`ReportError::Draw`] when a plot fails. A run without a policy still gets its page.
pub fn page(run: &RunView) -> Result<String, ReportError> {
    let objective = run.description.objective;
    let other_kinds = CostKind::ALL.into_iter().filter(|kind| *kind != objective);
    let other_fronts: Result<Vec<_>, ReportError> = other_kinds
        .filter(|kind| varies(run, *kind))
        .map(|kind| Ok((kind, plot(ParetoFigure::new(&[run], kind))?)))
        .collect();
    let page = Page {
        run,
        summary: unbroken(&summary_sentence(run)),
        measure: measure_name(run.description.measure),
        objective,
        dark_plots: dark_plots(),
        comparison: comparison_rows(run),
        pareto: plot(ParetoFigure::new(&[run], objective))?,
        other_fronts: other_fronts?,
        front: front_rows(run),
        bits: plot(BitsFigure::of_best(run))?,
        layers: layer_rows(run),
        explanation: explanation_rows(run),
        costs: plot(CostFigure::of_best(run))?,
        learning: plot(LearningFigure::new(run))?,
        convergence: plot(ConvergenceFigure::new(&[run]))?,
        provenance: provenance(run),
        config: serde_json::to_string_pretty(&run.description.config).unwrap_or_default(),
    };
    Ok(page.render()?)
}

/// Writes the page of one run to a file.
///
/// # Errors
/// As [`page`], and [`ReportError::Write`] naming the path.
pub fn write_page(run: &RunView, path: &Path) -> Result<(), ReportError> {
    fs::write(path, page(run)?)
        .map_err(|reason| ReportError::Write { path: path.to_owned(), reason })
}

impl Page<'_> {
    fn neighbours(&self) -> [&'static str; 4] {
        NEIGHBOURS
    }

    fn predicted(&self) -> &'static str {
        PREDICTED
    }

    fn share_kinds(&self) -> [&'static str; 3] {
        ["latency", "energy", "size"]
    }

    fn other_kinds(&self) -> impl Iterator<Item = CostKind> {
        let objective = self.objective;
        CostKind::ALL.into_iter().filter(move |kind| *kind != objective)
    }

    fn subtitle(&self) -> String {
        let description = &self.run.description;
        let budgets: Vec<String> = description.budgets.iter().map(ToString::to_string).collect();
        let budget = match budgets.is_empty() {
            true => format!("no budget, front over {}", description.objective),
            false => budgets.join(", "),
        };
        format!("{} · {budget}", self.run.label())
    }
}

/// The text with its units kept on the line of their numbers.
fn unbroken(text: &str) -> String {
    let units = ["%", "s", "ms", "µs", "ns", "J", "mJ", "µJ", "nJ", "pJ", "B", "kB", "MB", "GB"];
    let is_unit = |word: &str| units.contains(&word.trim_end_matches([',', '.', ';', ')']));
    let mut unbroken = String::with_capacity(text.len());
    for (index, word) in text.split(' ').enumerate() {
        match index {
            0 => {}
            _ if is_unit(word) => unbroken.push('\u{a0}'),
            _ => unbroken.push(' '),
        }
        unbroken.push_str(word);
    }
    unbroken
}

fn plot<F: Figure>(figure: Result<F, ReportError>) -> Result<Plot, ReportError> {
    match figure {
        // Inside HTML the namespace is known, and the page names no address at all.
        Ok(figure) => {
            Ok(Plot::Drawn(figure.svg()?.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1)))
        }
        Err(ReportError::Empty(reason)) => Ok(Plot::Missing(reason)),
        Err(error) => Err(error),
    }
}

/// Whether the policies tried differ in a cost at all.
fn varies(run: &RunView, kind: CostKind) -> bool {
    let mut costs = run.episodes.iter().map(|episode| episode.cost.get(kind));
    let first = costs.next();
    costs.any(|cost| Some(cost) != first)
}

fn dark_plots() -> String {
    let rules = theme::DARK.iter().flat_map(|(light, dark)| {
        ["fill", "stroke"].map(|attribute| {
            let (light, dark) = (theme::hex(*light), theme::hex(*dark));
            format!("figure [{attribute}=\"{light}\"]{{{attribute}:{dark}}}")
        })
    });
    rules.collect()
}

fn comparison_rows(run: &RunView) -> Vec<ComparisonRow> {
    let show = |quality: Option<f64>| {
        quality.map_or("–".to_owned(), |quality| run.description.measure.show(quality))
    };
    let row = |compared: Compared| ComparisonRow {
        search: show(compared.quality_search),
        test: show(compared.quality_test),
        bits: compared
            .mean_bits
            .map_or("32 / 32".into(), |(weights, inputs)| format!("{weights:.2} / {inputs:.2}")),
        costs: CostKind::ALL
            .into_iter()
            .map(|kind| match compared.cost {
                None => ("–".into(), String::new()),
                Some(cost) => {
                    let ratio = run.ratio_to_eight_bit(&cost, kind);
                    let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.3} ×"));
                    (show_cost(kind, cost.get(kind)), ratio)
                }
            })
            .collect(),
        name: compared.name,
    };
    comparison(run).into_iter().map(row).collect()
}

fn front_rows(run: &RunView) -> Vec<FrontRow> {
    let (objective, measure) = (run.description.objective, run.description.measure);
    let row = |episode: &EpisodeRecord| {
        let quality = run.quality(episode)?;
        let (weights, inputs) = run.mean_bits(&episode.policy);
        let ratio = run.ratio_to_eight_bit(&episode.cost, objective);
        Some(FrontRow {
            episode: episode.index,
            chosen: run.result.best_episode == Some(episode.index),
            quality: measure.show(quality),
            to_float: signed(measure, quality, run.float_quality()),
            cost: show_cost(objective, episode.cost.get(objective)),
            ratio: ratio.map_or(String::new(), |ratio| format!("{ratio:.3} ×")),
            others: CostKind::ALL
                .into_iter()
                .filter(|kind| *kind != objective)
                .map(|kind| show_cost(kind, episode.cost.get(kind)))
                .collect(),
            bits: format!("{weights:.2} / {inputs:.2}"),
        })
    };
    run.front(objective).into_iter().filter_map(row).collect()
}

fn layer_rows(run: &RunView) -> Vec<LayerRow> {
    let Some(best) = run.best() else { return Vec::new() };
    let costs = &run.best_layers;
    let names = layer_names(run, best.policy.len());
    let all_shares = [CostKind::Latency, CostKind::Energy, CostKind::Size]
        .map(|kind| shares(&costs.iter().map(|layer| layer_cost(layer, kind)).collect::<Vec<_>>()));
    let row = |(index, name): (usize, String)| {
        let bits = best.policy.layers()[index];
        let layer = run.description.layers.get(index);
        let cost = costs.get(index);
        LayerRow {
            index,
            full_name: layer.map_or(name.clone(), |layer| layer.name.clone()),
            name,
            kind: layer.map_or(String::new(), |layer| layer.kind.clone()),
            pinned: layer.is_some_and(|layer| layer.pinned),
            weight_bits: bits.weight.get(),
            activation_bits: bits.activation.get(),
            macs: layer.map_or(String::new(), |layer| count(layer.macs)),
            weights: layer.map_or(String::new(), |layer| count(layer.weights)),
            shares: all_shares.iter().map(|shares| share_and_bar(shares, index)).collect(),
            utilization: cost.map_or(String::new(), |cost| percent(cost.utilization)),
            bound: cost.map_or(String::new(), |cost| cost.bound.to_string()),
        }
    };
    names.into_iter().enumerate().map(row).collect()
}

fn share_and_bar(shares: &[f64], index: usize) -> (String, f64) {
    let largest = shares.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let share = shares.get(index).copied().unwrap_or(0.0);
    (percent(share), (share / largest * 1000.0).round() / 10.0)
}

fn provenance(run: &RunView) -> Vec<(String, String)> {
    let (description, result) = (&run.description, &run.result);
    let reused = result.episodes.saturating_sub(result.evaluations);
    let mut rows = vec![
        ("run", run.id.to_string()),
        ("network", description.model.clone()),
        ("network, SHA-256", description.model_digest.clone()),
        ("data", description.data.clone()),
        ("device profile", description.profile.clone()),
        ("strategy", description.strategy.to_string()),
        ("seed", description.seed.to_string()),
        ("episodes", format!("{} ({} planned)", result.episodes, description.episodes_planned)),
        ("evaluations", format!("{}, {reused} taken from the cache", result.evaluations)),
        ("time", format!("{:.1} s", result.wall_s)),
        ("images a batch, for costs", description.batch.to_string()),
    ];
    for (request, budget) in description.budget_requests.iter().zip(&description.budgets) {
        rows.push(("budget", format!("{request}: {budget}")));
    }
    let rows = rows.into_iter().map(|(name, value)| (name.to_owned(), value));
    rows.chain(run.provenance.iter().cloned()).collect()
}
