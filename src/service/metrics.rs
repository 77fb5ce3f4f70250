//! Figures for a monitoring system, and whether the service lives.
//!
//! Source: Prometheus text format, OpenMetrics 1.0.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use axum::{
    Json,
    extract::{MatchedPath, Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::{
    domain::JobState,
    queue::QueueDepth,
    service::{fleet::Fleet, problem::Problem, state::App, wire::Health},
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    /// The route, not the address: few, whatever is asked for.
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

/// What is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Histogram,
    searches: Family<StateLabels, Gauge>,
    running: Gauge,
    streams: Gauge,
    fleet: FleetMetrics,
}

/// What is told of a fleet, where there is one.
#[derive(Debug, Default)]
struct FleetMetrics {
    /// 1 where its queue answers.
    up: Gauge,
    workers: Gauge,
    tasks: Family<StateLabels, Gauge>,
    redelivered: Gauge,
    tasks_per_min: Gauge<f64, AtomicU64>,
    fetched: Gauge,
}

impl FleetMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("fleet_up", "Whether the queue of the fleet answers", self.up.clone());
        registry.register("fleet_workers", "Workers that are there", self.workers.clone());
        registry.register("fleet_tasks", "Evaluations of the fleet, by state", self.tasks.clone());
        let redelivered = "Evaluations handed out again since the queue was made";
        registry.register("fleet_redelivered_tasks", redelivered, self.redelivered.clone());
        let rate = "Answers a minute of all workers, over the last ten";
        registry.register("fleet_tasks_per_minute", rate, self.tasks_per_min.clone());
        let fetched = "Networks and images that the workers that are there fetched";
        registry.register_with_unit("fleet_fetched", fetched, Unit::Bytes, self.fetched.clone());
    }

    async fn look(&self, fleet: &Fleet) {
        let state = fleet.state().await;
        self.up.set(state.is_ok().into());
        let Ok(state) = state else { return };
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let QueueDepth { waiting, leased, answers, dead_letters, redelivered } = state.tasks;
        let states = [
            ("waiting", waiting),
            ("in_work", leased),
            ("answered", answers),
            ("set_aside", dead_letters),
        ];
        for (state, count) in states {
            self.tasks.get_or_create(&StateLabels { state }).set(gauge(count));
        }
        self.workers.set(state.workers.len() as i64);
        self.redelivered.set(gauge(redelivered));
        self.tasks_per_min.set(state.tasks_per_min());
        self.fetched.set(gauge(state.bytes_fetched()));
    }
}

impl Metrics {
    /// - `has_fleet`: whether there is one to tell of
    pub fn new(has_fleet: bool) -> Self {
        let mut registry = Registry::with_prefix("haq");
        let requests = Family::default();
        let seconds = Histogram::new(exponential_buckets(0.001, 2.5, 12));
        let (searches, running, streams) = (Family::default(), Gauge::default(), Gauge::default());
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time until the head of an answer",
            Unit::Seconds,
            seconds.clone(),
        );
        registry.register("searches", "Searches handed in, by state", searches.clone());
        registry.register("search_processes", "Searches in work here", running.clone());
        registry.register("event_streams", "Event streams open", streams.clone());
        let fleet = FleetMetrics::default();
        if has_fleet {
            fleet.register(&mut registry);
        }
        Self { registry, requests, seconds, searches, running, streams, fleet }
    }
}

/// Counts a request.
pub async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("none".to_owned(), |path| path.as_str().to_owned());
    let method = match request.method().as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        _ => "other",
    };
    let response = next.run(request).await;
    let labels = RequestLabels { method, route, status: response.status().as_u16() };
    app.metrics.requests.get_or_create(&labels).inc();
    app.metrics.seconds.observe(began.elapsed().as_secs_f64());
    response
}

/// Figures as Prometheus reads them
#[utoipa::path(get, path = "/metrics", tag = "service",
    responses((status = 200, content_type = "application/openmetrics-text", body = String)))]
pub async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let counts = app.store.job_counts().await?;
    for state in JobState::ALL {
        let jobs = counts.iter().find(|(of, _)| *of == state).map_or(0, |(_, jobs)| *jobs);
        let labels = StateLabels { state: state.word() };
        app.metrics.searches.get_or_create(&labels).set(i64::try_from(jobs).unwrap_or(i64::MAX));
    }
    app.metrics.running.set(app.workers.n_running() as i64);
    app.metrics.streams.set(app.hub.n_streams() as i64);
    if let Some(fleet) = &app.fleet {
        app.metrics.fleet.look(fleet).await;
    }
    let mut text = String::new();
    encode(&mut text, &app.metrics.registry).map_err(Problem::internal)?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// Whether the service lives
#[utoipa::path(get, path = "/api/v1/health", tag = "service", responses((status = 200, body = Health)))]
pub async fn health() -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// Whether the service takes requests: not while it ends, nor while its database cannot be read
#[utoipa::path(get, path = "/api/v1/ready", tag = "service", responses((status = 200, body = Health),
    (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn ready(State(app): State<Arc<App>>) -> Result<Json<Health>, Problem> {
    if app.stopping.has_begun() {
        let told = "the service is about to end";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, told).retry_after(5));
    }
    app.store.newest_event().await?;
    Ok(Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") }))
}
