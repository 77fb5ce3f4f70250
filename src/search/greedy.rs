//! A greedy descent: from the widest policy, the width whose loss takes least from the quality
//! for the cost it saves goes first, until the budgets hold.

use crate::{
    domain::{Bits, BitwidthPolicy, Budget, Cost},
    search::{
        projection::CostOf,
        space::{Decision, SearchSpace},
    },
};

/// What one decision at one width takes from the quality; rises as the width falls.
pub type LossOf<'a> = &'a dyn Fn(Decision, Bits) -> f64;

/// Gives up widths one by one; `None` when the budgets are not met in the end.
pub fn descend(
    space: &SearchSpace,
    budgets: &[Budget],
    loss: LossOf,
    cost: CostOf,
) -> Option<BitwidthPolicy> {
    let mut policy = space.widest();
    let mut excess = excess_of(budgets, &cost(&policy));
    while excess > 0.0 {
        let mut best: Option<(f64, BitwidthPolicy, f64)> = None;
        for &decision in space.decisions() {
            let now = space.get(&policy, decision);
            let before = loss(decision, now);
            // A step may need several widths before it saves anything.
            for &narrower in space.widths(decision).iter().rev().filter(|&&bits| bits < now) {
                let mut candidate = policy.clone();
                space.set(&mut candidate, decision, narrower);
                let left = excess_of(budgets, &cost(&candidate));
                let saved = excess - left;
                if saved <= 0.0 {
                    continue;
                }
                let added = loss(decision, narrower) - before;
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
