//! Why a fleet cannot be used.

use super::testbed::TestbedError;

#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    #[error(transparent)]
    Queue(Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Runner(#[from] crate::runner::RunnerError),
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    #[error(
        "{reason}; the process ends, for what computes cannot be stopped otherwise: whatever started \
         this worker should start it again"
    )]
    Stuck { reason: String },
    #[error(
        "policy {policy} was handed out {attempts} times and never answered ({reason}); hand it out again \
         with `haq fleet retry` and go on with `haq resume`"
    )]
    DeadLetter { policy: String, attempts: u32, reason: String },
    #[error(
        "model or images are not what they were when the search began; put them back, and go on with \
         `haq resume`"
    )]
    FilesChanged,
    #[error("{name}: no task of this name was set aside; haq fleet lists those that were")]
    NoSuchLetter { name: String },
    #[error(
        "task {task} was answered, and the queue did not take the answer within {waited_s} s: its lease ends, \
         and another worker gets it"
    )]
    AnswerNotTaken { task: String, waited_s: u64 },
    #[error("the search was stopped while it waited for the fleet")]
    Stopped,
    #[error("worker {worker} answered what cannot be used: {reason}")]
    Answer { worker: String, reason: String },
}

impl FleetError {
    pub fn queue(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Queue(Box::new(error))
    }
}
