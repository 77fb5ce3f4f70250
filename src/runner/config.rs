//! What is stored with a run beside its description: enough to go on with it, and to cost any
//! policy again without the model file.

use haq_simulator::Workload;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{RunDescription, RunId},
    runner::RunnerError,
    search::{JointCost, LayerChoices, SearchRequest},
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

    /// What policies cost on the devices of the run.
    ///
    /// # Errors
    /// When a stored profile or the workload is refused.
    pub fn cost(&self, run: RunId) -> Result<JointCost, RunnerError> {
        let settings = |reason: String| RunnerError::Settings { run, reason };
        let profiles = self.request.profiles().map_err(|error| settings(error.to_string()))?;
        let SearchRequest { method, batch, .. } = &self.request;
        JointCost::new(method, &profiles, &self.workload, *batch)
            .map_err(|error| settings(error.to_string()))
    }
}
