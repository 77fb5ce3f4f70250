//! This program, started for one answer: what reads foreign files or computes for long does so in
//! a process of its own, with a limit on its time.

use std::{ffi::OsString, process::Stdio, time::Duration};

use axum::http::StatusCode;
use tokio::{io::AsyncReadExt as _, process::Command, time::timeout};

use crate::service::{problem::Problem, state::App};

/// How a helper ended within its time.
#[derive(Debug)]
pub enum Helped {
    Done {
        stdout: Vec<u8>,
    },
    /// What it said was wrong.
    Refused {
        reason: String,
    },
}

/// Bytes of an answer that are read at most.
const ANSWER_BYTES_MAX: u64 = 32 << 20;

/// Runs the program with these arguments; none where it took longer than `limit`.
///
/// # Errors
/// 503 where too many wait already or it cannot be started.
pub async fn run(
    app: &App,
    arguments: Vec<OsString>,
    limit: Duration,
) -> Result<Option<Helped>, Problem> {
    let busy = || {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the service is busy; try again in a moment")
            .retry_after(5)
    };
    let _permit = timeout(limit, app.helpers.acquire())
        .await
        .map_err(|_| busy())?
        .map_err(Problem::internal)?;
    let mut child = Command::new(&app.program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            tracing::error!(%error, "a helper could not be started");
            busy()
        })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let answer = async {
        let out = async {
            match stdout {
                Some(pipe) => pipe.take(ANSWER_BYTES_MAX).read_to_end(&mut said).await,
                None => Ok(0),
            }
        };
        let complaints = async {
            match stderr {
                Some(pipe) => pipe.take(1 << 20).read_to_end(&mut complained).await,
                None => Ok(0),
            }
        };
        let (out, complaints) = tokio::join!(out, complaints);
        out.and(complaints)?;
        child.wait().await
    };
    let Ok(status) = timeout(limit, answer).await else { return Ok(None) };
    let status = status.map_err(Problem::internal)?;
    if status.success() {
        return Ok(Some(Helped::Done { stdout: said }));
    }
    let complained = String::from_utf8_lossy(&complained);
    let reason = match complained.lines().rev().find_map(|line| line.strip_prefix("haq: ")) {
        Some(reason) if status.code().is_some_and(|code| code < 100) => reason.to_owned(),
        _ => {
            let last = complained.lines().next_back().unwrap_or("it said nothing");
            return Err(Problem::internal(format!("a helper ended with {status}: {last}")));
        }
    };
    Ok(Some(Helped::Refused { reason }))
}
