//! What happens, as server-sent events: read from the database once for all who listen.
//!
//! Source: HTML Living Standard, server-sent events.

use std::{convert::Infallible, fmt::Write as _, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::json;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, broadcast},
    time::sleep,
};

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

/// Looks whose news are kept for who is slow to listen; who is slower reads the database.
const N_KEPT: usize = 64;

/// How long a stream is silent at most: a connection that is gone is noticed, and proxies see that
/// it is in use.
const SILENCE: Duration = Duration::from_secs(15);

/// A comment, which every reader of events skips.
const STILL_HERE: &[u8] = b":\n\n";

/// Hands events to all who listen.
#[derive(Debug)]
pub struct Hub {
    sender: broadcast::Sender<Arc<News>>,
    streams: Arc<Semaphore>,
}

/// What one look found, put into the words of a stream once for all who listen.
#[derive(Debug)]
struct News {
    told: Vec<Told>,
    /// The words of all, one after the other.
    text: Bytes,
}

#[derive(Debug)]
struct Told {
    id: i64,
    search: RunId,
    /// Its part of the text.
    text: Bytes,
}

impl News {
    fn new(events: &[Event]) -> Self {
        let mut text = String::new();
        let ends: Vec<usize> = events
            .iter()
            .map(|event| {
                tell(&mut text, event.search, &event.kind, Some(event.id));
                text.len()
            })
            .collect();
        let text = Bytes::from(text);
        let begins = std::iter::once(&0).chain(&ends);
        let parts = begins.zip(&ends).map(|(&begin, &end)| text.slice(begin..end));
        let told = events.iter().zip(parts);
        let told = told.map(|(event, text)| Told { id: event.id, search: event.search, text });
        Self { told: told.collect(), text }
    }
}

impl Hub {
    pub fn new() -> Self {
        let (sender, _) = broadcast::channel(N_KEPT);
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
                if let Some(newest) = found.events.last() {
                    last = newest.id;
                    // Nobody may be listening.
                    let _ = app.hub.sender.send(Arc::new(News::new(&found.events)));
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
pub async fn all(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
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
) -> Result<Response, Problem> {
    let Path(id) = path?;
    app.store.search(id).await?;
    stream(app, Some(id), &headers).await
}

async fn stream(
    app: Arc<App>,
    search: Option<RunId>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let permit = app.hub.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many event streams are open")
            .retry_after(10)
    })?;
    let newest = app.store.newest_event().await?;
    let asked = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.trim().parse().ok());
    // Who comes for the first time sees where it stands; without a number, for they lie behind.
    let mut waiting = String::new();
    if let (Some(search), None) = (search, asked) {
        for line in app.store.last_log(search, N_LOG_LINES).await? {
            tell(&mut waiting, search, &EventKind::Log { line }, None);
        }
    }
    // Listening before reading: nothing falls between what is stored and what comes.
    let receiver = app.hub.sender.subscribe();
    let listener = Listener {
        search,
        // A number from another database is of no use.
        last: asked.filter(|id| (0..=newest).contains(id)).unwrap_or(newest),
        is_behind: asked.is_some_and(|id| id != newest),
        waiting: Bytes::from(waiting),
        receiver,
        app,
        _permit: permit,
    };
    let told = futures_util::stream::unfold(listener, |mut listener| async move {
        let text = listener.next().await?;
        Some((Ok::<_, Infallible>(text), listener))
    });
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(told)).into_response())
}

struct Listener {
    app: Arc<App>,
    search: Option<RunId>,
    /// The last event that was told.
    last: i64,
    /// Whether the database has to be asked before listening on.
    is_behind: bool,
    /// What is to be told before listening on.
    waiting: Bytes,
    receiver: broadcast::Receiver<Arc<News>>,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    /// One or more events; none once the service stops.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.waiting.is_empty() {
                return Some(std::mem::take(&mut self.waiting));
            }
            if self.is_behind {
                self.catch_up().await;
                continue;
            }
            let news = tokio::select! {
                news = self.receiver.recv() => news,
                () = sleep(SILENCE) => return Some(Bytes::from_static(STILL_HERE)),
                () = self.app.stopping.wait() => return None,
            };
            match news {
                Ok(news) => self.waiting = self.not_yet_told(&news),
                Err(broadcast::error::RecvError::Lagged(_)) => self.is_behind = true,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// What of the news is new here and asked for.
    fn not_yet_told(&mut self, news: &News) -> Bytes {
        let is_all_new = news.told.first().is_some_and(|told| told.id > self.last);
        let new = news.told.iter().filter(|told| told.id > self.last);
        let text = match self.search {
            None if is_all_new => news.text.clone(),
            search => {
                let asked = new.filter(|told| search.is_none_or(|search| search == told.search));
                Bytes::from_iter(asked.flat_map(|told| told.text.iter().copied()))
            }
        };
        self.last = news.told.last().map_or(self.last, |told| told.id.max(self.last));
        text
    }

    async fn catch_up(&mut self) {
        match self.app.store.events_after(self.last, self.search, N_AT_ONCE).await {
            Ok(found) => {
                if found.missed {
                    let newest = self.app.store.newest_event().await.unwrap_or(self.last);
                    self.last = newest;
                    self.waiting =
                        Bytes::from(format!("event: reset\ndata: {{}}\nid: {newest}\n\n"));
                    self.is_behind = false;
                    return;
                }
                self.is_behind = found.events.len() == N_AT_ONCE as usize;
                self.last = found.events.last().map_or(self.last, |event| event.id);
                self.waiting = News::new(&found.events).text;
            }
            Err(_) => sleep(Duration::from_secs(1)).await,
        }
    }
}

/// Writes an event in the words of a stream.
///
/// - `id`: what a client that comes back names; none of what lies behind where it begins
fn tell(text: &mut String, search: RunId, kind: &EventKind, id: Option<i64>) {
    let (name, data) = words(search, kind);
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    // JSON has no line breaks.
    let _ = write!(text, "event: {name}\n{id}data: {data}\n\n");
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
            let (level, message) = (&line["level"], &line["message"]);
            // Lines of earlier versions have no time.
            let mut data = json!({ "search": search, "level": level, "message": message });
            if let Some(time) = line.get("time") {
                data["time"] = time.clone();
            }
            ("log", data)
        }
        EventKind::Deleted => ("deleted", json!({ "search": search })),
    };
    (name, data.to_string())
}
