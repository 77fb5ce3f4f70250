//! The contract of a queue of searches.

use std::{fmt::Debug, future::Future};

use crate::domain::{JobEnding, JobId, JobState, JobTicket, NewJob, StopWish};

/// What handing in a job gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    pub job: JobId,
    pub state: JobState,
    /// False where the same job had been handed in before, under the same key.
    pub is_new: bool,
}

/// A job that is now ours to work on.
#[derive(Debug, Clone, PartialEq)]
pub struct LeasedJob {
    pub ticket: JobTicket,
    pub submitter: String,
    /// As it was handed in.
    pub request: serde_json::Value,
}

/// Hands each job to one worker at a time.
///
/// - A job that is leased has a fence; each lease has a higher one than all before. Only the holder
///   of the highest may extend or settle it.
/// - A lease ends when it is settled, or when its holder is gone: the job is then handed out again.
/// - Who hands in many jobs does not hold up others: of all that wait, the next one is of whoever
///   has fewest running, then of whoever was served longest ago.
/// - Nothing that was handed in is lost: [`JobQueue::submit`] answers once the job is kept.
/// - A job whose worker is killed over and over without getting further is set aside as failed.
pub trait JobQueue {
    type Error: Debug + Send;

    /// Keeps a job. A second one of the same submitter with the same key is the first one again.
    ///
    /// # Errors
    /// When the key was used for another request, or the queue cannot keep it.
    fn submit(&self, job: &NewJob) -> impl Future<Output = Result<Submitted, Self::Error>> + Send;

    /// The next job, for this process; none where none waits.
    fn lease(&self) -> impl Future<Output = Result<Option<LeasedJob>, Self::Error>> + Send;

    /// Says that the holder is alive. False: the job is another's by now, and work on it has to end.
    fn extend(&self, ticket: JobTicket) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// What somebody wants of a job that is leased.
    fn wish(
        &self,
        ticket: JobTicket,
    ) -> impl Future<Output = Result<Option<StopWish>, Self::Error>> + Send;

    /// Ends the lease, and says where the job then stands; none where it was another's by now.
    ///
    /// - `crash_limit`: after so many crashes in a row without an episode between them, the job fails
    fn settle(
        &self,
        ticket: JobTicket,
        ending: &JobEnding,
        crash_limit: u32,
    ) -> impl Future<Output = Result<Option<JobState>, Self::Error>> + Send;

    /// Wants a job paused or cancelled: at once where it waits, after the episode in flight where
    /// it runs. Gives where it stands now.
    ///
    /// # Errors
    /// When there is no such job, or it has ended.
    fn stop(
        &self,
        job: JobId,
        wish: StopWish,
    ) -> impl Future<Output = Result<JobState, Self::Error>> + Send;

    /// Queues a job again that was paused or cancelled or that failed; it goes on where it was.
    ///
    /// # Errors
    /// When there is no such job, or it is completed.
    fn resume(&self, job: JobId) -> impl Future<Output = Result<JobState, Self::Error>> + Send;
}
