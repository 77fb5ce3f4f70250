//! Takes queued searches and runs each in a process of its own, so that a search that goes wrong
//! ends alone. Everything that is known of them is in the database: a service that starts again
//! goes on with all of them.

use std::{
    collections::VecDeque,
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStderr, Command},
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{Instant, interval, sleep},
};

use crate::{
    domain::{JobEnding, JobState, JobTicket},
    queue::{JobQueue, LeasedJob},
    runner::{INTERRUPTED_EXIT, STORAGE_TROUBLE_EXIT},
    service::state::App,
};

/// How often the queue is looked at while nothing calls.
const LOOK: Duration = Duration::from_millis(300);

/// How often a lease is renewed.
const EXTEND: Duration = Duration::from_secs(10);

/// Pause before a search is tried again that could not write to the database.
const STORAGE_PAUSE: Duration = Duration::from_secs(5);

/// Longest line of a log that is kept, bytes.
const LINE_BYTES_MAX: u64 = 4096;

/// What searches run at the moment.
#[derive(Debug, Default)]
pub struct Workers {
    /// Called when something was queued or is to stop.
    pub call: Notify,
    n_running: AtomicUsize,
}

impl Workers {
    pub fn n_running(&self) -> usize {
        self.n_running.load(Ordering::Relaxed)
    }
}

/// Works until the service stops, and then until every search is left where it can go on.
pub async fn run(app: Arc<App>) {
    let mut running = JoinSet::new();
    let mut last_trouble = None;
    while !app.stopping.has_begun() {
        while running.len() < app.settings.searches && !app.stopping.has_begun() {
            match app.store.lease().await {
                Ok(Some(job)) => {
                    last_trouble = None;
                    running.spawn(work(app.clone(), job));
                }
                Ok(None) => break,
                Err(error) => {
                    let words = error.to_string();
                    if last_trouble.as_ref() != Some(&words) {
                        tracing::error!(%error, "the queue cannot be read");
                        last_trouble = Some(words);
                    }
                    break;
                }
            }
        }
        app.workers.n_running.store(running.len(), Ordering::Relaxed);
        tokio::select! {
            () = app.workers.call.notified() => {}
            () = sleep(LOOK) => {}
            Some(_) = running.join_next() => {}
            () = app.stopping.wait() => {}
        }
    }
    while running.join_next().await.is_some() {}
    app.workers.n_running.store(0, Ordering::Relaxed);
}

/// One search, from its lease to its settlement.
async fn work(app: Arc<App>, job: LeasedJob) {
    let ticket = job.ticket;
    tracing::info!(job.id = ticket.job, submitter = job.submitter, "a search begins");
    let Some(ending) = attend(&app, ticket).await else {
        tracing::warn!(job.id = ticket.job, "the search was given to another service");
        return;
    };
    let state = settle(&app, ticket, &ending).await;
    match (&ending, state) {
        (JobEnding::Failed(error) | JobEnding::Crashed(error), _) => {
            tracing::warn!(job.id = ticket.job, %error, ?state, "a search ended badly");
        }
        _ => tracing::info!(job.id = ticket.job, ?state, "a search ended"),
    }
    if matches!(ending, JobEnding::Crashed(_)) && state == Some(JobState::Queued) {
        // What kills a process at once must not do so many times a second.
        sleep(Duration::from_secs(1)).await;
    }
}

/// Notes how it ended; tries until the database takes it, or the service has to end.
async fn settle(app: &App, ticket: JobTicket, ending: &JobEnding) -> Option<JobState> {
    let began = Instant::now();
    loop {
        match app.store.settle(ticket, ending, app.settings.crash_limit).await {
            Ok(state) => return state,
            Err(error) => {
                tracing::error!(job.id = ticket.job, %error, "how a search ended cannot be kept");
                if app.stopping.has_begun() && began.elapsed() > STORAGE_PAUSE {
                    return None;
                }
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Starts the process and stays with it until it ends. None: the job is another's by now.
async fn attend(app: &Arc<App>, ticket: JobTicket) -> Option<JobEnding> {
    let mut child = match start(app, ticket) {
        Ok(child) => child,
        Err(error) => {
            return Some(JobEnding::Postponed {
                reason: format!("its process could not be started: {error}"),
                delay_ms: STORAGE_PAUSE.as_millis() as u64,
            });
        }
    };
    // Open as long as we are: a worker whose service was killed sees its end.
    let _pipe = child.stdin.take();
    let (send_line, mut lines) = mpsc::channel(64);
    let reader = child.stderr.take().map(|stderr| tokio::spawn(read_lines(stderr, send_line)));
    let mut log = Log::default();
    let mut looks = interval(LOOK);
    let mut last_extended = Instant::now();
    let mut told_to_stop: Option<Instant> = None;
    let mut we_killed = false;
    let status = loop {
        tokio::select! {
            Some(line) = lines.recv() => log.take(app, ticket, &line).await,
            status = child.wait() => break status,
            _ = looks.tick() => {}
        }
        if last_extended.elapsed() >= EXTEND {
            match app.store.extend(ticket).await {
                Ok(true) => last_extended = Instant::now(),
                Ok(false) => {
                    let _ = child.kill().await;
                    return None;
                }
                Err(error) => tracing::warn!(job.id = ticket.job, %error, "lease not renewed"),
            }
        }
        let wished = || async { app.store.wish(ticket).await.ok().flatten().is_some() };
        match told_to_stop {
            None if app.stopping.has_begun() || wished().await => {
                terminate(&child);
                told_to_stop = Some(Instant::now());
            }
            Some(since)
                if !we_killed && since.elapsed() > Duration::from_secs(app.settings.grace_s) =>
            {
                // Nothing is lost but the episode in flight.
                we_killed = true;
                let _ = child.start_kill();
            }
            _ => {}
        }
    };
    if let Some(reader) = reader {
        let _ = reader.await;
    }
    while let Ok(line) = lines.try_recv() {
        log.take(app, ticket, &line).await;
    }
    Some(match status {
        Ok(status) => ending(status, we_killed, log),
        Err(error) => JobEnding::Crashed(error.to_string()),
    })
}

fn start(app: &App, ticket: JobTicket) -> std::io::Result<Child> {
    let settings = &app.settings;
    Command::new(&app.program)
        .arg("job")
        .arg(ticket.job.to_string())
        .args(["--fence", &ticket.fence.to_string()])
        .arg("--db")
        .arg(app.store.path())
        .args(["--threads", &settings.threads.to_string(), "--device", &settings.device])
        .args(["--log", "info,sqlx=warn", "--log-format", "json"])
        .env("HAQ_QUEUE", &settings.queue)
        .env("HAQ_BLOBS", &settings.blobs)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// Asks the process to stop after the episode in flight.
fn terminate(child: &Child) {
    let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) else { return };
    // SAFETY: sends a signal to a child that was not yet waited for, so that the number is its own.
    unsafe { libc::kill(id, libc::SIGTERM) };
}

fn ending(status: ExitStatus, we_killed: bool, log: Log) -> JobEnding {
    let error = || log.error.clone().unwrap_or_else(|| "it said nothing".into());
    match (status.code(), status.signal()) {
        (Some(0), _) => JobEnding::Completed,
        (Some(code), _) if code == i32::from(INTERRUPTED_EXIT) => JobEnding::Stopped,
        (Some(code), _) if code == i32::from(STORAGE_TROUBLE_EXIT) => {
            JobEnding::Postponed { reason: error(), delay_ms: STORAGE_PAUSE.as_millis() as u64 }
        }
        // A Rust program that panics.
        (Some(101), _) => JobEnding::Crashed(format!("it panicked: {}", log.tail())),
        (Some(_), _) => JobEnding::Failed(error()),
        (None, _) if we_killed => JobEnding::Stopped,
        (None, signal) => {
            JobEnding::Crashed(format!("signal {}: {}", signal.unwrap_or(0), log.tail()))
        }
    }
}

/// Lines of at most [`LINE_BYTES_MAX`]; the rest of a longer one is dropped.
async fn read_lines(stderr: ChildStderr, send: mpsc::Sender<String>) {
    let mut reader = BufReader::new(stderr);
    loop {
        let mut line = Vec::new();
        match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if line.last() != Some(&b'\n') && line.len() as u64 == LINE_BYTES_MAX {
            let mut rest = Vec::new();
            while let Ok(n_read) =
                (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut rest).await
                && n_read > 0
                && rest.last() != Some(&b'\n')
            {
                rest.clear();
            }
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if !text.is_empty() && send.send(text).await.is_err() {
            return;
        }
    }
}

/// What the process wrote.
#[derive(Default)]
struct Log {
    /// The program's own last words.
    error: Option<String>,
    last: VecDeque<String>,
}

impl Log {
    async fn take(&mut self, app: &App, ticket: JobTicket, line: &str) {
        let (level, message) = match serde_json::from_str::<Value>(line) {
            Ok(Value::Object(object)) => {
                let level = object.get("level").and_then(Value::as_str).unwrap_or("INFO");
                let message = object.get("fields").and_then(|fields| fields.get("message"));
                (level.to_lowercase(), message.and_then(Value::as_str).unwrap_or(line).to_owned())
            }
            _ => match line.strip_prefix("haq: ") {
                Some(error) => {
                    self.error = Some(error.to_owned());
                    ("error".to_owned(), error.to_owned())
                }
                None => ("warn".to_owned(), line.to_owned()),
            },
        };
        self.last.push_back(message.clone());
        if self.last.len() > 5 {
            self.last.pop_front();
        }
        let line = json!({ "level": level, "message": message }).to_string();
        if let Err(error) = app.store.add_log(ticket.job, &line).await {
            tracing::debug!(job.id = ticket.job, %error, "a line of a search's log was not kept");
        }
    }

    fn tail(&self) -> String {
        if self.last.is_empty() {
            return "it said nothing".into();
        }
        self.last.iter().map(String::as_str).collect::<Vec<_>>().join(" · ")
    }
}
