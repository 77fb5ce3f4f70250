//! What is stored with a run beside its description: enough to go on with it, and to cost any
//! policy again without the model file.

use haq_simulator::{CostModel, HardwareProfile, Workload};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{RunDescription, RunId},
    runner::RunnerError,
    search::{LayerChoices, SearchRequest, cost_model},
};

/// The `config` of a stored run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    pub request: SearchRequest,
    pub workload: Workload,
    /// Images in each split.
    pub images: ImageCounts,
    /// SHA-256 over the images and labels of all splits, hexadecimal.
    pub data_digest: String,
    /// What the search may choose in each layer; empty in runs from before it was kept.
    #[serde(default)]
    pub choices: Vec<LayerChoices>,
    /// Of the program that began it; empty in runs from before it was kept.
    #[serde(default)]
    pub haq_version: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageCounts {
    pub calibration: usize,
    pub search: usize,
    pub test: usize,
}

impl RunConfig {
    /// # Errors
    /// When the run was stored in a form that this program does not read.
    pub fn of(run: RunId, description: &RunDescription) -> Result<Self, RunnerError> {
        serde_json::from_value(description.config.clone())
            .map_err(|error| RunnerError::Settings { run, reason: error.to_string() })
    }

    /// The cost model the run used.
    ///
    /// # Errors
    /// When the stored profile or workload is refused.
    pub fn cost_model(&self, run: RunId, batch: u64) -> Result<CostModel, RunnerError> {
        let settings = |reason: String| RunnerError::Settings { run, reason };
        let origin = &self.request.profile_origin;
        let profile = HardwareProfile::parse(&self.request.profile_toml, origin)
            .map_err(|error| settings(error.to_string()))?;
        cost_model(&self.request.method, &profile, &self.workload, batch)
            .map_err(|error| settings(error.to_string()))
    }
}
