//! Why a run cannot start, go on or be kept.

use crate::{
    data::DataError,
    quantization::QuantizationError,
    search::{ModelError, SearchError},
    store::StoreError,
};

#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    #[error("there is no hardware profile {name:?}; give a file or one of {known}")]
    NoProfile { name: String, known: String },
    #[error("{path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Quantization(#[from] QuantizationError),
    #[error(transparent)]
    Search(#[from] SearchError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("run {run} cannot go on: {what} changed since it started (was {was}, is {is})")]
    Changed { run: i64, what: &'static str, was: String, is: String },
    #[error("run {run} cannot go on: its stored settings cannot be read: {reason}")]
    Settings { run: i64, reason: String },
    #[error("tuning {tuning} cannot go on: {what} changed since it started (was {was}, is {is})")]
    TuningChanged { tuning: i64, what: &'static str, was: String, is: String },
    #[error("tuning {tuning} cannot go on: its stored settings cannot be read: {reason}")]
    TuningSettings { tuning: i64, reason: String },
    #[error("the network leaves its input's size open and nothing says what it is; give {remedy}")]
    OpenInput { remedy: &'static str },
    #[error(
        "--episode-finetune trains each policy by the seed, so that seeds share nothing; leave out \
         --repeats and search once for each seed"
    )]
    ContestTrains,
    #[error("run {run} has no policy that meets its budgets; name an episode: --episode N")]
    NoPolicy { run: i64 },
    #[error("the file could not be verified: {reason}")]
    Verify { reason: String },
    #[error(transparent)]
    Export(#[from] crate::export::ExportError),
    #[error("{0}")]
    Pins(String),
    /// Whoever judges elsewhere cannot be reached or given work.
    #[error("the fleet: {0}")]
    Fleet(String),
}

impl RunnerError {
    /// Whether what was asked may well be done later, once there is space on the disk.
    pub fn is_storage_trouble(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_storage_trouble())
    }
}
