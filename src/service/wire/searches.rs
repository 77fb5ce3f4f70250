//! Searches: in lists, alone, and after something was asked of them.

use serde::Serialize;
use utoipa::ToSchema;

use super::SCHEMA;
use crate::{
    domain,
    store::{BestSummary, SearchSummary},
};

/// Modelled, for one batch.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Cost {
    pub latency_s: f64,
    pub energy_j: f64,
    pub size_bytes: u64,
    pub peak_memory_bytes: u64,
}

impl From<domain::Cost> for Cost {
    fn from(cost: domain::Cost) -> Self {
        let domain::Cost { latency_s, energy_j, size_bytes, peak_memory_bytes } = cost;
        Self { latency_s, energy_j, size_bytes, peak_memory_bytes }
    }
}

/// The best policy of a search so far.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Best {
    pub episode: u32,
    /// On the search split, by the search's measure; more is better.
    pub quality: Option<f64>,
    /// On the test split, once the search is completed.
    pub test_quality: Option<f64>,
    pub cost: Cost,
}

impl From<BestSummary> for Best {
    fn from(best: BestSummary) -> Self {
        let BestSummary { episode, quality, test_quality, cost } = best;
        Self { episode, quality, test_quality, cost: cost.into() }
    }
}

/// One search.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Summary {
    pub id: i64,
    /// queued, running, paused, completed, failed or cancelled.
    pub state: String,
    /// Whether somebody wants it to stop, and it has not yet.
    pub stopping: bool,
    /// UTC, RFC 3339.
    pub created_at: String,
    /// Name of the token it was handed in with; `local` where none was needed.
    pub submitter: String,
    pub model: String,
    pub data: String,
    pub profile: String,
    pub strategy: String,
    /// What quality is: top1, top5, agreement, kl or mse.
    pub measure: String,
    /// The cost the front is drawn against; known once it runs.
    pub objective: Option<String>,
    pub budget: Vec<String>,
    pub seed: u64,
    /// Judged so far, with the uniform policies that are tried first for comparison.
    pub episodes: u32,
    /// Without those: of `episodes_planned`.
    pub proposals: u32,
    pub episodes_planned: u32,
    pub evaluations: u32,
    pub wall_s: f64,
    /// The float network's, on the search split.
    pub float_quality: Option<f64>,
    pub float_test_quality: Option<f64>,
    pub eight_bit_cost: Option<Cost>,
    pub best: Option<Best>,
    pub error: Option<String>,
    pub tags: Vec<String>,
    pub note: String,
}

impl From<SearchSummary> for Summary {
    fn from(search: SearchSummary) -> Self {
        Self {
            id: search.search,
            state: search.state.to_string(),
            stopping: search.is_stopping,
            created_at: search.created_at,
            submitter: search.submitter,
            model: search.model,
            data: search.data,
            profile: search.profile,
            strategy: search.strategy.to_string(),
            measure: search.measure.to_string(),
            objective: search.objective.map(|kind| kind.to_string()),
            budget: search.budget.iter().map(ToString::to_string).collect(),
            seed: search.seed,
            episodes: search.episodes,
            proposals: search.proposals,
            episodes_planned: search.episodes_planned,
            evaluations: search.evaluations,
            wall_s: search.wall_s,
            float_quality: search.float_quality,
            float_test_quality: search.float_test_quality,
            eight_bit_cost: search.eight_bit_cost.map(Cost::from),
            best: search.best.map(Best::from),
            error: search.error,
            tags: search.tags,
            note: search.note,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SearchList {
    pub schema: u32,
    /// How many there are in all.
    pub total: u64,
    pub searches: Vec<Summary>,
}

/// A limit in seconds, joules or bytes.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BudgetLimit {
    pub kind: String,
    pub limit: f64,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LayerShape {
    pub name: String,
    /// conv, depthwise or linear.
    pub kind: String,
    pub macs: u64,
    pub weights: u64,
    pub pinned: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SearchDetail {
    pub schema: u32,
    #[serde(flatten)]
    pub summary: Summary,
    pub limits: Vec<BudgetLimit>,
    /// Empty while it waits.
    pub layers: Vec<LayerShape>,
}

/// Where a search stands after what was asked.
#[derive(Debug, Serialize, ToSchema)]
pub struct Standing {
    pub schema: u32,
    pub id: i64,
    pub state: String,
}

impl Standing {
    pub fn new(id: i64, state: impl ToString) -> Self {
        Self { schema: SCHEMA, id, state: state.to_string() }
    }
}
