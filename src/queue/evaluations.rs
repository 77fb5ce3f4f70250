//! The contract of a queue of evaluations: what is to be judged, by whichever worker is free.

use std::{fmt::Debug, future::Future, time::Duration};

use serde::{Deserialize, Serialize};

/// Times a task is handed out before it is set aside: what kills every worker must not meet all.
pub const ATTEMPTS_MAX: u32 = 4;

/// How long a worker may be silent before its task is another's.
pub const TASK_LEASE: Duration = Duration::from_secs(30);

/// One evaluation to be made, for one search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Digest of all that the answer depends on, hexadecimal: equal tasks have equal answers.
    pub id: String,
    /// The search that waits for the answer; letters, digits and hyphens.
    pub search: String,
    /// What kind of device has to do it; letters, digits and hyphens. Figures of unlike devices
    /// differ in their last digits.
    pub device_class: String,
    /// What is to be evaluated, in the worker's own words.
    pub payload: serde_json::Value,
}

/// A task that is now ours to work on.
#[derive(Debug, Clone, PartialEq)]
pub struct LeasedTask<T> {
    pub task: Task,
    /// Shown again to extend, complete or fail it.
    pub ticket: T,
    /// Which handing out this is, from 1.
    pub attempt: u32,
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub task: String,
    /// The handing out that it was given for.
    pub attempt: u32,
    /// Name of the worker.
    pub worker: String,
    /// What was found, in the worker's own words.
    pub payload: serde_json::Value,
}

/// An answer that waits to be taken.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrivedAnswer<R> {
    pub answer: Answer,
    /// Shown again to take it off the queue.
    pub receipt: R,
}

/// A task that was handed out [`ATTEMPTS_MAX`] times without an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadLetter {
    pub task: Task,
    pub attempts: u32,
    /// What the last worker said that gave it back; none where all of them went silent.
    pub reason: Option<String>,
}

/// How many tasks stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct QueueDepth {
    pub waiting: u64,
    pub leased: u64,
    /// Answers nobody took yet.
    pub answers: u64,
    pub dead_letters: u64,
    /// Times a task was handed out again, since the queue was made.
    pub redelivered: u64,
}

/// Hands each task to one worker at a time, and each answer to the search that waits for it.
///
/// - A lease ends when its task is completed or failed, or when its holder is silent for
///   [`TASK_LEASE`]; the task is then handed out again, at most [`ATTEMPTS_MAX`] times in all.
/// - Nothing is lost while the queue keeps its disk: [`EvalQueue::publish`] and
///   [`EvalQueue::complete`] answer once it is kept. A queue that lost its disk is empty, and who
///   waits for an answer publishes again what [`EvalQueue::is_kept`] does not know.
/// - A holder that lost its lease may still complete: equal tasks have equal answers, and the first
///   one counts. A second answer is not handed out as long as the queue remembers the first.
pub trait EvalQueue: Send + Sync {
    type Error: std::error::Error + Send + Sync + 'static;
    type Ticket: Clone + Debug + Send + Sync + 'static;
    type Receipt: Clone + Debug + Send + Sync + 'static;

    /// Keeps a task; false where one with this id is kept for this search already.
    fn publish(&self, task: &Task) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Keeps many tasks, faster than one after another; how many of them were not kept already.
    /// After an error some are kept.
    fn publish_all(&self, tasks: &[Task]) -> impl Future<Output = Result<u64, Self::Error>> + Send {
        async move {
            let mut n_added = 0;
            for task in tasks {
                n_added += u64::from(self.publish(task).await?);
            }
            Ok(n_added)
        }
    }

    /// The task that has waited longest; none where none came within `patience`.
    fn lease(
        &self,
        device_class: &str,
        worker: &str,
        patience: Duration,
    ) -> impl Future<Output = Result<Option<LeasedTask<Self::Ticket>>, Self::Error>> + Send;

    /// Says that the holder is alive. False: the lease was lost; the task is or will be another's.
    fn extend(
        &self,
        ticket: &Self::Ticket,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Keeps the answer and ends the lease. False where there was an answer already.
    fn complete(
        &self,
        ticket: &Self::Ticket,
        answer: &Answer,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Gives a task back: at once to another worker, or to the dead letters where it was handed
    /// out too often.
    ///
    /// - `reason`: what was wrong
    fn fail(
        &self,
        ticket: &Self::Ticket,
        reason: &str,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Answers for a search in the order of their arrival; waits up to `patience` for the first.
    /// Those that are not taken are handed out again, at the latest after a restart.
    fn answers(
        &self,
        search: &str,
        patience: Duration,
    ) -> impl Future<Output = Result<Vec<ArrivedAnswer<Self::Receipt>>, Self::Error>> + Send;

    /// Takes an answer off the queue, once it is kept elsewhere.
    fn take(&self, receipt: &Self::Receipt)
    -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Takes many answers off the queue, faster than one after another.
    fn take_all(
        &self,
        receipts: &[Self::Receipt],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        async move {
            for receipt in receipts {
                self.take(receipt).await?;
            }
            Ok(())
        }
    }

    /// Whether a task waits, is leased or dead, or its answer waits.
    fn is_kept(&self, task: &Task) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Takes back all tasks of a search, whoever works on them, and its answers.
    fn withdraw(&self, search: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Of all searches, oldest first.
    fn dead_letters(&self) -> impl Future<Output = Result<Vec<DeadLetter>, Self::Error>> + Send;

    /// Hands a dead letter out again, from its first attempt; false where there is none.
    fn retry(&self, task: &Task) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Forgets a dead letter; false where there is none.
    fn discard(&self, task: &Task) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    fn depth(&self) -> impl Future<Output = Result<QueueDepth, Self::Error>> + Send;
}
