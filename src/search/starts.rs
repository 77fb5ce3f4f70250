//! Policies to start from: found without a single evaluation, from the noise that rounding adds
//! to each layer.
//!
//! From the widest policy, the width whose loss adds the least noise for the cost it saves goes
//! first, until the budgets hold. This is what a search has to beat, and gives the agent good
//! episodes to learn from when few can be afforded.

use crate::{
    domain::{Bits, BitwidthPolicy, Budget, Cost, Operand},
    search::{
        projection::CostOf,
        space::{Decision, SearchSpace},
    },
};

/// The noise of one decision at one width, relative to the signal; falls with the width.
pub type NoiseOf<'a> = &'a dyn Fn(Decision, Bits) -> f64;

/// How noise in several layers is added up: the sum of its powers. Small powers mind every bit
/// of noise, large ones the noisiest layer.
const POWERS: [f64; 3] = [1.0, 0.5, 2.0];

/// One policy for each way to add up noise, those that meet the budgets, without repetitions.
pub fn starts(
    space: &SearchSpace,
    budgets: &[Budget],
    noise: NoiseOf,
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

/// Gives up widths one by one; `None` when the budgets are not met in the end.
fn descend(
    space: &SearchSpace,
    budgets: &[Budget],
    noise: NoiseOf,
    cost: CostOf,
) -> Option<BitwidthPolicy> {
    let mut policy = space.widest();
    let mut excess = excess_of(budgets, &cost(&policy));
    while excess > 0.0 {
        let mut best: Option<(f64, BitwidthPolicy, f64)> = None;
        for &decision in space.decisions() {
            let now = space.get(&policy, decision);
            let before = readers_noise(space, decision, now, noise);
            // A step may need several widths before it saves anything.
            for &narrower in space.widths(decision).iter().rev().filter(|&&bits| bits < now) {
                let mut candidate = policy.clone();
                space.set(&mut candidate, decision, narrower);
                let left = excess_of(budgets, &cost(&candidate));
                let saved = excess - left;
                if saved <= 0.0 {
                    continue;
                }
                let added = readers_noise(space, decision, narrower, noise) - before;
                let price = added.max(0.0) / saved;
                if best.as_ref().is_none_or(|(least, ..)| price < *least) {
                    best = Some((price, candidate, left));
                }
            }
        }
        let (_, next, left) = best?;
        (policy, excess) = (next, left);
    }
    Some(policy)
}

/// How far the costs lie above their budgets, summed, each relative to its budget.
fn excess_of(budgets: &[Budget], cost: &Cost) -> f64 {
    budgets.iter().map(|b| (cost.get(b.kind) / b.limit - 1.0).max(0.0)).sum()
}

/// A tensor's noise enters every layer that reads it.
fn readers_noise(space: &SearchSpace, decision: Decision, bits: Bits, noise: NoiseOf) -> f64 {
    let readers = match decision.operand {
        Operand::Weight => 1,
        Operand::Activation => {
            let layers = space.layers().iter();
            layers.filter(|layer| layer.tensor_owner == decision.layer).count()
        }
    };
    readers as f64 * noise(decision, bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::CostKind, search::space::tests::layer};

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
