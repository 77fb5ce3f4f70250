//! Why a search cannot start or go on.

use crate::{domain::Budget, quantization::QuantizationError};

#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error(
        "{budget} cannot be reached on {profile}: the cheapest policy allowed needs {smallest}{hint}"
    )]
    BudgetNotReachable { budget: Budget, profile: String, smallest: String, hint: String },
    /// Options that do not go together.
    #[error("{0}")]
    Request(String),
    #[error("{0}")]
    Space(String),
    #[error("nothing to choose: {0}")]
    NothingToChoose(String),
    #[error(transparent)]
    Quantization(#[from] QuantizationError),
    #[error("the cost model: {0}")]
    Cost(String),
    #[error("the agent: {0}")]
    Agent(String),
    #[error("the integer programme: {0}")]
    Programme(String),
    #[error("the run cannot go on from what is stored: {0}")]
    Resume(String),
    /// Whoever judges was asked to stop; what was found before is kept.
    #[error("the search was stopped")]
    Stopped,
    /// Whoever judges elsewhere could not.
    #[error("the fleet: {0}")]
    Fleet(String),
    /// Whoever listens could not keep an episode; the search stops rather than lose it.
    #[error("episode {episode} could not be kept: {reason}")]
    NotKept { episode: u32, reason: String },
}

impl From<haq_agent::ConfigError> for SearchError {
    fn from(error: haq_agent::ConfigError) -> Self {
        Self::Agent(error.to_string())
    }
}

impl From<haq_agent::LearnError> for SearchError {
    fn from(error: haq_agent::LearnError) -> Self {
        Self::Agent(error.to_string())
    }
}

impl From<haq_agent::CheckpointError> for SearchError {
    fn from(error: haq_agent::CheckpointError) -> Self {
        Self::Resume(error.to_string())
    }
}
