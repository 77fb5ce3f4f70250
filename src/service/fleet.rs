//! The workers that judge for the searches of this service, where it has a queue for them.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::{sync::OnceCell, time::timeout};
use utoipa::ToSchema;

use crate::{
    runner::fleet::{FleetError, FleetKeeper, FleetState},
    service::{
        problem::Problem,
        state::App,
        wire::{FleetReport, Handled, SCHEMA},
    },
};

/// How long the queue may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Reaches the fleet's queue.
pub type Reach =
    Box<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn FleetKeeper>, String>> + Send + Sync>;

/// A fleet that is reached when somebody first asks for it, and as often as it takes.
pub struct Fleet {
    reach: Reach,
    keeper: OnceCell<Arc<dyn FleetKeeper>>,
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("is_reached", &self.keeper.initialized()).finish()
    }
}

impl Fleet {
    pub fn new(reach: Reach) -> Self {
        Self { reach, keeper: OnceCell::new() }
    }

    /// # Errors
    /// 503 where the queue does not answer.
    pub async fn state(&self) -> Result<FleetState, Problem> {
        in_time(async { Ok(self.keeper().await?.state().await?) }).await
    }

    /// Hands out again what was set aside; all where no task is named.
    ///
    /// # Errors
    /// 404 where nothing of a name was set aside, 503 where the queue does not answer.
    pub async fn retry(&self, tasks: &[String]) -> Result<u64, Problem> {
        in_time(async { Ok(self.keeper().await?.retry(tasks).await?) }).await
    }

    /// Forgets what was set aside; otherwise as [`Fleet::retry`].
    pub async fn discard(&self, tasks: &[String]) -> Result<u64, Problem> {
        in_time(async { Ok(self.keeper().await?.discard(tasks).await?) }).await
    }

    async fn keeper(&self) -> Result<&Arc<dyn FleetKeeper>, Problem> {
        let reached = self.keeper.get_or_try_init(|| (self.reach)()).await;
        reached.map_err(|reason| unanswered(&reason))
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    let silent = || unanswered(&format!("nothing within {} s", PATIENCE.as_secs()));
    timeout(PATIENCE, asked).await.map_err(|_| silent())?
}

fn unanswered(reason: &str) -> Problem {
    let told = format!("the queue of the fleet does not answer: {reason}");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, told).retry_after(5)
}

impl From<FleetError> for Problem {
    fn from(error: FleetError) -> Self {
        match error {
            FleetError::NoSuchLetter { .. } => Self::not_found(error.to_string()),
            error => unanswered(&error.to_string()),
        }
    }
}

/// # Errors
/// 404 where searches judge their policies themselves.
pub fn fleet_of(app: &App) -> Result<&Fleet, Problem> {
    app.fleet.as_ref().ok_or_else(|| {
        Problem::not_found(
            "searches of this service judge their policies themselves; the setting `queue` has workers do it",
        )
    })
}

/// Workers, what they do, and what was set aside
#[utoipa::path(get, path = "/api/v1/fleet", tag = "fleet",
    responses((status = 200, body = FleetReport),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn show(State(app): State<Arc<App>>) -> Result<Json<FleetReport>, Problem> {
    Ok(Json(fleet_of(&app)?.state().await?.into()))
}

/// Which tasks.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NamedTasks {
    /// Beginnings of the names of tasks that were set aside; all where none is named.
    pub tasks: Vec<String>,
}

/// Hand out again what was set aside after too many tries
#[utoipa::path(post, path = "/api/v1/fleet/retry", tag = "fleet", request_body = NamedTasks,
    responses((status = 200, body = Handled),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn retry(
    State(app): State<Arc<App>>,
    named: Result<Json<NamedTasks>, JsonRejection>,
) -> Result<Json<Handled>, Problem> {
    let Json(NamedTasks { tasks }) = named?;
    let n_tasks = fleet_of(&app)?.retry(&tasks).await?;
    Ok(Json(Handled { schema: SCHEMA, tasks: n_tasks }))
}

/// Forget what was set aside
#[utoipa::path(post, path = "/api/v1/fleet/drop", tag = "fleet", request_body = NamedTasks,
    responses((status = 200, body = Handled),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn discard(
    State(app): State<Arc<App>>,
    named: Result<Json<NamedTasks>, JsonRejection>,
) -> Result<Json<Handled>, Problem> {
    let Json(NamedTasks { tasks }) = named?;
    let n_tasks = fleet_of(&app)?.discard(&tasks).await?;
    Ok(Json(Handled { schema: SCHEMA, tasks: n_tasks }))
}
