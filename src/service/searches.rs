//! Searches: listed, shown, tagged, stopped, sent on, deleted.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::StatusCode,
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    domain::{Budget, JobState, LayerDescription, RunId, StopWish},
    queue::JobQueue as _,
    runner::RunConfig,
    service::{
        access::Caller,
        problem::{Problem, or_none_yet},
        state::App,
        submissions::{check_words, job_of},
        wire::{BudgetLimit, LayerShape, SCHEMA, SearchDetail, SearchList, Standing, Summary},
    },
    store::{RunSort, SearchQuery, StoreError},
};

/// Searches of one answer at most.
const N_LISTED_MAX: u32 = 500;

/// Which searches, and how they are ordered.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// queued, running, paused, completed, failed or cancelled
    pub state: Option<String>,
    /// Name of the hardware profile
    pub profile: Option<String>,
    /// Part of the model's name
    pub model: Option<String>,
    pub strategy: Option<String>,
    /// A whole tag
    pub tag: Option<String>,
    /// Words that each stand somewhere in tags, note, model, data, profile, strategy or submitter
    pub q: Option<String>,
    /// id, created, quality, latency, energy, size or memory
    pub sort: Option<String>,
    /// asc or desc
    pub order: Option<String>,
    /// 1 to 500
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    pub offset: Option<u32>,
}

impl ListQuery {
    /// # Errors
    /// 400 with what is wrong with it.
    pub fn query(&self) -> Result<SearchQuery, Problem> {
        let word = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let parsed = |text: String| text.parse().map_err(Problem::bad_request);
        let limit = self.limit.unwrap_or(50);
        if !(1..=N_LISTED_MAX).contains(&limit) {
            return Err(Problem::bad_request(format!("limit={limit} is not 1 to {N_LISTED_MAX}")));
        }
        let descending = match self.order.as_deref() {
            None | Some("" | "desc") => true,
            Some("asc") => false,
            Some(other) => {
                return Err(Problem::bad_request(format!("order={other:?} is not asc or desc")));
            }
        };
        let strategy = word(&self.strategy).map(|text| text.parse().map_err(Problem::bad_request));
        let sort: Option<RunSort> =
            word(&self.sort).map(|text| text.parse().map_err(Problem::bad_request)).transpose()?;
        Ok(SearchQuery {
            state: word(&self.state).map(parsed).transpose()?,
            profile: word(&self.profile),
            model: word(&self.model),
            strategy: strategy.transpose()?,
            tag: word(&self.tag),
            text: word(&self.q),
            sort: sort.unwrap_or_default(),
            descending,
            limit,
            offset: self.offset.unwrap_or(0),
        })
    }
}

/// Searches that wait, run or have ended
#[utoipa::path(get, path = "/api/v1/searches", tag = "searches", params(ListQuery),
    responses((status = 200, body = SearchList),
        (status = 400, body = Problem, content_type = "application/problem+json")))]
pub async fn list(
    State(app): State<Arc<App>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<SearchList>, Problem> {
    let Query(query) = query?;
    let page = app.store.searches(&query.query()?).await?;
    let searches = page.searches.into_iter().map(Summary::from).collect();
    Ok(Json(SearchList { schema: SCHEMA, total: page.total, searches }))
}

/// One search
#[utoipa::path(get, path = "/api/v1/searches/{id}", tag = "searches", params(("id" = i64, Path, example = 1)),
    responses((status = 200, body = SearchDetail),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn show(
    State(app): State<Arc<App>>,
    id: Result<Path<RunId>, PathRejection>,
) -> Result<Json<SearchDetail>, Problem> {
    let Path(id) = id?;
    Ok(Json(detail(&app, id).await?))
}

pub async fn detail(app: &App, id: RunId) -> Result<SearchDetail, Problem> {
    let summary = Summary::from(app.store.search(id).await?);
    let outline = or_none_yet(app.store.outline(id).await)?;
    let limit = |budget: Budget| BudgetLimit { kind: budget.kind.to_string(), limit: budget.limit };
    let shape = |layer: LayerDescription| LayerShape {
        name: layer.name,
        kind: layer.kind,
        macs: layer.macs,
        weights: layer.weights,
        pinned: layer.pinned,
    };
    Ok(SearchDetail {
        schema: SCHEMA,
        summary,
        limits: outline.budgets.into_iter().map(limit).collect(),
        layers: outline.layers.into_iter().map(shape).collect(),
    })
}

/// What of a search is to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Annotation {
    pub tags: Option<Vec<String>>,
    /// Empty takes it away.
    pub note: Option<String>,
}

/// Tag or annotate a search
#[utoipa::path(patch, path = "/api/v1/searches/{id}", tag = "searches", params(("id" = i64, Path, example = 1)),
    request_body = Annotation, responses((status = 200, body = SearchDetail),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn annotate(
    State(app): State<Arc<App>>,
    id: Result<Path<RunId>, PathRejection>,
    body: Result<Json<Annotation>, JsonRejection>,
) -> Result<Json<SearchDetail>, Problem> {
    let (Path(id), Json(Annotation { tags, note })) = (id?, body?);
    check_words(tags.as_deref(), note.as_deref())?;
    app.store.annotate(id, tags.as_deref(), note.as_deref()).await?;
    Ok(Json(detail(&app, id).await?))
}

/// Delete a search that does not run, with all it found
#[utoipa::path(delete, path = "/api/v1/searches/{id}", tag = "searches", params(("id" = i64, Path, example = 1)),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json")))]
pub async fn delete(
    State(app): State<Arc<App>>,
    id: Result<Path<RunId>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path(id) = id?;
    app.store.delete_search(id).await?;
    app.blocking(move |app| {
        app.files.forget_exports(id);
        Ok::<_, Problem>(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Cancel a search: at once where it waits, after the policy in work where it runs
///
/// What it found stays, and it can be resumed.
#[utoipa::path(post, path = "/api/v1/searches/{id}/cancel", tag = "searches", params(("id" = i64, Path, example = 1)),
    responses((status = 202, body = Standing), (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json")))]
pub async fn cancel(
    State(app): State<Arc<App>>,
    id: Result<Path<RunId>, PathRejection>,
) -> Result<(StatusCode, Json<Standing>), Problem> {
    let Path(id) = id?;
    Ok((StatusCode::ACCEPTED, Json(stop(&app, id, StopWish::Cancel).await?)))
}

/// Pause a search, to be resumed
#[utoipa::path(post, path = "/api/v1/searches/{id}/pause", tag = "searches", params(("id" = i64, Path, example = 1)),
    responses((status = 202, body = Standing), (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json")))]
pub async fn pause(
    State(app): State<Arc<App>>,
    id: Result<Path<RunId>, PathRejection>,
) -> Result<(StatusCode, Json<Standing>), Problem> {
    let Path(id) = id?;
    Ok((StatusCode::ACCEPTED, Json(stop(&app, id, StopWish::Pause).await?)))
}

/// # Errors
/// 409 where it has ended, or was not handed to the service.
pub async fn stop(app: &App, id: RunId, wish: StopWish) -> Result<Standing, Problem> {
    match app.store.stop(id, wish).await {
        Ok(state) => {
            app.workers.call.notify_one();
            Ok(Standing::new(id, state))
        }
        Err(StoreError::UnknownJob { .. }) => {
            let search = app.store.search(id).await?;
            Err(Problem::conflict(format!(
                "search {id} was not handed to this service, and is {}; who began it can stop it",
                search.state
            )))
        }
        Err(error) => Err(error.into()),
    }
}

/// Go on with a search that was paused or cancelled, or failed
///
/// Also with a run that `haq search` began and that was interrupted.
#[utoipa::path(post, path = "/api/v1/searches/{id}/resume", tag = "searches", params(("id" = i64, Path, example = 1)),
    responses((status = 202, body = Standing), (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json")))]
pub async fn resume(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<RunId>, PathRejection>,
) -> Result<(StatusCode, Json<Standing>), Problem> {
    let Path(id) = id?;
    Ok((StatusCode::ACCEPTED, Json(go_on(&app, &caller, id).await?)))
}

/// # Errors
/// 409 where it is completed, or somebody works on it.
pub async fn go_on(app: &App, caller: &Caller, id: RunId) -> Result<Standing, Problem> {
    let state = match app.store.resume(id).await {
        Err(StoreError::UnknownJob { .. }) => {
            let run = app.store.run(id).await?;
            let request = RunConfig::of(id, &run.description)?.request;
            let value = serde_json::to_value(&request).map_err(Problem::internal)?;
            let job = job_of(&request, value, caller).map_err(Problem::unprocessable)?;
            app.store.adopt_run(id, &job).await?;
            app.store.resume(id).await?
        }
        resumed => resumed?,
    };
    debug_assert_eq!(state, JobState::Queued);
    app.workers.call.notify_one();
    Ok(Standing::new(id, state))
}
