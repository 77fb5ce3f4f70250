//! What training a quantized network was about, and how it went.

use serde::{Deserialize, Serialize};

use crate::domain::{BitwidthPolicy, Measure, Quality, RunId, RunState};

/// Number of a tuning in its database.
pub type TuningId = i64;

/// What a tuning is about; fixed when it starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TuningDescription {
    /// The run whose policy it is, if one's.
    pub run: Option<RunId>,
    /// File name or `embedded`.
    pub model: String,
    /// SHA-256 of the model's bytes, hexadecimal.
    pub model_digest: String,
    /// Path or `embedded`.
    pub data: String,
    /// SHA-256 over training, search and test images, hexadecimal.
    pub data_digest: String,
    pub policy: BitwidthPolicy,
    /// What the best epoch is best in.
    pub measure: Measure,
    pub seed: u64,
    pub epochs_planned: u32,
    /// The float network on the search split.
    pub float_search: Quality,
    /// Everything else needed to start the same tuning again.
    pub config: serde_json::Value,
}

/// One epoch, judged. Never changes once written.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TuningEpoch {
    /// 0 is the post-training start.
    pub epoch: u32,
    /// Mean over the steps, nats; none for the start.
    pub training_loss: Option<f64>,
    /// Of the epoch's first step; none for the start.
    pub learning_rate: Option<f64>,
    /// On the search split.
    pub quality: Quality,
    pub wall_s: f64,
}

/// Three networks on the test split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TuningTest {
    pub float: Quality,
    /// Post-training quantization at the same bits.
    pub start: Quality,
    pub tuned: Quality,
}

/// Everything that is known of a tuning but its tensors.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TuningRecord {
    pub id: TuningId,
    /// UTC, as RFC 3339 with milliseconds.
    pub created_at: String,
    pub state: RunState,
    /// Why it failed, when it did.
    pub error: Option<String>,
    pub description: TuningDescription,
    /// The start and every finished epoch, in order.
    pub epochs: Vec<TuningEpoch>,
    /// The epoch whose network is kept: the best, or the start while none is done.
    pub best_epoch: Option<u32>,
    /// Once it completed.
    pub test: Option<TuningTest>,
    /// Seconds of work, summed over interruptions.
    pub wall_s: f64,
}
