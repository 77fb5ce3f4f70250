//! Which budgets hold in an episode.

use crate::{
    domain::{Budget, CostKind, LayerBits},
    search::{
        projection::{CostOf, cheapest},
        space::SearchSpace,
    },
};

/// The budgets of a whole search.
#[derive(Debug, Clone, PartialEq)]
pub enum Limits {
    /// They hold in every episode.
    Fixed(Vec<Budget>),
    /// Each episode has a limit of its own.
    Range(BudgetRange),
}

/// The smallest and the largest limit an episode gets when no budget is given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetRange {
    pub kind: CostKind,
    pub low: f64,
    pub high: f64,
}

impl Limits {
    /// - `budgets`: none for a range of `objective`
    pub fn of(
        space: &SearchSpace,
        cost: CostOf<'_>,
        budgets: &[Budget],
        objective: CostKind,
    ) -> Self {
        match budgets {
            [] => Self::Range(BudgetRange::of(space, cost, objective)),
            budgets => Self::Fixed(budgets.to_vec()),
        }
    }

    /// The budgets of an episode.
    ///
    /// - `share`: where its limit lies in the range, from 0 to 1
    pub fn at(&self, share: f64) -> Vec<Budget> {
        match self {
            Self::Fixed(budgets) => budgets.clone(),
            Self::Range(range) => vec![range.limit(share)],
        }
    }
}

impl BudgetRange {
    /// From the cheapest policy to the 8/8 policy, or the widest where that is narrower.
    pub fn of(space: &SearchSpace, cost: CostOf<'_>, kind: CostKind) -> Self {
        let unlimited = [Budget { kind, limit: 1.0 }];
        let low = cost(&cheapest(space, &unlimited, cost)).get(kind);
        let high = cost(&space.nearest_uniform(LayerBits::EIGHT)).get(kind);
        Self { kind, low, high: high.max(low) }
    }

    /// The limit of one episode.
    pub fn limit_of(&self, index: u64) -> Budget {
        self.limit(share_of(index))
    }

    fn limit(&self, share: f64) -> Budget {
        Budget { kind: self.kind, limit: self.low + share * (self.high - self.low) }
    }
}

/// Where the limit of one episode lies. Any run of consecutive indices covers the range evenly.
pub fn share_of(index: u64) -> f64 {
    const GOLDEN_RATIO: f64 = 0.618_033_988_749_894_9;
    (0.5 + index as f64 * GOLDEN_RATIO).fract()
}
