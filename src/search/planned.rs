//! Policies worked out from a table of losses, with no evaluation of a whole policy: one for the
//! budgets, or one for each of the limits that episodes over a range have.

use crate::{
    domain::{Bits, BitwidthPolicy, Budget},
    search::{
        error::SearchError, evaluator::PolicyCost as _, greedy::descend, ilp::least_loss,
        limits::BudgetRange, loss_table::LossTable, plan::Plan, projection::cheapest,
        space::Decision,
    },
};

/// How far from the least sum a programme's answer may lie, as a share.
const GAP: f32 = 1e-3;

/// How a table of losses becomes a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planner {
    Greedy,
    /// The least sum of losses.
    IntegerProgramme,
}

impl Planner {
    /// Policies without repetitions: one where there are budgets, else at most `n_limits`, in
    /// the order of the episodes' limits.
    ///
    /// # Errors
    /// When the solver of the integer programme fails.
    pub fn policies(
        self,
        plan: &Plan,
        losses: &LossTable,
        n_limits: u32,
    ) -> Result<Vec<BitwidthPolicy>, SearchError> {
        if !plan.budgets.is_empty() {
            return Ok(vec![self.policy(plan, losses, &plan.budgets)?]);
        }
        let cost = |policy: &BitwidthPolicy| plan.cost.cost(policy);
        let range = BudgetRange::of(&plan.space, &cost, plan.objective);
        let mut policies = Vec::new();
        for index in 0..n_limits {
            policies.push(self.policy(plan, losses, &[range.limit_of(index.into())])?);
        }
        Ok(policies)
    }

    fn policy(
        self,
        plan: &Plan,
        losses: &LossTable,
        budgets: &[Budget],
    ) -> Result<BitwidthPolicy, SearchError> {
        let loss = |decision: Decision, bits: Bits| losses.get(decision, bits);
        let cost = |policy: &BitwidthPolicy| plan.cost.cost(policy);
        let greedy = descend(&plan.space, budgets, &loss, &cost)
            .unwrap_or_else(|| cheapest(&plan.space, budgets, &cost));
        match self {
            Planner::Greedy => Ok(greedy),
            Planner::IntegerProgramme => {
                least_loss(&plan.space, budgets, &loss, &cost, &greedy, GAP)
            }
        }
    }
}
