//! Who works on what next: the contracts of queues, without saying what the work is.
//!
//! [`JobQueue`] hands out whole searches, [`EvalQueue`] single evaluations; [`WorkerRegistry`]
//! knows who takes them. The local ones are tables in `store`; [`JetStreamQueue`] is for many
//! machines. A [`Blob`] is what they need besides.

mod blobs;
#[cfg(test)]
pub(crate) mod contract;
#[cfg(test)]
pub(crate) mod evaluation_contract;
mod evaluations;
mod jetstream;
mod jobs;
mod workers;

pub use blobs::{
    Blob, BlobBucket, BlobCache, BlobError, BlobFolder, BlobPlace, BlobStore, CachedBlob, Cleaned,
    KeptPart, PART_BYTES,
};
pub use evaluations::{
    ATTEMPTS_MAX, Answer, ArrivedAnswer, DeadLetter, EvalQueue, LeasedTask, QueueDepth, TASK_LEASE,
    Task,
};
pub use jetstream::{Connection, JetStreamQueue, JetStreamReceipt, JetStreamTicket, QueueError};
pub use jobs::{JobQueue, LeasedJob, Submitted};
pub use workers::{WORKER_SILENCE, WorkerCard, WorkerRegistry};
