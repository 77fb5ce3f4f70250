//! Who is there to work.

use std::{future::Future, time::Duration};

use serde::{Deserialize, Serialize};

/// Silence after which a worker is no longer listed.
pub const WORKER_SILENCE: Duration = Duration::from_secs(60);

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerCard {
    /// Of one process, unlike all others; letters, digits, hyphens and underscores.
    pub name: String,
    pub host: String,
    /// As the machine calls it, such as `NVIDIA H100` or a processor's name.
    pub device: String,
    /// What it takes tasks for.
    pub device_class: String,
    pub libtorch_version: String,
    pub haq_version: String,
    pub started_unix_ms: i64,
    pub tasks_done: u64,
    /// Answers a minute, over the last ten.
    #[serde(default)]
    pub tasks_per_min: f64,
    /// What it fetched of networks and images since it started.
    #[serde(default)]
    pub bytes_fetched: u64,
    /// What it works on now.
    pub task: Option<String>,
}

/// Knows the workers that said a word within [`WORKER_SILENCE`].
pub trait WorkerRegistry: Send + Sync {
    type Error: std::error::Error + Send + Sync + 'static;

    /// Says that a worker is there and what it does; to be said again well within
    /// [`WORKER_SILENCE`].
    fn report(&self, card: &WorkerCard) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Says that a worker goes.
    fn leave(&self, name: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// All that are there, by name.
    fn workers(&self) -> impl Future<Output = Result<Vec<WorkerCard>, Self::Error>> + Send;
}
