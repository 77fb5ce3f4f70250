//! Who works on what next: the contracts of queues, without saying what the work is.
//!
//! [`JobQueue`] hands out whole searches, [`EvalQueue`] single evaluations; the local ones are
//! tables in `store`.

#[cfg(test)]
pub(crate) mod contract;
mod evaluations;
mod jobs;

pub use evaluations::{
    ATTEMPTS_MAX, Answer, ArrivedAnswer, DeadLetter, EvalQueue, LeasedTask, QueueDepth, TASK_LEASE,
    Task,
};
pub use jobs::{JobQueue, LeasedJob, Submitted};
