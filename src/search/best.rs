//! Which of the evaluated policies is the answer.

use crate::domain::{Budget, CostKind, EpisodeRecord, Measure, pareto_front};

/// Quality that an answer may lose against the float network when no budget says how far to go.
pub const TOLERATED_LOSS: f64 = 0.01;

/// The episode a run answers with.
///
/// With budgets: the best quality among the policies that meet them. Equal top-1 on a few
/// hundred images says little, so ties go to the smaller divergence from the float network,
/// then to the cheaper policy, then to the earlier one. Without budgets: the cheapest policy of
/// the front that loses at most one hundredth against float, or the best there is.
pub fn best_episode(
    records: &[EpisodeRecord],
    budgets: &[Budget],
    objective: CostKind,
    measure: Measure,
    float_quality: f64,
) -> Option<u32> {
    let quality = |record: &EpisodeRecord| measure.of(&record.quality).unwrap_or(f64::NAN);
    let eligible: Vec<&EpisodeRecord> = records
        .iter()
        .filter(|record| Budget::all_met(budgets, &record.cost) && !quality(record).is_nan())
        .collect();
    if budgets.is_empty() {
        let points: Vec<(f64, f64)> =
            eligible.iter().map(|r| (r.cost.get(objective), quality(r))).collect();
        let front = pareto_front(&points);
        let enough = front.iter().find(|&&i| points[i].1 >= float_quality - TOLERATED_LOSS);
        return enough.or(front.last()).map(|&i| eligible[i].index);
    }
    let better = |a: &&EpisodeRecord, b: &&EpisodeRecord| {
        let divergence = |r: &EpisodeRecord| r.quality.kl.unwrap_or(f64::INFINITY);
        quality(a)
            .total_cmp(&quality(b))
            .then_with(|| divergence(b).total_cmp(&divergence(a)))
            .then_with(|| b.cost.get(objective).total_cmp(&a.cost.get(objective)))
            .then_with(|| b.index.cmp(&a.index))
    };
    eligible.into_iter().max_by(better).map(|record| record.index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BitwidthPolicy, Cost, EpisodeKind, Quality};

    fn record(index: u32, latency_s: f64, top1: f64, kl: f64) -> EpisodeRecord {
        EpisodeRecord {
            index,
            kind: EpisodeKind::Proposal,
            proposed: BitwidthPolicy::new(vec![]),
            policy: BitwidthPolicy::new(vec![]),
            quality: Quality { top1: Some(top1), kl: Some(kl), ..Quality::default() },
            cost: Cost { latency_s, energy_j: 0.0, size_bytes: 0, peak_memory_bytes: 0 },
            reward: 0.0,
            from_cache: false,
            wall_s: 0.0,
        }
    }

    fn best(records: &[EpisodeRecord], budgets: &[Budget]) -> Option<u32> {
        best_episode(records, budgets, CostKind::Latency, Measure::Top1, 0.9)
    }

    #[test]
    fn with_a_budget_quality_decides_then_divergence_then_cost() {
        let budget = [Budget { kind: CostKind::Latency, limit: 5.0 }];
        let records = [
            record(0, 9.0, 0.99, 0.0),
            record(1, 5.0, 0.90, 0.2),
            record(2, 4.0, 0.90, 0.1),
            record(3, 3.0, 0.90, 0.1),
            record(4, 1.0, 0.80, 0.0),
        ];
        assert_eq!(best(&records, &budget), Some(3));
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
