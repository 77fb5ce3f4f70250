//! What searches found: episodes, points for plots, fronts, layers, comparisons.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Cost, Summary};
use crate::domain::{CostKind, EpisodeRecord, Measure};

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Episode {
    pub index: u32,
    /// Which of the search's proposals it judges, from 0; they may be judged in another order. None
    /// for references.
    pub proposal_index: Option<u32>,
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
    /// The worker of a fleet that judged it; none where the search did.
    pub worker: Option<String>,
    /// What that worker judged on.
    pub device: Option<String>,
    /// Seconds that the worker took.
    pub evaluation_s: Option<f64>,
}

impl Episode {
    pub fn new(record: &EpisodeRecord, measure: Measure) -> Self {
        let bits = record.policy.layers().iter();
        let by = record.judged_by.as_ref();
        Self {
            index: record.index,
            proposal_index: record.proposal_index,
            kind: record.kind.word().into(),
            policy: bits.map(|bits| [bits.weight.get(), bits.activation.get()]).collect(),
            quality: measure.of(&record.quality).filter(|quality| quality.is_finite()),
            cost: record.cost.into(),
            reward: Some(record.reward).filter(|reward| reward.is_finite()),
            stopped_after_images: record.stopped_after_images,
            from_cache: record.from_cache,
            wall_s: record.wall_s,
            worker: by.map(|by| by.worker.clone()),
            device: by.map(|by| by.device.clone()),
            evaluation_s: by.map(|by| by.evaluation_s),
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
