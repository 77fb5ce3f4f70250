//! An integer programme: the policy with the least sum of losses among those that meet the
//! budgets, each decision's loss counted as if the others were in float.
//!
//! Source: Yao et al. 2021 (HAWQ-V3), section 3.3. We differ: the losses are measured, a layer's
//! weights and activations are chosen together, and costs that do not add up over layers are
//! made linear around the answer before, until the true cost meets the budgets.

use std::collections::HashMap;

use good_lp::{
    Expression, ProblemVariables, ResolutionError, Solution, SolverModel, Variable, WithMipGap,
    constraint, microlp, variable,
};

use crate::{
    domain::{Bits, BitwidthPolicy, Budget, Cost, LayerBits, Operand},
    search::{
        error::SearchError,
        greedy::LossOf,
        projection::CostOf,
        space::{Decision, SearchSpace},
    },
};

/// Times the programme is solved at most: what its linear costs leave out is small, so that
/// few corrections of the limits do.
const ROUNDS: usize = 8;

/// The policy with the least sum of losses that meets the budgets.
///
/// - `loss`: of a tensor that several layers read, counted once
/// - `near`: a policy that meets the budgets; also the answer where none better is found
/// - `gap`: how far from the least sum an answer may lie, as a share
///
/// # Errors
/// When the solver fails on the programme.
pub fn least_loss(
    space: &SearchSpace,
    budgets: &[Budget],
    loss: LossOf,
    cost: CostOf,
    near: &BitwidthPolicy,
    gap: f32,
) -> Result<BitwidthPolicy, SearchError> {
    let total = |policy: &BitwidthPolicy| -> f64 {
        space.decisions().iter().map(|&d| loss(d, space.get(policy, d))).sum()
    };
    let mut best = near.clone();
    let mut around = near.clone();
    let mut limits: Vec<f64> = budgets.iter().map(|budget| budget.limit).collect();
    for _ in 0..ROUNDS {
        let programme = Programme { space, budgets, limits: &limits, loss, cost, gap };
        let Some(found) = programme.solve(&around)? else { break };
        let costs = cost(&found);
        if Budget::all_met(budgets, &costs) {
            if total(&found) < total(&best) {
                best = found.clone();
            }
            if found == around {
                break;
            }
        } else {
            for (limit, budget) in limits.iter_mut().zip(budgets) {
                *limit -= (costs.get(budget.kind) - budget.limit).max(0.0);
            }
        }
        around = found;
    }
    Ok(best)
}

/// One linear programme: costs are those around a policy.
struct Programme<'a> {
    space: &'a SearchSpace,
    budgets: &'a [Budget],
    limits: &'a [f64],
    loss: LossOf<'a>,
    cost: CostOf<'a>,
    gap: f32,
}

/// Whether a layer has this pair of widths.
struct Choice {
    bits: LayerBits,
    variable: Variable,
}

impl Programme<'_> {
    /// `None` when no choice meets the limits.
    fn solve(&self, around: &BitwidthPolicy) -> Result<Option<BitwidthPolicy>, SearchError> {
        let base = (self.cost)(around);
        let mut variables = ProblemVariables::new();
        let mut objective = Expression::from(0.0);
        let mut costs: Vec<Expression> =
            self.budgets.iter().map(|budget| base.get(budget.kind).into()).collect();
        let mut layers: Vec<Vec<Choice>> = Vec::new();
        for index in 0..self.space.layers().len() {
            let mut choices = Vec::new();
            for bits in self.pairs(index) {
                let is_now = around.layers()[index] == bits;
                let chosen = variables.add(variable().binary().initial(f64::from(is_now)));
                objective += self.loss_of(index, bits) * chosen;
                let moved = self.cost_with(around, index, bits);
                for (sum, budget) in costs.iter_mut().zip(self.budgets) {
                    *sum += (moved.get(budget.kind) - base.get(budget.kind)) * chosen;
                }
                choices.push(Choice { bits, variable: chosen });
            }
            layers.push(choices);
        }
        let mut problem = variables.minimise(objective).using(microlp);
        problem = problem.with_mip_gap(self.gap).map_err(|error| failed(&error))?;
        for choices in &layers {
            let one: Expression = choices.iter().map(|choice| choice.variable).sum();
            problem = problem.with(constraint!(one == 1.0));
        }
        for ((sum, budget), &limit) in costs.into_iter().zip(self.budgets).zip(self.limits) {
            // In units of the budget, for the solver's tolerances are absolute.
            problem = problem.with(constraint!(sum / budget.limit <= limit / budget.limit));
        }
        for equal in self.shared_widths(&layers) {
            problem = problem.with(constraint!(equal == 0.0));
        }
        match problem.solve() {
            Ok(solution) => Ok(Some(policy_of(&layers, &solution))),
            Err(ResolutionError::Infeasible) => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    fn pairs(&self, layer: usize) -> Vec<LayerBits> {
        let choices = &self.space.layers()[layer];
        let weights = choices.weight.iter();
        let pair = |&w: &Bits| choices.activation.iter().map(move |&a| LayerBits::new(w, a));
        weights.flat_map(pair).collect()
    }

    /// A tensor's loss is its first reader's.
    fn loss_of(&self, layer: usize, bits: LayerBits) -> f64 {
        let weight = (self.loss)(Decision { layer, operand: Operand::Weight }, bits.weight);
        if self.space.layers()[layer].tensor_owner != layer {
            return weight;
        }
        let read = Decision { layer, operand: Operand::Activation };
        weight + (self.loss)(read, bits.activation)
    }

    /// What the policy costs with other bits in one layer.
    fn cost_with(&self, policy: &BitwidthPolicy, layer: usize, bits: LayerBits) -> Cost {
        let mut moved = policy.clone();
        moved.layers_mut()[layer] = bits;
        (self.cost)(&moved)
    }

    /// Sums that are 0 where layers that read one tensor have one width for it.
    fn shared_widths(&self, layers: &[Vec<Choice>]) -> Vec<Expression> {
        let by_width = |layer: usize| -> HashMap<Bits, Expression> {
            let mut sums = HashMap::new();
            for choice in &layers[layer] {
                *sums.entry(choice.bits.activation).or_insert_with(Expression::default) +=
                    choice.variable;
            }
            sums
        };
        let mut equal = Vec::new();
        for (index, choices) in self.space.layers().iter().enumerate() {
            if choices.tensor_owner == index {
                continue;
            }
            let (mut own, mut owners) = (by_width(index), by_width(choices.tensor_owner));
            for bits in &choices.activation {
                if let (Some(own), Some(owner)) = (own.remove(bits), owners.remove(bits)) {
                    equal.push(own - owner);
                }
            }
        }
        equal
    }
}

fn policy_of(layers: &[Vec<Choice>], solution: &impl Solution) -> BitwidthPolicy {
    let chosen = |choices: &Vec<Choice>| {
        let value = |choice: &&Choice| solution.value(choice.variable);
        let most = choices.iter().max_by(|a, b| value(a).total_cmp(&value(b)));
        most.expect("a layer has a width").bits
    };
    BitwidthPolicy::new(layers.iter().map(chosen).collect())
}

fn failed(error: &dyn std::error::Error) -> SearchError {
    SearchError::Programme(error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        domain::CostKind,
        search::{greedy::descend, projection::cheapest, space::tests::layer},
    };

    const WIDTHS: [u8; 4] = [2, 4, 6, 8];

    fn product_cost(policy: &BitwidthPolicy) -> Cost {
        let product = |l: &LayerBits| u64::from(l.weight.get()) * u64::from(l.activation.get());
        let total: u64 = policy.layers().iter().map(product).sum();
        Cost { latency_s: total as f64, energy_j: 0.0, size_bytes: total, peak_memory_bytes: 0 }
    }

    /// Every policy of a small space.
    fn all(space: &SearchSpace) -> Vec<BitwidthPolicy> {
        space.decisions().iter().fold(vec![space.widest()], |policies, &decision| {
            let with = |policy: &BitwidthPolicy, bits| {
                let mut policy = policy.clone();
                space.set(&mut policy, decision, bits);
                policy
            };
            policies
                .iter()
                .flat_map(|p| space.widths(decision).iter().map(|&bits| with(p, bits)))
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_answer_is_the_best_of_all_policies_within_the_gap(
            weights in prop::collection::vec(0.1f64..10.0, 6), share in 0.15f64..1.0, shared: bool
        ) {
            let mut layers: Vec<_> = (0..3).map(|i| layer(i, &WIDTHS, &WIDTHS)).collect();
            if shared {
                layers[1].tensor_owner = 0;
            }
            let space = SearchSpace::new(layers).unwrap();
            let loss = |decision: Decision, bits: Bits| {
                let of = decision.layer * 2 + usize::from(decision.operand == Operand::Weight);
                weights[of] * 0.25f64.powi(bits.get().into())
            };
            let total = |policy: &BitwidthPolicy| -> f64 {
                space.decisions().iter().map(|&d| loss(d, space.get(policy, d))).sum()
            };
            let limit = product_cost(&space.widest()).latency_s * share;
            let budgets = [Budget { kind: CostKind::Latency, limit }];
            let near = cheapest(&space, &budgets, &product_cost);
            let found = least_loss(&space, &budgets, &loss, &product_cost, &near, 1e-3).unwrap();
            prop_assert!(Budget::all_met(&budgets, &product_cost(&found)));
            let meets = |p: &BitwidthPolicy| Budget::all_met(&budgets, &product_cost(p));
            let least = all(&space).iter().filter(|p| meets(p)).map(total).fold(f64::MAX, f64::min);
            let greedy = descend(&space, &budgets, &loss, &product_cost).unwrap();
            prop_assert!(total(&found) <= total(&greedy) * 1.001);
            prop_assert!(total(&found) <= least * 1.002, "{} {}", total(&found), least);
        }
    }
}
