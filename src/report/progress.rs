//! How a search came along: its best quality and the hypervolume of its front, by evaluations and
//! by seconds; several runs of one kind as their mean with a band.

use std::collections::{HashMap, HashSet};

use crate::{
    domain::{CostKind, EpisodeKind, EpisodeRecord, Measure, hypervolume},
    report::RunView,
};

/// How a run stood after an episode that judged a policy it had not tried before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stand {
    /// Different policies judged so far; uniform references are not among them.
    pub evaluations: u32,
    /// Of work; what another run had judged already counts as long as it took there.
    pub seconds: f64,
    /// Best quality within the budgets so far.
    pub quality: Option<f64>,
    /// Of the front within the budgets so far, as [`reference_words`] says.
    pub hypervolume: f64,
}

/// Seconds that policies took where they were judged, by policy.
pub type JudgingSeconds = HashMap<String, f64>;

/// What every policy of these runs took where it was judged.
pub fn judging_seconds(runs: &[&RunView]) -> JudgingSeconds {
    let judged = runs.iter().flat_map(|run| &run.episodes).filter(|episode| !episode.from_cache);
    judged.map(|episode| (episode.policy.key(), episode.wall_s)).collect()
}

/// A run's stands, one for each new policy.
///
/// The hypervolume has cost as a share of 8/8's, and quality as it is measured.
pub fn stands(run: &RunView, elsewhere: &JudgingSeconds) -> Vec<Stand> {
    let (measure, objective) = (run.description.measure, run.description.objective);
    let reference = (1.0, lowest_quality(measure));
    let (mut seen, mut front, mut stands) = (HashSet::new(), Vec::new(), Vec::new());
    let (mut seconds, mut best, mut volume) = (0.0, None::<f64>, 0.0);
    let counts = |episode: &EpisodeRecord| episode.is_whole() && run.is_feasible(episode);
    let own = |kind: EpisodeKind| kind != EpisodeKind::Reference;
    for episode in run.episodes.iter().filter(|episode| own(episode.kind)) {
        let key = episode.policy.key();
        let is_new = !seen.contains(&key);
        let shared = elsewhere.get(&key).copied().filter(|_| is_new && episode.from_cache);
        seconds += episode.wall_s + shared.unwrap_or(0.0);
        if !is_new {
            continue;
        }
        seen.insert(key);
        if let Some(quality) = run.quality(episode).filter(|_| counts(episode)) {
            best = Some(best.map_or(quality, |best| best.max(quality)));
            if let Some(cost) = run.ratio_to_eight_bit(&episode.cost, objective) {
                let covers = |a: (f64, f64), b: (f64, f64)| a.0 <= b.0 && a.1 >= b.1;
                if !front.iter().any(|&member| covers(member, (cost, quality))) {
                    front.retain(|&member| !covers((cost, quality), member));
                    front.push((cost, quality));
                    volume = hypervolume(&front, reference);
                }
            }
        }
        stands.push(Stand {
            evaluations: seen.len() as u32,
            seconds,
            quality: best,
            hypervolume: volume,
        });
    }
    stands
}

/// The lowest quality that counts for a hypervolume: no image right, or, for a distance, one nat
/// or one unit from float.
fn lowest_quality(measure: Measure) -> f64 {
    match measure {
        Measure::Top1 | Measure::Top5 | Measure::Agreement => 0.0,
        Measure::Kl | Measure::Mse => -1.0,
    }
}

/// What a hypervolume is measured against, in words.
pub fn reference_words(measure: Measure, objective: CostKind) -> String {
    let lowest = match measure {
        Measure::Top1 | Measure::Top5 | Measure::Agreement => "0 %",
        Measure::Kl | Measure::Mse => "a distance of 1",
    };
    format!("reference point: the {objective} of 8/8 and {lowest}")
}

/// A value of several runs at one place: their mean, and the least and the most of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub x: f64,
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

/// The spread of step functions at each of `xs`, from where all of them have begun; a run that
/// ended stays where it was.
///
/// - `runs`: the steps (x, value) of each, by rising x
pub fn spread(runs: &[Vec<(f64, f64)>], xs: &[f64]) -> Vec<Spread> {
    let Some(start) = runs
        .iter()
        .map(|steps| steps.first().map_or(f64::INFINITY, |step| step.0))
        .reduce(f64::max)
    else {
        return Vec::new();
    };
    let at = |steps: &Vec<(f64, f64)>, x: f64| {
        let next = steps.partition_point(|step| step.0 <= x);
        steps[next.max(1) - 1].1
    };
    xs.iter()
        .filter(|x| **x >= start)
        .map(|&x| {
            let values: Vec<f64> = runs.iter().map(|steps| at(steps, x)).collect();
            Spread {
                x,
                mean: values.iter().sum::<f64>() / values.len() as f64,
                low: values.iter().copied().fold(f64::INFINITY, f64::min),
                high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            }
        })
        .collect()
}

/// Mean and sample standard deviation; the latter is `None` for fewer than two values.
pub fn mean_and_deviation(values: &[f64]) -> Option<(f64, Option<f64>)> {
    if values.is_empty() {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
    Some((mean, deviation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_begins_where_all_have_and_carries_the_last_value_on() {
        let runs = [vec![(1.0, 0.5), (3.0, 0.9)], vec![(2.0, 0.7)]];
        let found = spread(&runs, &[1.0, 2.0, 3.0, 9.0]);
        let shown: Vec<(f64, f64, f64)> = found.iter().map(|s| (s.x, s.low, s.high)).collect();
        assert_eq!(shown, [(2.0, 0.5, 0.7), (3.0, 0.7, 0.9), (9.0, 0.7, 0.9)]);
        assert!((found[0].mean - 0.6).abs() < 1e-12);
        assert_eq!(spread(&[], &[1.0]), []);
        assert_eq!(spread(&[vec![]], &[1.0]), []);
    }

    #[test]
    fn a_deviation_needs_two_values() {
        assert_eq!(mean_and_deviation(&[]), None);
        assert_eq!(mean_and_deviation(&[2.0]), Some((2.0, None)));
        assert_eq!(mean_and_deviation(&[1.0, 3.0]), Some((2.0, Some(2.0f64.sqrt()))));
    }
}
