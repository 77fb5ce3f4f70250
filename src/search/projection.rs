//! Lowering bits until the budgets hold, or saying that they cannot.
//!
//! Source: HAQ, section 3.3 and its code: sweep from the last layer to the first, in each layer
//! the activation loses a width, then the weights; stop as soon as the budget is met.

use crate::{
    domain::{BitwidthPolicy, Budget, Cost, Operand},
    search::space::{Decision, SearchSpace},
};

/// Costs of a policy, as far as a projection needs them.
pub type CostOf<'a> = &'a dyn Fn(&BitwidthPolicy) -> Cost;

/// Lowers `policy` until it meets every budget. Pins hold, for they leave nothing to choose.
///
/// Where even the narrowest policy is dearer than another (padding can make fewer bits cost
/// more), `cheapest` is the way out.
///
/// - `cheapest`: a policy that meets the budgets
pub fn project(
    space: &SearchSpace,
    mut policy: BitwidthPolicy,
    budgets: &[Budget],
    cheapest: &BitwidthPolicy,
    cost: CostOf,
) -> BitwidthPolicy {
    loop {
        if Budget::all_met(budgets, &cost(&policy)) {
            return policy;
        }
        let before = policy.clone();
        for layer in (0..space.layers().len()).rev() {
            for operand in [Operand::Activation, Operand::Weight] {
                let decision = Decision { layer, operand };
                if lower(space, &mut policy, decision) && Budget::all_met(budgets, &cost(&policy)) {
                    return policy;
                }
            }
        }
        if policy == before {
            return cheapest.clone();
        }
    }
}

/// Takes the next narrower width, where there is one and the decision is this layer's to make.
fn lower(space: &SearchSpace, policy: &mut BitwidthPolicy, decision: Decision) -> bool {
    let choices = &space.layers()[decision.layer];
    if decision.operand == Operand::Activation && choices.tensor_owner != decision.layer {
        return false;
    }
    let now = space.get(policy, decision);
    match space.widths(decision).iter().rev().find(|&&bits| bits < now) {
        Some(&narrower) => {
            space.set(policy, decision, narrower);
            true
        }
        None => false,
    }
}

/// A policy as cheap as they come in all the budgeted costs together.
///
/// Starts from the narrowest and takes, decision by decision, the width that brings the
/// largest ratio of cost to budget down most; repeats until nothing gets cheaper. Exact where
/// fewer bits never cost more, since the narrowest policy then already is the cheapest.
pub fn cheapest(space: &SearchSpace, budgets: &[Budget], cost: CostOf) -> BitwidthPolicy {
    let excess = |policy: &BitwidthPolicy| {
        let cost = cost(policy);
        budgets.iter().map(|b| cost.get(b.kind) / b.limit).fold(f64::NEG_INFINITY, f64::max)
    };
    let mut best = space.narrowest();
    let mut least = excess(&best);
    loop {
        let before = least;
        for &decision in space.decisions() {
            for &bits in space.widths(decision) {
                let mut candidate = best.clone();
                space.set(&mut candidate, decision, bits);
                let ratio = excess(&candidate);
                if ratio < least {
                    (best, least) = (candidate, ratio);
                }
            }
        }
        if least >= before {
            return best;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        domain::{Bits, CostKind},
        search::space::tests::layer,
    };

    /// Each layer costs weight times activation bits.
    fn product_cost(policy: &BitwidthPolicy) -> Cost {
        let total: u64 = policy
            .layers()
            .iter()
            .map(|l| u64::from(l.weight.get()) * u64::from(l.activation.get()))
            .sum();
        Cost { latency_s: total as f64, energy_j: 0.0, size_bytes: total, peak_memory_bytes: 0 }
    }

    fn latency(limit: f64) -> Vec<Budget> {
        vec![Budget { kind: CostKind::Latency, limit }]
    }

    #[test]
    fn the_sweep_starts_at_the_back_with_the_activation() {
        let all = [2, 3, 4, 5, 6, 7, 8];
        let space = SearchSpace::new(vec![layer(0, &all, &all), layer(1, &all, &all)]).unwrap();
        for (limit, expected) in [
            (128.0, "8/8 8/8"),
            (127.0, "8/8 8/7"),
            (119.0, "8/8 7/7"),
            (110.0, "8/7 7/7"),
            (8.0, "2/2 2/2"),
        ] {
            let policy =
                project(&space, space.widest(), &latency(limit), &space.narrowest(), &product_cost);
            assert_eq!(policy.key(), expected, "{limit}");
        }
    }

    #[test]
    fn the_way_out_is_taken_where_fewer_bits_cost_more() {
        let space = SearchSpace::new(vec![layer(0, &[2, 4], &[8])]).unwrap();
        let odd = |policy: &BitwidthPolicy| {
            let dear = policy.layers()[0].weight.get() == 2;
            let latency_s = if dear { 9.0 } else { 5.0 };
            Cost { latency_s, energy_j: 0.0, size_bytes: 0, peak_memory_bytes: 0 }
        };
        let budgets = latency(6.0);
        let way_out = cheapest(&space, &budgets, &odd);
        assert_eq!(way_out.key(), "4/8");
        let narrow = space.narrowest();
        assert_eq!(project(&space, narrow, &budgets, &way_out, &odd), way_out);
    }

    proptest! {
        #[test]
        fn a_projected_policy_meets_its_budget_and_never_gains_bits(
            bits in prop::collection::vec((2u8..=8, 2u8..=8), 1..12), share in 0.1f64..1.2
        ) {
            let all = [2, 3, 4, 5, 6, 7, 8];
            let mut layers: Vec<_> = (0..bits.len()).map(|i| layer(i, &all, &all)).collect();
            layers[0] = layer(0, &[8], &[8]);
            let space = SearchSpace::new(layers).unwrap();
            let mut policy = space.widest();
            for (index, &(w, a)) in bits.iter().enumerate().skip(1) {
                policy.layers_mut()[index].weight = Bits::new(w).unwrap();
                policy.layers_mut()[index].activation = Bits::new(a).unwrap();
            }
            let floor = product_cost(&space.narrowest()).latency_s;
            let budgets = latency((product_cost(&space.widest()).latency_s * share).max(floor));
            let projected = project(&space, policy.clone(), &budgets, &space.narrowest(), &product_cost);
            prop_assert!(Budget::all_met(&budgets, &product_cost(&projected)));
            prop_assert_eq!(projected.layers()[0], policy.layers()[0]);
            for (after, before) in projected.layers().iter().zip(policy.layers()) {
                prop_assert!(after.weight <= before.weight && after.activation <= before.activation);
            }
        }
    }
}
