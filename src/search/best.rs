//! Which of the evaluated policies is the answer.

use crate::domain::{Budget, CostKind, EpisodeRecord, Measure, pareto_front};

/// Quality that an answer may lose against the float network when no budget says how far to go.
pub const TOLERATED_LOSS: f64 = 0.01;

/// What decides which episode a run answers with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preference<'a> {
    pub budgets: &'a [Budget],
    pub objective: CostKind,
    pub measure: Measure,
    /// Of the float network, as [`Measure::of`] gives it.
    pub float_quality: f64,
    /// Images the quality was measured on.
    pub n_images: usize,
}

/// The episode a run answers with.
///
/// With budgets: of the policies that meet them and lie within one standard error of the best
/// quality, the one that diverges least from the float network, for a few images more or less
/// say little; then the cheaper, then the earlier one. Without budgets: the cheapest policy of
/// the front that loses at most one hundredth against float, or the best there is.
pub fn best_episode(records: &[EpisodeRecord], preference: &Preference<'_>) -> Option<u32> {
    let Preference { budgets, objective, measure, .. } = *preference;
    let quality = |record: &EpisodeRecord| measure.of(&record.quality).unwrap_or(f64::NAN);
    let eligible: Vec<&EpisodeRecord> = records
        .iter()
        .filter(|record| record.is_whole() && Budget::all_met(budgets, &record.cost))
        .filter(|record| !quality(record).is_nan())
        .collect();
    if budgets.is_empty() {
        let points: Vec<(f64, f64)> =
            eligible.iter().map(|r| (r.cost.get(objective), quality(r))).collect();
        let front = pareto_front(&points);
        let enough =
            front.iter().find(|&&i| points[i].1 >= preference.float_quality - TOLERATED_LOSS);
        return enough.or(front.last()).map(|&i| eligible[i].index);
    }
    let highest = eligible.iter().map(|record| quality(record)).reduce(f64::max)?;
    let enough = highest - standard_error(measure, highest, preference.n_images);
    let better = |a: &&EpisodeRecord, b: &&EpisodeRecord| {
        let divergence = |r: &EpisodeRecord| r.quality.kl.unwrap_or(f64::INFINITY);
        divergence(b)
            .total_cmp(&divergence(a))
            .then_with(|| quality(a).total_cmp(&quality(b)))
            .then_with(|| b.cost.get(objective).total_cmp(&a.cost.get(objective)))
            .then_with(|| b.index.cmp(&a.index))
    };
    let close = eligible.into_iter().filter(|record| quality(record) >= enough);
    close.max_by(better).map(|record| record.index)
}

/// Of a share of so many images; 0 for a distance, which is no share.
fn standard_error(measure: Measure, quality: f64, n_images: usize) -> f64 {
    match measure {
        Measure::Top1 | Measure::Top5 | Measure::Agreement => {
            (quality * (1.0 - quality) / n_images.max(1) as f64).max(0.0).sqrt()
        }
        Measure::Kl | Measure::Mse => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BitwidthPolicy, Cost, EpisodeKind, Quality};

    fn record(index: u32, latency_s: f64, top1: f64, kl: f64) -> EpisodeRecord {
        EpisodeRecord {
            index,
            proposal_index: None,
            judged_by: None,
            kind: EpisodeKind::Proposal,
            proposed: BitwidthPolicy::new(vec![]),
            policy: BitwidthPolicy::new(vec![]),
            quality: Quality { top1: Some(top1), kl: Some(kl), ..Quality::default() },
            cost: Cost { latency_s, energy_j: 0.0, size_bytes: 0, peak_memory_bytes: 0 },
            reward: 0.0,
            stopped_after_images: None,
            from_cache: false,
            wall_s: 0.0,
        }
    }

    fn best(records: &[EpisodeRecord], budgets: &[Budget]) -> Option<u32> {
        let preference = Preference {
            budgets,
            objective: CostKind::Latency,
            measure: Measure::Top1,
            float_quality: 0.9,
            n_images: 900,
        };
        best_episode(records, &preference)
    }

    #[test]
    fn with_a_budget_divergence_decides_among_the_best_then_cost() {
        let budget = [Budget { kind: CostKind::Latency, limit: 5.0 }];
        let records = [
            record(0, 9.0, 0.99, 0.0),
            record(1, 5.0, 0.90, 0.2),
            record(2, 4.0, 0.90, 0.1),
            record(3, 3.0, 0.90, 0.1),
            record(4, 1.0, 0.80, 0.0),
            // One standard error is a hundredth: 0.895 is as good as 0.90, and 0.885 is not.
            record(5, 5.0, 0.895, 0.05),
            record(6, 5.0, 0.885, 0.01),
        ];
        assert_eq!(best(&records, &budget), Some(5));
        assert_eq!(best(&records[..5], &budget), Some(3));
        assert_eq!(best(&records[..1], &budget), None);
    }

    #[test]
    fn without_a_budget_the_cheapest_that_is_good_enough_wins() {
        let records =
            [record(0, 9.0, 0.90, 0.0), record(1, 4.0, 0.892, 0.0), record(2, 2.0, 0.6, 0.0)];
        assert_eq!(best(&records, &[]), Some(1));
        assert_eq!(best(&records[2..], &[]), Some(2));
    }
}
