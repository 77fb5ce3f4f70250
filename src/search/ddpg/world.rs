//! The process the agent decides in: one width after the other, none that would make the budgets
//! unreachable.

use crate::{
    domain::{Bits, BitwidthPolicy, Budget, Cost, Layer},
    search::{
        action::{action_of_bits, bits_of_action},
        ddpg::view::{Moment, View},
        evaluator::PolicyCost,
        limits::Limits,
        projection::cheapest,
        space::SearchSpace,
        surrogate::Surrogate,
    },
};

/// Space, cost and what the agent sees of them.
pub struct World {
    space: SearchSpace,
    cost: Box<dyn PolicyCost>,
    limits: Limits,
    /// A policy that meets the budgets of every episode.
    way_out: BitwidthPolicy,
    view: View,
}

/// What was seen before a decision, and the action that names the width taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub observation: Vec<f32>,
    pub action: f32,
}

/// One pass over all decisions.
#[derive(Debug, Clone, PartialEq)]
pub struct Walk {
    pub policy: BitwidthPolicy,
    pub steps: Vec<Step>,
}

impl World {
    pub fn new(
        space: SearchSpace,
        cost: Box<dyn PolicyCost>,
        limits: Limits,
        layers: &[Layer],
        surrogate: &Surrogate,
    ) -> Self {
        let cost_of = |policy: &BitwidthPolicy| cost.cost(policy);
        let way_out = cheapest(&space, &limits.at(0.0), &cost_of);
        let view = View::new(&space, &cost_of, layers, surrogate);
        Self { space, cost, limits, way_out, view }
    }

    pub fn space(&self) -> &SearchSpace {
        &self.space
    }

    /// A policy that meets the budgets of every episode.
    pub fn way_out(&self) -> &BitwidthPolicy {
        &self.way_out
    }

    pub fn cost(&self, policy: &BitwidthPolicy) -> Cost {
        self.cost.cost(policy)
    }

    /// The budgets of an episode; see [`Limits::at`].
    pub fn budgets(&self, share: f64) -> Vec<Budget> {
        self.limits.at(share)
    }

    /// Numbers in one observation.
    pub fn n_features(&self) -> usize {
        self.view.n_features()
    }

    /// Decides every width by `choose`, an action from an observation.
    ///
    /// Where the budgets forbid the width an action names, the widest below it that they allow is
    /// taken, and the step has that width's action.
    ///
    /// - `share`: where the budget lies in its range
    pub fn walk(
        &self,
        budgets: &[Budget],
        share: f32,
        choose: &mut dyn FnMut(&[f32]) -> f32,
    ) -> Walk {
        self.pass(budgets, share, &mut |_, observation| choose(observation))
    }

    /// The steps that lead to `policy`. It need not meet the budgets.
    pub fn retrace(&self, policy: &BitwidthPolicy, budgets: &[Budget], share: f32) -> Vec<Step> {
        let action = |index: usize| {
            let decision = self.space.decisions()[index];
            action_of_bits(self.space.get(policy, decision), self.space.widths(decision))
        };
        self.pass(budgets, share, &mut |index, _| action(index)).steps
    }

    fn pass(
        &self,
        budgets: &[Budget],
        share: f32,
        choose: &mut dyn FnMut(usize, &[f32]) -> f32,
    ) -> Walk {
        // What is decided, and the cheapest and the widest of what is not.
        let (mut floor, mut ceiling) = (self.way_out.clone(), self.space.widest());
        let mut moment = Moment { previous_width: 1.0, budget_share: share, slack: 0.0, loss: 0.0 };
        let mut steps = Vec::with_capacity(self.space.decisions().len());
        for (index, &decision) in self.space.decisions().iter().enumerate() {
            let widths = self.space.widths(decision);
            moment.slack = self.slack(budgets, &floor, &ceiling);
            let observation = self.view.observe(index, &moment);
            let wanted = choose(index, &observation);
            let bits = self.reachable(budgets, &mut floor, index, bits_of_action(wanted, widths));
            self.space.set(&mut ceiling, decision, bits);
            moment.previous_width =
                f32::from(bits.get()) / f32::from(widths[widths.len() - 1].get());
            moment.loss += self.view.loss(index, bits);
            let is_as_wanted = bits_of_action(wanted, widths) == bits;
            let action = if is_as_wanted { wanted } else { action_of_bits(bits, widths) };
            steps.push(Step { observation, action });
        }
        Walk { policy: floor, steps }
    }

    /// Sets the decision in `floor`: to `wanted`, or to the nearest width that leaves the budgets
    /// reachable, narrower ones first. One always does, for the way out's own width does.
    fn reachable(
        &self,
        budgets: &[Budget],
        floor: &mut BitwidthPolicy,
        index: usize,
        wanted: Bits,
    ) -> Bits {
        let decision = self.space.decisions()[index];
        let widths = self.space.widths(decision);
        let own = self.space.get(floor, decision);
        let narrower = widths.iter().rev().filter(|&&bits| bits <= wanted);
        let wider = widths.iter().filter(|&&bits| bits > wanted);
        for &bits in narrower.chain(wider) {
            self.space.set(floor, decision, bits);
            if Budget::all_met(budgets, &self.cost(floor)) {
                return bits;
            }
        }
        self.space.set(floor, decision, own);
        own
    }

    /// The share of what the rest could spend that the budgets leave it, from 0 to 1.
    fn slack(&self, budgets: &[Budget], floor: &BitwidthPolicy, ceiling: &BitwidthPolicy) -> f32 {
        let (least, most) = (self.cost(floor), self.cost(ceiling));
        let of = |budget: &Budget| {
            let (least, most) = (least.get(budget.kind), most.get(budget.kind));
            if most > least { (budget.limit - least) / (most - least) } else { 1.0 }
        };
        budgets.iter().map(of).fold(1.0, f64::min).max(0.0) as f32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        domain::CostKind,
        search::{loss_table::LossTable, space::tests::layer},
    };

    const WIDTHS: [u8; 4] = [2, 4, 6, 8];

    fn cost(policy: &BitwidthPolicy) -> Cost {
        let product = |l: &crate::domain::LayerBits| {
            u64::from(l.weight.get()) * u64::from(l.activation.get())
        };
        let size_bytes = policy.layers().iter().map(product).sum();
        Cost { latency_s: 0.0, energy_j: 0.0, size_bytes, peak_memory_bytes: 0 }
    }

    fn world(limit: f64) -> World {
        let mut layers: Vec<_> = (0..4).map(|i| layer(i, &WIDTHS, &WIDTHS)).collect();
        layers[2].tensor_owner = 1;
        let space = SearchSpace::new(layers).unwrap();
        let surrogate = Surrogate::new(space.clone(), &LossTable::new(4));
        let limits = Limits::Fixed(vec![Budget { kind: CostKind::Size, limit }]);
        let layers: Vec<Layer> = (0..4).map(|i| Layer::linear(format!("layer{i}"), 8, 8)).collect();
        World::new(space, Box::new(cost), limits, &layers, &surrogate)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_walk_meets_the_budgets_and_its_actions_name_what_was_taken(
            actions in prop::collection::vec(0f32..=1.0, 7), share in 0.07f64..1.0
        ) {
            let world = world(4.0 * 64.0 * share);
            let budgets = world.budgets(0.5);
            let mut wanted = actions.iter();
            let walk = world.walk(&budgets, 0.5, &mut |seen| {
                assert!(seen.iter().all(|value| (0.0..=1.0).contains(value)), "{seen:?}");
                *wanted.next().expect("seven decisions")
            });
            prop_assert!(Budget::all_met(&budgets, &cost(&walk.policy)));
            for (step, &decision) in walk.steps.iter().zip(world.space().decisions()) {
                let taken = bits_of_action(step.action, world.space().widths(decision));
                prop_assert_eq!(taken, world.space().get(&walk.policy, decision));
            }
            let again = world.retrace(&walk.policy, &budgets, 0.5);
            for (step, again) in walk.steps.iter().zip(again) {
                prop_assert_eq!(&step.observation, &again.observation);
            }
        }
    }

    #[test]
    fn what_the_budget_leaves_is_seen_to_shrink() {
        let world = world(120.0);
        let budgets = world.budgets(0.5);
        let mut slack = Vec::new();
        world.walk(&budgets, 0.5, &mut |seen| {
            slack.push(seen[seen.len() - 2]);
            1.0
        });
        assert!(slack[0] > 0.0 && slack[0] < 1.0, "{slack:?}");
        assert!(slack[6] < slack[0], "the first took more than its share: {slack:?}");
    }
}
