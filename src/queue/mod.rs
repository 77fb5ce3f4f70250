//! Who works on what next: the contracts of queues, without saying what the work is.
//!
//! [`JobQueue`] hands out whole searches; the local one is a table in `store`.

#[cfg(test)]
pub(crate) mod contract;
mod jobs;

pub use jobs::{JobQueue, LeasedJob, Submitted};
