//! A search as the service keeps it: handed in, waiting, running, ended.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::domain::{BudgetRequest, Measure, RunId, Strategy};

/// The number of a job: that of the run it becomes.
pub type JobId = RunId;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    Queued,
    Running,
    /// Stopped by somebody, to go on when somebody says so.
    Paused,
    /// Done; never changes.
    Completed,
    Failed,
    Cancelled,
}

impl JobState {
    pub const ALL: [JobState; 6] = [
        JobState::Queued,
        JobState::Running,
        JobState::Paused,
        JobState::Completed,
        JobState::Failed,
        JobState::Cancelled,
    ];

    pub const fn word(self) -> &'static str {
        match self {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Paused => "paused",
            JobState::Completed => "completed",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
        }
    }

    /// Whether it waits or works: it will go on without anybody's doing.
    pub const fn is_open(self) -> bool {
        matches!(self, JobState::Queued | JobState::Running)
    }

    /// Whether somebody may send it on again.
    pub const fn can_resume(self) -> bool {
        matches!(self, JobState::Paused | JobState::Failed | JobState::Cancelled)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for JobState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        JobState::ALL.into_iter().find(|state| state.word() == text).ok_or_else(|| {
            let words: Vec<&str> = JobState::ALL.into_iter().map(JobState::word).collect();
            format!("{text:?} is not a state; {} are", words.join(", "))
        })
    }
}

/// What somebody wants of a job that is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopWish {
    Pause,
    Cancel,
}

impl StopWish {
    pub const ALL: [StopWish; 2] = [StopWish::Pause, StopWish::Cancel];

    /// What the job becomes.
    pub const fn state(self) -> JobState {
        match self {
            StopWish::Pause => JobState::Paused,
            StopWish::Cancel => JobState::Cancelled,
        }
    }
}

/// A search to be queued.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Who hands it in.
    pub submitter: String,
    /// All that the search needs to start, as the search wrote it.
    pub request: serde_json::Value,
    /// Chosen by the client: a second job with the same key is the first one.
    pub submission_key: Option<String>,
    /// What lists show before there is a run.
    pub model: String,
    pub data: String,
    pub profile: String,
    pub strategy: Strategy,
    pub measure: Measure,
    pub seed: u64,
    pub episodes_planned: u32,
    pub budget_requests: Vec<BudgetRequest>,
    pub tags: Vec<String>,
    pub note: Option<String>,
}

/// The right to work on a job. Whoever took the job over since has a higher fence, and an older
/// ticket then writes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobTicket {
    pub job: JobId,
    pub fence: i64,
}

/// How working on a job ended.
#[derive(Debug, Clone, PartialEq)]
pub enum JobEnding {
    Completed,
    /// It cannot be done, and why.
    Failed(String),
    /// Everything so far is kept: as somebody wished, else to go on later.
    Stopped,
    /// The process that worked on it was killed.
    Crashed(String),
    /// Something it needs was missing, such as space on the disk; to be tried again later.
    Postponed {
        reason: String,
        delay_ms: u64,
    },
}
