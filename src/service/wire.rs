//! The shapes of answers, as the API's description shows them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{self, CostKind, EpisodeRecord, Measure},
    store::{BestSummary, SearchSummary},
};

/// Version of every object.
pub const SCHEMA: u32 = 1;

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

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Episode {
    pub index: u32,
    pub kind: String,
    /// Weight and activation bits of each layer.
    pub policy: Vec<[u8; 2]>,
    /// By the search's measure, more is better.
    pub quality: Option<f64>,
    pub cost: Cost,
    pub reward: Option<f64>,
    /// Images after which judging stopped; quality then is an estimate.
    pub stopped_after_images: Option<u32>,
    pub from_cache: bool,
    pub wall_s: f64,
}

impl Episode {
    pub fn new(record: &EpisodeRecord, measure: Measure) -> Self {
        let bits = record.policy.layers().iter();
        Self {
            index: record.index,
            kind: record.kind.word().into(),
            policy: bits.map(|bits| [bits.weight.get(), bits.activation.get()]).collect(),
            quality: measure.of(&record.quality).filter(|quality| quality.is_finite()),
            cost: record.cost.into(),
            reward: Some(record.reward).filter(|reward| reward.is_finite()),
            stopped_after_images: record.stopped_after_images,
            from_cache: record.from_cache,
            wall_s: record.wall_s,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct EpisodeList {
    pub schema: u32,
    pub total: u64,
    pub episodes: Vec<Episode>,
}

/// Episodes of a search for a plot; its front, references and best are always among them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Points {
    pub schema: u32,
    pub cost: String,
    /// s, J or B.
    pub unit: &'static str,
    pub measure: String,
    /// Episodes there are, and how many of them are here.
    pub total: u64,
    pub shown: usize,
    /// The search's own limit on this cost.
    pub limit: Option<f64>,
    pub float_quality: Option<f64>,
    pub points: PointColumns,
}

/// One entry an episode in each.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct PointColumns {
    pub episode: Vec<u32>,
    pub cost: Vec<f64>,
    pub quality: Vec<Option<f64>>,
    pub kind: Vec<&'static str>,
    /// Whether it meets the budgets and was judged on all images.
    pub feasible: Vec<bool>,
    pub front: Vec<bool>,
    /// The bits of a uniform policy; only of references.
    pub uniform: Vec<Option<String>>,
}

pub const fn unit(kind: CostKind) -> &'static str {
    match kind {
        CostKind::Latency => "s",
        CostKind::Energy => "J",
        CostKind::Size | CostKind::Memory => "B",
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Front {
    pub schema: u32,
    pub id: i64,
    pub objective: Option<String>,
    pub measure: String,
    /// By rising cost.
    pub front: Vec<Episode>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyLayers {
    pub schema: u32,
    pub episode: u32,
    pub quality: Option<f64>,
    pub cost: Cost,
    pub layers: Vec<PolicyLayer>,
}

/// One layer of a policy: what it has, costs and loses.
#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyLayer {
    pub name: String,
    pub kind: String,
    pub macs: u64,
    pub weights: u64,
    pub pinned: bool,
    pub weight_bits: u8,
    pub activation_bits: u8,
    pub latency_s: f64,
    pub energy_j: f64,
    pub size_bytes: u64,
    /// Useful share of the array while it computes.
    pub utilization: f64,
    /// compute or memory.
    pub bound: &'static str,
    /// Of the network's cost in the search's objective, 0 to 1.
    pub share: Option<f64>,
    pub why: Option<String>,
    /// KL divergence in nats that its weights alone take at their bits.
    pub weight_kl: Option<f64>,
    pub activation_kl: Option<f64>,
    /// What the next widths would change: predicted, not measured.
    pub changes: Vec<Change>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Change {
    /// weights or activations.
    pub operand: String,
    pub to_bits: u8,
    /// Nats; above 0 where it grows.
    pub predicted_kl_change: Option<f64>,
    /// As a share of the policy's cost in the objective.
    pub predicted_cost_change: f64,
    pub breaks_a_budget: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Comparison {
    pub schema: u32,
    pub searches: Vec<ComparedSearch>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ComparedSearch {
    pub summary: Summary,
    /// By rising cost of the objective.
    pub front: Vec<FrontPoint>,
    /// The best policy; empty while there is none.
    pub layers: Vec<LayerWidths>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct FrontPoint {
    pub episode: u32,
    pub quality: Option<f64>,
    pub cost: Cost,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LayerWidths {
    pub name: String,
    pub weight_bits: u8,
    pub activation_bits: u8,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ProfileList {
    pub schema: u32,
    pub profiles: Vec<ListedProfile>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ListedProfile {
    pub name: String,
    /// built in, file or uploaded.
    pub source: String,
    /// What kind of device; what is wrong with it, where it cannot be read.
    pub description: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ProfileDetail {
    pub schema: u32,
    pub name: String,
    pub source: String,
    pub toml: String,
    pub description: String,
    pub weight_bits: Vec<u8>,
    pub activation_bits: Vec<u8>,
    /// Images at once where a search does not say.
    pub batch: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ModelList {
    pub schema: u32,
    pub models: Vec<ListedModel>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ListedModel {
    /// As a submission names it; `embedded` is what is searched where none is named.
    pub id: String,
    pub name: String,
    pub bytes: u64,
    /// built in, folder or uploaded.
    pub kind: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DataList {
    pub schema: u32,
    pub data: Vec<ListedData>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ListedData {
    /// As a submission names it.
    pub path: String,
    pub name: String,
}

/// A file that was handed in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Uploaded {
    pub schema: u32,
    /// As a submission names it.
    #[schema(example = "sha256:9f86d081884c7d65…")]
    pub id: String,
    pub name: String,
    pub bytes: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// ok, or stopping.
    pub status: &'static str,
    pub version: &'static str,
}
