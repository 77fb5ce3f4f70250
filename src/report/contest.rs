//! Strategies beside each other, each over its seeds: what they found, and what it took.

use serde::Serialize;

use crate::{
    domain::{CostKind, EpisodeKind, Measure, RunId, show_cost},
    report::{
        RunView,
        groups::groups,
        progress::{judging_seconds, mean_and_deviation, reference_words, stands},
        tables::{Column, Fit, Look, add, finish, number, number_column, start, words},
    },
};

/// Narrower terminals are told neither the cost nor the hypervolume.
const WIDE: u16 = 130;

/// A figure over the runs that have it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    pub mean: f64,
    /// Sample standard deviation; `None` for one run.
    pub deviation: Option<f64>,
    pub least: f64,
    pub most: f64,
}

/// One strategy, or one group of runs that differ in their seed alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    pub label: String,
    pub runs: Vec<RunId>,
    /// Runs whose best policy is a uniform reference, which every run tries, and none of the
    /// strategy's own.
    pub n_best_is_reference: usize,
    /// Of the best policy, by the runs' measure, more is better.
    pub quality_search: Option<Figures>,
    pub quality_test: Option<Figures>,
    /// Of the best policy, in the objective: seconds, joules or bytes; and as a share of 8/8.
    pub cost: Option<Figures>,
    pub cost_ratio: Option<Figures>,
    /// Of the front within the budgets.
    pub hypervolume: Option<Figures>,
    /// Different policies judged; uniform references are not among them.
    pub evaluations: Option<Figures>,
    /// Of the runs' own work; what another run had judged already counts as long as it took there.
    pub seconds: Option<Figures>,
}

/// One standing for each group of runs, in the order of their first run.
pub fn standings(runs: &[&RunView]) -> Vec<Standing> {
    let elsewhere = judging_seconds(runs);
    let standing = |(label, runs): (String, Vec<&RunView>)| {
        let of = |value: &dyn Fn(&RunView) -> Option<f64>| {
            figures(&runs.iter().filter_map(|run| value(run)).collect::<Vec<_>>())
        };
        let objective = |run: &RunView| run.description.objective;
        let last = |run: &RunView| stands(run, &elsewhere).pop();
        let is_reference =
            |run: &RunView| run.best().is_some_and(|best| best.kind == EpisodeKind::Reference);
        Standing {
            label,
            n_best_is_reference: runs.iter().filter(|run| is_reference(run)).count(),
            quality_search: of(&|run| run.quality(run.best()?)),
            quality_test: of(&|run| run.tested_quality(&run.best()?.policy)),
            cost: of(&|run| Some(run.best()?.cost.get(objective(run)))),
            cost_ratio: of(&|run| run.ratio_to_eight_bit(&run.best()?.cost, objective(run))),
            hypervolume: of(&|run| Some(last(run)?.hypervolume)),
            evaluations: of(&|run| Some(last(run)?.evaluations.into())),
            seconds: of(&|run| Some(last(run)?.seconds)),
            runs: runs.iter().map(|run| run.id).collect(),
        }
    };
    groups(runs).into_iter().map(|group| standing((group.label, group.runs))).collect()
}

fn figures(values: &[f64]) -> Option<Figures> {
    let (mean, deviation) = mean_and_deviation(values)?;
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(Figures { mean, deviation, least, most })
}

/// The standings as a table, mean ± standard deviation; empty text without runs.
pub fn standings_table(runs: &[&RunView], look: Look) -> String {
    let Some(first) = runs.first() else { return String::new() };
    let (measure, objective) = (first.description.measure, first.description.objective);
    let quality = format!("{measure}, search");
    let is_wide = look.width.is_none_or(|width| width >= WIDE);
    let mut columns = vec![Column { title: "strategy", fit: Fit::Cut }];
    columns.extend(["runs", &quality, "test"].map(number_column));
    if is_wide {
        columns.push(number_column(objective.word()));
    }
    columns.push(number_column("of 8/8"));
    if is_wide {
        columns.push(number_column("hypervolume"));
    }
    columns.extend(["evaluations", "seconds"].map(number_column));
    let mut table = start(look, &columns);
    let standings = standings(runs);
    for standing in &standings {
        let none = || "–".to_owned();
        let show = |value: Option<Figures>| value.map_or_else(none, |v| quality_words(measure, v));
        let plain = |value: Option<Figures>, digits| {
            value.map_or_else(none, |value| spread_words(value, |v| format!("{v:.digits$}")))
        };
        let cost = standing.cost.map_or_else(none, |cost| show_cost(objective, cost.mean));
        let mut row = vec![
            words(&match standing.n_best_is_reference {
                0 => standing.label.clone(),
                _ => format!("{} *", standing.label),
            }),
            number(standing.runs.len()),
            number(show(standing.quality_search)),
            number(show(standing.quality_test)),
        ];
        if is_wide {
            row.push(number(cost));
        }
        row.push(number(plain(standing.cost_ratio, 3)));
        if is_wide {
            row.push(number(plain(standing.hypervolume, 4)));
        }
        row.push(number(standing.evaluations.map_or_else(none, |n| format!("{:.0}", n.mean))));
        row.push(number(plain(standing.seconds, 1)));
        add(&mut table, row);
    }
    let mut text = finish(table);
    if standings.iter().any(|standing| standing.n_best_is_reference > 0) {
        text += "\n* the best of some run is a uniform reference, which every run tries";
    }
    text += &format!("\n{}", footnote(measure, objective, first));
    text
}

fn footnote(measure: Measure, objective: CostKind, run: &RunView) -> String {
    let float = [
        ("search", run.float_quality()),
        ("test", run.result.float_test.as_ref().and_then(|float| run.quality_of(float))),
    ];
    let float: Vec<String> = float
        .into_iter()
        .filter_map(|(split, quality)| Some(format!("{} on {split}", measure.show(quality?))))
        .collect();
    format!(
        "mean ± standard deviation over seeds; float: {}\n\
         evaluations: policies of its own, each counted in every run that tried it\n\
         seconds: without calibration, float pass and sensitivities, which all share\n\
         hypervolume, {}",
        float.join(", "),
        reference_words(measure, objective),
    )
}

/// `91.64 % ± 0.05`
fn quality_words(measure: Measure, value: Figures) -> String {
    let shown = measure.show(value.mean);
    match value.deviation {
        None => shown,
        Some(deviation) => match measure {
            Measure::Top1 | Measure::Top5 | Measure::Agreement => {
                format!("{shown} ± {:.2}", deviation * 100.0)
            }
            Measure::Kl | Measure::Mse => format!("{shown} ± {deviation:.4}"),
        },
    }
}

fn spread_words(value: Figures, show: impl Fn(f64) -> String) -> String {
    match value.deviation {
        None => show(value.mean),
        Some(deviation) => format!("{} ± {}", show(value.mean), show(deviation)),
    }
}
