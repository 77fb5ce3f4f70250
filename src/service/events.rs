//! What happens, as server-sent events: read from the database once for all who listen.
//!
//! Source: HTML Living Standard, server-sent events.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::sse,
};
use serde_json::json;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, broadcast},
    time::sleep,
};
use tokio_stream::Stream;

use crate::{
    domain::RunId,
    service::{problem::Problem, state::App},
    store::{Event, EventKind},
};

/// How often the database is asked for news.
const LOOK: Duration = Duration::from_millis(200);

/// How often old events are dropped.
const TRIM: Duration = Duration::from_secs(60);

/// Events read at once.
const N_AT_ONCE: u32 = 500;

/// Lines of a search's log that a new listener gets.
const N_LOG_LINES: u32 = 50;

/// Streams at once.
const N_STREAMS: usize = 1024;

/// Hands events to all who listen.
#[derive(Debug)]
pub struct Hub {
    sender: broadcast::Sender<Arc<Told>>,
    streams: Arc<Semaphore>,
}

/// An event in the words of a stream.
#[derive(Debug, Clone)]
pub struct Told {
    id: i64,
    search: RunId,
    name: &'static str,
    data: String,
}

impl Hub {
    pub fn new() -> Self {
        let (sender, _) = broadcast::channel(4096);
        Self { sender, streams: Arc::new(Semaphore::new(N_STREAMS)) }
    }

    pub fn n_streams(&self) -> usize {
        N_STREAMS - self.streams.available_permits()
    }
}

/// Reads news and hands them on, until the service stops.
pub async fn run(app: Arc<App>) {
    let mut last = loop {
        match app.store.newest_event().await {
            Ok(newest) => break newest,
            Err(error) => tracing::warn!(%error, "events cannot be read"),
        }
        sleep(Duration::from_secs(1)).await;
    };
    let mut trimmed = tokio::time::Instant::now();
    while !app.stopping.has_begun() {
        match app.store.events_after(last, None, N_AT_ONCE).await {
            Ok(found) => {
                let is_all = found.events.len() < N_AT_ONCE as usize;
                for event in &found.events {
                    last = event.id;
                    // Nobody may be listening.
                    let _ = app.hub.sender.send(Arc::new(told(event)));
                }
                if is_all {
                    sleep(LOOK).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "events cannot be read");
                sleep(Duration::from_secs(1)).await;
            }
        }
        if trimmed.elapsed() > TRIM {
            trimmed = tokio::time::Instant::now();
            app.rates.forget_quiet();
            if let Err(error) = app.store.trim_events(app.settings.events_kept).await {
                tracing::warn!(%error, "old events could not be dropped");
            }
        }
    }
}

/// Events of all searches as they happen
///
/// `episode`, `state`, `log`, `deleted`; after `reset` everything has to be loaded again, for
/// events were missed. A client that comes back with `Last-Event-ID` gets what it missed.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    params(("Last-Event-ID" = Option<i64>, Header, description = "the last event that was seen")),
    responses((status = 200, content_type = "text/event-stream", description = "a stream without end")))]
pub async fn all(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<sse::Sse<impl Stream<Item = Result<sse::Event, Infallible>> + use<>>, Problem> {
    stream(app, None, &headers).await
}

/// Events of one search as they happen
#[utoipa::path(get, path = "/api/v1/searches/{id}/events", tag = "events",
    params(("id" = i64, Path, example = 1), ("Last-Event-ID" = Option<i64>, Header)),
    responses((status = 200, content_type = "text/event-stream", description = "a stream without end"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn of_search(
    State(app): State<Arc<App>>,
    path: Result<Path<RunId>, axum::extract::rejection::PathRejection>,
    headers: HeaderMap,
) -> Result<sse::Sse<impl Stream<Item = Result<sse::Event, Infallible>> + use<>>, Problem> {
    let Path(id) = path?;
    app.store.search(id).await?;
    stream(app, Some(id), &headers).await
}

async fn stream(
    app: Arc<App>,
    search: Option<RunId>,
    headers: &HeaderMap,
) -> Result<sse::Sse<impl Stream<Item = Result<sse::Event, Infallible>> + use<>>, Problem> {
    let permit = app.hub.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many event streams are open")
            .retry_after(10)
    })?;
    let newest = app.store.newest_event().await?;
    let asked = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.trim().parse().ok());
    // Who comes for the first time sees where it stands; without a number, for they lie behind.
    let mut waiting = VecDeque::new();
    if let (Some(search), None) = (search, asked) {
        for line in app.store.last_log(search, N_LOG_LINES).await? {
            let (name, data) = words(search, &EventKind::Log { line });
            waiting.push_back(sse::Event::default().event(name).data(data));
        }
    }
    // Listening before reading: nothing falls between what is stored and what comes.
    let receiver = app.hub.sender.subscribe();
    let listener = Listener {
        search,
        // A number from another database is of no use.
        last: asked.filter(|id| (0..=newest).contains(id)).unwrap_or(newest),
        is_behind: asked.is_some_and(|id| id != newest),
        waiting,
        receiver,
        app,
        _permit: permit,
    };
    let events = told_by(listener);
    Ok(sse::Sse::new(events).keep_alive(sse::KeepAlive::new().interval(Duration::from_secs(15))))
}

fn told_by(listener: Listener) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    futures_util::stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    })
}

struct Listener {
    app: Arc<App>,
    search: Option<RunId>,
    /// The last event that was told.
    last: i64,
    /// Whether the database has to be asked before listening on.
    is_behind: bool,
    waiting: VecDeque<sse::Event>,
    receiver: broadcast::Receiver<Arc<Told>>,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    /// None once the service stops.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.is_behind {
                self.catch_up().await;
                continue;
            }
            let told = tokio::select! {
                told = self.receiver.recv() => told,
                () = self.app.stopping.wait() => return None,
            };
            match told {
                Ok(told) if told.id <= self.last => {}
                Ok(told) => {
                    self.last = told.id;
                    if self.search.is_none_or(|search| search == told.search) {
                        return Some(worded(&told));
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => self.is_behind = true,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    async fn catch_up(&mut self) {
        match self.app.store.events_after(self.last, self.search, N_AT_ONCE).await {
            Ok(found) => {
                if found.missed {
                    let newest = self.app.store.newest_event().await.unwrap_or(self.last);
                    self.last = newest;
                    let reset = sse::Event::default().event("reset").data("{}");
                    self.waiting.push_back(reset.id(newest.to_string()));
                    self.is_behind = false;
                    return;
                }
                self.is_behind = found.events.len() == N_AT_ONCE as usize;
                for event in &found.events {
                    self.last = event.id;
                    self.waiting.push_back(worded(&told(event)));
                }
            }
            Err(_) => sleep(Duration::from_secs(1)).await,
        }
    }
}

fn worded(told: &Told) -> sse::Event {
    sse::Event::default().event(told.name).id(told.id.to_string()).data(&told.data)
}

fn told(event: &Event) -> Told {
    let (name, data) = words(event.search, &event.kind);
    Told { id: event.id, search: event.search, name, data }
}

/// What an event is called, and its data.
fn words(search: RunId, kind: &EventKind) -> (&'static str, String) {
    let (name, data) = match kind {
        EventKind::Episode {
            index,
            kind,
            quality,
            cost,
            feasible,
            is_best,
            on_front,
            proposals,
            episodes_planned,
        } => (
            "episode",
            json!({
                "search": search, "episode": index, "kind": kind, "quality": quality, "cost": cost,
                "feasible": feasible, "is_best": is_best, "on_front": on_front,
                "proposals": proposals, "episodes_planned": episodes_planned,
            }),
        ),
        EventKind::State { state, error } => {
            ("state", json!({ "search": search, "state": state, "error": error }))
        }
        EventKind::Log { line } => {
            let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            ("log", json!({ "search": search, "level": line["level"], "message": line["message"] }))
        }
        EventKind::Deleted => ("deleted", json!({ "search": search })),
    };
    (name, data.to_string())
}
