//! Policies to start from: found without a single evaluation, from the noise that rounding adds
//! to each layer. This is what a search has to beat, and gives the agent good episodes to learn
//! from when few can be afforded.

use crate::{
    domain::{Bits, BitwidthPolicy, Budget},
    search::{
        greedy::{LossOf, descend},
        projection::CostOf,
        space::{Decision, SearchSpace},
    },
};

/// How noise in several layers is added up: the sum of its powers. Small powers mind every bit
/// of noise, large ones the noisiest layer.
const POWERS: [f64; 3] = [1.0, 0.5, 2.0];

/// One policy for each way to add up noise, those that meet the budgets, without repetitions.
pub fn starts(
    space: &SearchSpace,
    budgets: &[Budget],
    noise: LossOf,
    cost: CostOf,
) -> Vec<BitwidthPolicy> {
    let mut found: Vec<BitwidthPolicy> = Vec::new();
    for power in POWERS {
        let powered = |decision: Decision, bits: Bits| noise(decision, bits).powf(power);
        let policy = descend(space, budgets, &powered, cost);
        if let Some(policy) = policy.filter(|policy| !found.contains(policy)) {
            found.push(policy);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Cost, CostKind},
        search::space::tests::layer,
    };

    /// A layer costs the sum of its bits; rounding the second layer is much noisier.
    fn sum_cost(policy: &BitwidthPolicy) -> Cost {
        let bits = |b: Bits| u64::from(b.get());
        let size_bytes = policy.layers().iter().map(|l| bits(l.weight) + bits(l.activation)).sum();
        Cost { latency_s: 0.0, energy_j: 0.0, size_bytes, peak_memory_bytes: 0 }
    }

    fn noise(decision: Decision, bits: Bits) -> f64 {
        let loud = if decision.layer == 1 { 100.0 } else { 1.0 };
        loud * 0.25f64.powi(bits.get().into())
    }

    #[test]
    fn quiet_layers_give_their_bits_first_and_the_budget_holds() {
        let all = [2, 3, 4, 5, 6, 7, 8];
        let space = SearchSpace::new(vec![layer(0, &all, &all), layer(1, &all, &all)]).unwrap();
        let budgets = [Budget { kind: CostKind::Size, limit: 20.0 }];
        let found = starts(&space, &budgets, &noise, &sum_cost);
        assert!(!found.is_empty());
        for policy in found {
            assert!(Budget::all_met(&budgets, &sum_cost(&policy)));
            let [quiet, loud] = policy.layers() else { panic!("there are two layers") };
            assert!(quiet.weight < loud.weight && quiet.activation < loud.activation, "{policy:?}");
        }
    }

    #[test]
    fn a_budget_out_of_reach_gives_no_start() {
        let space = SearchSpace::new(vec![layer(0, &[2, 8], &[2, 8])]).unwrap();
        let budgets = [Budget { kind: CostKind::Size, limit: 3.0 }];
        assert!(starts(&space, &budgets, &noise, &sum_cost).is_empty());
    }
}
