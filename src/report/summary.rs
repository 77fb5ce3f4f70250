//! What came out, against float, 8/8 and the uniform policy of the same cost.

use crate::{
    domain::{BitwidthPolicy, Cost, EpisodeRecord, Measure, Quality, show_cost},
    report::{RunView, axis::measure_name},
};

/// A policy, or the float network, in one line of figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// `float`, `8/8`, `uniform 5/5` or `chosen`.
    pub name: String,
    /// Mean bits of a weight and of a layer's input; `None` for float.
    pub mean_bits: Option<(f64, f64)>,
    /// On the search split, and on the test split where it was measured.
    pub quality_search: Option<f64>,
    pub quality_test: Option<f64>,
    /// `None` for float, which the cost model does not know.
    pub cost: Option<Cost>,
}

/// Float, 8/8, the uniform policy of the same cost and the chosen one, as far as the run
/// has them.
pub fn comparison(run: &RunView) -> Vec<Compared> {
    let policy = |name: String, episode: &EpisodeRecord| Compared {
        name,
        mean_bits: Some(run.mean_bits(&episode.policy)),
        quality_search: run.quality(episode),
        quality_test: run.tested_quality(&episode.policy),
        cost: Some(episode.cost),
    };
    let mut rows = vec![Compared {
        name: "float".into(),
        mean_bits: None,
        quality_search: run.float_quality(),
        quality_test: run.result.float_test.as_ref().and_then(|float| run.quality_of(float)),
        cost: None,
    }];
    let eight_bit = run.eight_bit();
    match eight_bit {
        Some(reference) => rows.push(policy("8/8".into(), reference.episode)),
        None => rows.push(Compared {
            name: "8/8".into(),
            mean_bits: Some((8.0, 8.0)),
            quality_search: None,
            quality_test: None,
            cost: Some(run.description.eight_bit_cost),
        }),
    }
    let uniform = run.uniform_of_same_cost();
    if let Some(uniform) = uniform.filter(|uniform| Some(uniform.bits) != eight_bit.map(|r| r.bits))
    {
        rows.push(policy(format!("uniform {}", uniform.bits), uniform.episode));
    }
    if let Some(best) = run.best() {
        rows.push(policy("chosen".into(), best));
    }
    rows
}

/// How much better or worse, in the words of the measure: `0.53 points below`.
pub fn difference(measure: Measure, ours: f64, theirs: f64) -> String {
    let (amount, worse, better) = match measure {
        Measure::Top1 | Measure::Top5 | Measure::Agreement => {
            (format!("{:.2}", (ours - theirs).abs() * 100.0), "below", "above")
        }
        Measure::Kl | Measure::Mse => {
            (format!("{:.4}", (ours - theirs).abs()), "worse than", "better than")
        }
    };
    if amount.bytes().all(|digit| matches!(digit, b'0' | b'.')) {
        return "equal to".into();
    }
    let direction = if ours < theirs { worse } else { better };
    match measure {
        Measure::Kl | Measure::Mse => format!("{amount} {direction}"),
        _ => format!("{amount} points {direction}"),
    }
}

/// One sentence: what the run found against float, 8/8 and the uniform policy of the same cost.
///
/// Figures of the test split are used where all that they are compared with has them.
pub fn summary_sentence(run: &RunView) -> String {
    let (description, result) = (&run.description, &run.result);
    let measure = description.measure;
    let Some((best, searched)) = run.best().and_then(|best| Some((best, run.quality(best)?)))
    else {
        let budgets = if description.budgets.is_empty() { "" } else { " within its budgets" };
        let (n, state) = (result.episodes, result.state);
        return format!("Run {} is {state} after {n} episodes and has no policy{budgets}.", run.id);
    };
    let tested = run.tested_quality(&best.policy);
    let float_test = result.float_test.as_ref().and_then(|float: &Quality| run.quality_of(float));
    let (quality, float, split) = match (tested, float_test) {
        (Some(tested), Some(float)) => (tested, Some(float), "test"),
        _ => (searched, run.float_quality(), "search"),
    };
    let mut sentence = format!(
        "The chosen policy of run {} has {} {} on the {split} split",
        run.id,
        measure.show(quality),
        measure_name(measure)
    );
    if let Some(float) = float.filter(|_| !measure_is_distance(measure)) {
        let difference = difference(measure, quality, float);
        sentence += &format!(", {difference} float ({})", measure.show(float));
    }
    let objective = description.objective;
    sentence += &format!(", at {} of {objective}", show_cost(objective, best.cost.get(objective)));
    if let Some(ratio) = run.ratio_to_eight_bit(&best.cost, objective) {
        sentence += &format!(" ({:.1} % of 8/8)", ratio * 100.0);
    }
    let others = against_others(run, best.cost, &best.policy, searched, tested);
    if !others.is_empty() {
        sentence += &format!("; {others}");
    }
    sentence + "."
}

/// The second half: `on the test split it is 0.31 points below 8/8 and 1.20 points above …`.
fn against_others(
    run: &RunView,
    best_cost: Cost,
    best: &BitwidthPolicy,
    searched: f64,
    tested: Option<f64>,
) -> String {
    let description = &run.description;
    let measure = description.measure;
    let eight_bit = run.eight_bit().filter(|eight| eight.episode.policy != *best);
    let uniform = run.uniform_of_same_cost().filter(|uniform| {
        uniform.episode.policy != *best && Some(uniform.bits) != eight_bit.map(|eight| eight.bits)
    });
    let others: Vec<_> = [eight_bit, uniform].into_iter().flatten().collect();
    let test_qualities: Option<Vec<f64>> =
        others.iter().map(|other| run.tested_quality(&other.episode.policy)).collect();
    let search_qualities: Option<Vec<f64>> =
        others.iter().map(|other| run.quality(other.episode)).collect();
    let (ours, theirs, split) = match (tested, test_qualities, search_qualities) {
        (Some(tested), Some(theirs), _) => (tested, theirs, "test"),
        (_, _, Some(theirs)) => (searched, theirs, "search"),
        _ => return String::new(),
    };
    let has_limit = !description.budgets.is_empty();
    let mut parts = Vec::new();
    for (other, theirs) in others.iter().zip(theirs) {
        let difference = difference(measure, ours, theirs);
        let is_uniform = uniform.is_some_and(|uniform| uniform.bits == other.bits);
        let why = match (is_uniform, has_limit) {
            (false, _) => String::new(),
            (true, true) => ", the best uniform policy within the budget".to_owned(),
            (true, false) => {
                format!(", the best uniform policy at no more {}", description.objective)
            }
        };
        parts.push(format!("{difference} {}{why}", other.bits));
    }
    if parts.is_empty() {
        return String::new();
    }
    let mut text = format!("on the {split} split it is {}", parts.join(" and "));
    let any_as_cheap = run.references().iter().any(|reference| {
        run.is_feasible(reference.episode)
            && (has_limit
                || reference.episode.cost.get(description.objective)
                    <= best_cost.get(description.objective))
    });
    if !any_as_cheap {
        text += match has_limit {
            true => ", and no uniform policy that was tried meets the budget",
            false => ", and every uniform policy that was tried costs more",
        };
    }
    text
}

/// Whether the measure is 0 for float by its meaning, so that naming float says nothing.
fn measure_is_distance(measure: Measure) -> bool {
    matches!(measure, Measure::Agreement | Measure::Kl | Measure::Mse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_said_in_the_words_of_the_measure() {
        for (measure, ours, theirs, expected) in [
            (Measure::Top1, 0.912, 0.9173, "0.53 points below"),
            (Measure::Top1, 0.95, 0.90, "5.00 points above"),
            (Measure::Agreement, 0.95, 0.95, "equal to"),
            (Measure::Top1, 0.950_001, 0.95, "equal to"),
            (Measure::Kl, -0.02, -0.05, "0.0300 better than"),
            (Measure::Mse, -0.05, -0.02, "0.0300 worse than"),
        ] {
            assert_eq!(difference(measure, ours, theirs), expected);
        }
    }
}
