//! What can go wrong with a database file, in words that say what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::domain::{CostKind, JobId, JobState, RunId, RunState, TuningId, show_cost};

/// Every failure of the store; each names the file or the run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    #[error("{path} is a folder; a database is a file, such as {path}/haq.db")]
    IsFolder { path: PathBuf },

    #[error("{path} is not a regular file; a database needs one")]
    NotAFile { path: PathBuf },

    #[error("{path} does not exist; a search creates it")]
    Missing { path: PathBuf },

    #[error("{path} cannot be created: the folder {folder} does not exist; create it first")]
    NoFolder { path: PathBuf, folder: PathBuf },

    #[error("{path} cannot be created: {folder} is a file, not a folder")]
    FolderIsFile { path: PathBuf, folder: PathBuf },

    #[error(
        "{path}: {what} is read-only; a search writes its runs there, so give it write \
         permission or name a database elsewhere"
    )]
    ReadOnly { path: PathBuf, what: String },

    #[error("{path} was opened for reading only")]
    OpenedForReading { path: PathBuf },

    #[error("{path} cannot be opened: {reason}")]
    CannotOpen { path: PathBuf, reason: String },

    #[error("{path} is not an SQLite database; name another file or move this one away")]
    NotADatabase { path: PathBuf },

    #[error(
        "{path} is an SQLite database of another program, not of haq; name another file for the runs"
    )]
    ForeignDatabase { path: PathBuf },

    #[error(
        "{path} is damaged ({detail}); restore a backup, or save what is left with \
         `sqlite3 {path} .recover | sqlite3 recovered.db`"
    )]
    Corrupt { path: PathBuf, detail: String },

    #[error(
        "{path}: the disk is full; what was written before is safe, free some space and resume"
    )]
    DiskFull { path: PathBuf },

    #[error("{path}: the disk reports an error ({detail}); check its health and free space")]
    InputOutput { path: PathBuf, detail: String },

    #[error(
        "{path} has been locked by another process for more than a minute; end that process or \
         name another file"
    )]
    Busy { path: PathBuf },

    #[error(
        "{path} has schema {found}, this haq knows up to {supported}; use the newer haq that \
         wrote it, or name another file"
    )]
    NewerSchema { path: PathBuf, found: i64, supported: i64 },

    #[error(
        "{path} has schema {found}, this haq reads {supported}; open it once with a command that \
         writes, which upgrades it and keeps a backup"
    )]
    OlderSchema { path: PathBuf, found: i64, supported: i64 },

    #[error(
        "{path}: step {version} of its schema is not the one of this haq; the file comes from \
         an unreleased build, so use that build or name another file"
    )]
    UnknownSchema { path: PathBuf, version: i64 },

    #[error("{path} was not upgraded: its backup {backup} could not be written: {reason}")]
    Backup { path: PathBuf, backup: PathBuf, reason: String },

    #[error("{backup} exists already; name another file, or replace it with --force")]
    BackupExists { backup: PathBuf },

    #[error("{path} cannot be its own backup; name another file")]
    BackupOfItself { path: PathBuf },

    #[error(
        "{backup} cannot be written: {log} beside it says that a database of this name is in use, or \
         was not closed; name another file"
    )]
    BackupInUse { backup: PathBuf, log: PathBuf },

    #[error("{path} was not copied to {backup}: {reason}")]
    BackupFailed { path: PathBuf, backup: PathBuf, reason: String },

    #[error(
        "{path} was left as it is: {needed} are needed in {folder}, where {free} are free; {advice}",
        needed = show_bytes(*needed_bytes),
        free = show_bytes(*free_bytes)
    )]
    NoSpace {
        path: PathBuf,
        folder: PathBuf,
        needed_bytes: u64,
        free_bytes: u64,
        advice: &'static str,
    },

    #[error("there is no run {run} in {path}; `haq runs list` shows those there are")]
    UnknownRun { path: PathBuf, run: RunId },

    #[error("run {run} has no episode {episode}; it has {episodes}, counted from 0")]
    UnknownEpisode { run: RunId, episode: u32, episodes: u32 },

    #[error(
        "run {run} is being worked on by process {process_id} on {host}, last heard of \
         {heartbeat_age_s} s ago; end that process first, or wait until it has been silent for {} s",
        super::LEASE.as_secs()
    )]
    StillRunning { run: RunId, host: String, process_id: u32, heartbeat_age_s: u64 },

    #[error("run {run} is {state}; only an interrupted or failed run can go on")]
    CannotGoOn { run: RunId, state: RunState },

    #[error(
        "run {run} is no longer this process's: it was taken over, ended or deleted by another; \
         nothing was written"
    )]
    ClaimLost { run: RunId },

    #[error("run {run}: episode {found} was committed where {expected} is next")]
    OutOfOrder { run: RunId, expected: u32, found: u32 },

    #[error("there is no tuning {tuning} in {path}; haq finetune makes one")]
    UnknownTuning { path: PathBuf, tuning: TuningId },

    #[error(
        "tuning {tuning} is being worked on by process {process_id}; end that process first, or \
         wait until it has been silent for {} s",
        super::LEASE.as_secs()
    )]
    TuningBusy { tuning: TuningId, process_id: u32 },

    #[error("tuning {tuning} is completed; there is nothing left to do")]
    TuningCompleted { tuning: TuningId },

    #[error(
        "tuning {tuning} is no longer this process's: it was taken over or deleted by another; \
         nothing was written"
    )]
    TuningLost { tuning: TuningId },

    #[error("there is no job {job} in {path}: no search of this number was handed to the service")]
    UnknownJob { path: PathBuf, job: JobId },

    #[error("search {job} is {state}; there is nothing left to stop")]
    JobEnded { job: JobId, state: JobState },

    #[error("search {job} is {state}; only a paused, cancelled or failed search can go on")]
    JobCannotResume { job: JobId, state: JobState },

    #[error("search {job} is running; cancel it first")]
    JobRunning { job: JobId },

    #[error("job {job} was given to another process meanwhile; nothing was written")]
    JobLost { job: JobId },

    #[error(
        "this submission key was used for search {job}, which asked for something else; use a new \
         key for a new search"
    )]
    SubmissionKeyUsed { job: JobId },

    #[error("there is a token named {name:?} already; revoke it first, or choose another name")]
    TokenExists { name: String },

    #[error("there is no token named {name:?}; `haq token list` shows those there are")]
    UnknownToken { name: String },

    #[error("{path}: {source}")]
    Database { path: PathBuf, source: sqlx::Error },
}

impl StoreError {
    /// Whether the database could not be written for want of space or permission: what was
    /// asked may well be done later.
    pub fn is_storage_trouble(&self) -> bool {
        matches!(
            self,
            Self::DiskFull { .. }
                | Self::InputOutput { .. }
                | Self::ReadOnly { .. }
                | Self::Busy { .. }
                | Self::CannotOpen { .. }
        )
    }

    /// Names what SQLite means, by its result codes (<https://sqlite.org/rescode.html>).
    pub(super) fn from_sqlite(path: &Path, error: sqlx::Error) -> Self {
        let path = path.to_owned();
        if matches!(error, sqlx::Error::PoolTimedOut) {
            return Self::Busy { path };
        }
        let Some((code, message)) = sqlite_code(&error) else {
            return Self::Database { path, source: error };
        };
        match code & 0xff {
            // SQLITE_IOERR_SHMSIZE: no room for the lock file beside the database.
            _ if code == 4874 => Self::DiskFull { path },
            5 | 6 => Self::Busy { path },
            8 => Self::ReadOnly { path, what: "the file or its folder".into() },
            10 => Self::InputOutput { path, detail: format!("{message}, code {code}") },
            11 => Self::Corrupt { path, detail: message },
            13 => Self::DiskFull { path },
            14 => Self::CannotOpen {
                path,
                reason: "SQLite could not open it or the -wal and -shm files beside it; the \
                         folder may not be writable"
                    .into(),
            },
            26 => Self::NotADatabase { path },
            _ => Self::Database { path, source: error },
        }
    }

    /// `what` is the file or folder that `error` is about.
    pub(super) fn from_io(path: &Path, what: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::ReadOnly { path, what: what.display().to_string() }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::CannotOpen { path, reason: error.to_string() },
        }
    }
}

fn show_bytes(size_bytes: u64) -> String {
    show_cost(CostKind::Size, size_bytes as f64)
}

/// Says which file a result of SQLite is about.
pub(super) trait At<T> {
    fn at(self, path: &Path) -> Result<T, StoreError>;
}

impl<T> At<T> for Result<T, sqlx::Error> {
    fn at(self, path: &Path) -> Result<T, StoreError> {
        self.map_err(|error| StoreError::from_sqlite(path, error))
    }
}

/// Whether another connection holds the lock that was asked for.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(sqlite_code(error), Some((code, _)) if matches!(code & 0xff, 5 | 6))
}

/// The extended result code and SQLite's own words.
fn sqlite_code(error: &sqlx::Error) -> Option<(i32, String)> {
    let error = error.as_database_error()?;
    Some((error.code()?.parse().ok()?, error.message().to_owned()))
}
