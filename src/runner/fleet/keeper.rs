//! A fleet as whoever looks after it sees it, whatever its queue is.

use futures_util::{FutureExt as _, future::BoxFuture};
use serde::Serialize;

use super::error::FleetError;
use crate::queue::{DeadLetter, EvalQueue, QueueDepth, WorkerCard, WorkerRegistry};

/// How a fleet stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FleetState {
    pub tasks: QueueDepth,
    /// By name.
    pub workers: Vec<WorkerCard>,
    /// Set aside after too many tries, the oldest first.
    pub dead_letters: Vec<DeadLetter>,
}

impl FleetState {
    /// Answers a minute of all workers, over the last ten.
    pub fn tasks_per_min(&self) -> f64 {
        self.workers.iter().map(|worker| worker.tasks_per_min).sum()
    }

    /// What the workers that are there fetched of networks and images.
    pub fn bytes_fetched(&self) -> u64 {
        self.workers.iter().map(|worker| worker.bytes_fetched).sum()
    }
}

/// Looks after a fleet.
pub trait FleetKeeper: Send + Sync {
    /// # Errors
    /// When the queue does not answer.
    fn state(&self) -> BoxFuture<'_, Result<FleetState, FleetError>>;

    /// Hands out again what was set aside; how many tasks.
    ///
    /// - `names`: beginnings of the tasks' names; all where there is none
    ///
    /// # Errors
    /// When nothing of a name was set aside, or the queue does not answer.
    fn retry<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<u64, FleetError>>;

    /// Forgets what was set aside; otherwise as [`FleetKeeper::retry`].
    fn discard<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<u64, FleetError>>;
}

impl<Q: EvalQueue + WorkerRegistry> FleetKeeper for Q {
    fn state(&self) -> BoxFuture<'_, Result<FleetState, FleetError>> {
        async {
            Ok(FleetState {
                tasks: self.depth().await.map_err(FleetError::queue)?,
                workers: self.workers().await.map_err(FleetError::queue)?,
                dead_letters: self.dead_letters().await.map_err(FleetError::queue)?,
            })
        }
        .boxed()
    }

    fn retry<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<u64, FleetError>> {
        async {
            let mut n_done = 0;
            for letter in named(self, names).await? {
                let retried = EvalQueue::retry(self, &letter.task).await;
                n_done += u64::from(retried.map_err(FleetError::queue)?);
            }
            Ok(n_done)
        }
        .boxed()
    }

    fn discard<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<u64, FleetError>> {
        async {
            let mut n_done = 0;
            for letter in named(self, names).await? {
                let discarded = EvalQueue::discard(self, &letter.task).await;
                n_done += u64::from(discarded.map_err(FleetError::queue)?);
            }
            Ok(n_done)
        }
        .boxed()
    }
}

async fn named<Q: EvalQueue>(queue: &Q, names: &[String]) -> Result<Vec<DeadLetter>, FleetError> {
    let mut letters = queue.dead_letters().await.map_err(FleetError::queue)?;
    let unknown = |name: &&String| letters.iter().all(|l| !l.task.id.starts_with(name.as_str()));
    if let Some(name) = names.iter().find(unknown) {
        return Err(FleetError::NoSuchLetter { name: name.clone() });
    }
    if !names.is_empty() {
        letters.retain(|letter| names.iter().any(|name| letter.task.id.starts_with(name)));
    }
    Ok(letters)
}
