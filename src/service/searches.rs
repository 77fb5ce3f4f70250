//! Searches: handed in, listed, shown, stopped, sent on, deleted, tagged.

use std::{ffi::OsString, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    domain::{Budget, JobState, LayerDescription, NewJob, RunId, StopWish},
    queue::{JobQueue as _, Submitted},
    runner::{RunConfig, Submission, data_name},
    search::SearchRequest,
    service::{
        access::Caller,
        files::Named,
        helper::{self, Helped},
        problem::{Problem, or_none_yet},
        state::App,
        wire::{BudgetLimit, LayerShape, SCHEMA, SearchDetail, SearchList, Standing, Summary},
    },
    store::{RunSort, SearchQuery, StoreError},
};

/// How long planning may take before a submission is taken without.
const CHECK_LIMIT: Duration = Duration::from_secs(20);

/// Longest tag and note, characters; tags of one search.
const TAG_CHARS_MAX: usize = 64;
const NOTE_CHARS_MAX: usize = 4000;
const N_TAGS_MAX: usize = 32;

/// Searches of one answer at most.
const N_LISTED_MAX: u32 = 500;

/// Hand in a search
///
/// It is planned at once, so that what cannot be done is refused; it waits for its turn then. With
/// an `Idempotency-Key` the same request sent again is answered with the first one's search.
#[utoipa::path(post, path = "/api/v1/searches", tag = "searches", request_body = Submission,
    params(("Idempotency-Key" = Option<String>, Header, description = "up to 128 characters of your choice")),
    responses(
        (status = 201, body = Standing, headers(("Location" = String))),
        (status = 200, body = Standing, description = "it had been handed in before, with this key"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn submit(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Json<Submission>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(submission) = body?;
    let key = headers.get("idempotency-key").map(|key| {
        let key = key.to_str().ok().filter(|key| (1..=128).contains(&key.len()));
        key.ok_or_else(|| Problem::bad_request("Idempotency-Key is not 1 to 128 plain characters"))
    });
    let key = key.transpose()?.map(str::to_owned);
    let submitted = hand_in(&app, &caller, &submission, key).await?;
    let answer = Json(Standing::new(submitted.job, submitted.state));
    if !submitted.is_new {
        return Ok(answer.into_response());
    }
    let location = format!("/api/v1/searches/{}", submitted.job);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], answer).into_response())
}

/// Checks and queues a search, from wherever it was handed in.
///
/// # Errors
/// 422 with all that is wrong with it.
pub async fn hand_in(
    app: &Arc<App>,
    caller: &Caller,
    submission: &Submission,
    submission_key: Option<String>,
) -> Result<Submitted, Problem> {
    check_words(Some(&submission.tags), submission.note.as_deref())?;
    let places = Named::new(&app.files, &app.store).await?;
    let request = submission.request(&places).map_err(Problem::of_fields)?;
    let value = serde_json::to_value(&request).map_err(Problem::internal)?;
    let mut job = job_of(&request, value, caller).map_err(Problem::unprocessable)?;
    job.submission_key = submission_key;
    job.tags = submission.tags.clone();
    job.note = submission.note.clone();
    check(app, &job.request).await?;
    let submitted = app.store.submit(&job).await?;
    app.workers.call.notify_one();
    Ok(submitted)
}

/// Plans the request in a process of its own.
async fn check(app: &App, request: &serde_json::Value) -> Result<(), Problem> {
    let file = tempfile::NamedTempFile::new_in(app.files.work_folder()).map_err(unwritable)?;
    std::fs::write(file.path(), request.to_string()).map_err(unwritable)?;
    let arguments: Vec<OsString> = vec!["job".into(), "--check".into(), file.path().into()];
    match helper::run(app, arguments, CHECK_LIMIT).await? {
        Some(Helped::Refused { reason }) => Err(Problem::unprocessable(reason)),
        Some(Helped::Done { .. }) | None => Ok(()),
    }
}

/// A file beside the database that could not be written.
pub fn unwritable(error: std::io::Error) -> Problem {
    tracing::error!(%error, "the state folder cannot be written");
    let told = match error.kind() {
        std::io::ErrorKind::StorageFull => "the disk of the service is full; try again later",
        _ => "the service cannot write to its folder; its log says why",
    };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, told).retry_after(10)
}

fn job_of(
    request: &SearchRequest,
    value: serde_json::Value,
    caller: &Caller,
) -> Result<NewJob, String> {
    let profiles = request.profiles().map_err(|error| error.to_string())?;
    let names: Vec<&str> = profiles.iter().map(|profile| profile.name()).collect();
    let model = request.model.as_deref().and_then(std::path::Path::file_name);
    Ok(NewJob {
        submitter: caller.name.clone(),
        request: value,
        submission_key: None,
        model: model.map_or("embedded".into(), |name| name.to_string_lossy().into_owned()),
        data: data_name(request.data.as_deref()),
        profile: names.join(" + "),
        strategy: request.strategy,
        measure: request.measure,
        seed: request.seed,
        episodes_planned: request.episodes,
        budget_requests: request.budgets.clone(),
        tags: Vec::new(),
        note: None,
    })
}

fn check_words(tags: Option<&[String]>, note: Option<&str>) -> Result<(), Problem> {
    let is_tag = |tag: &String| {
        !tag.trim().is_empty()
            && tag.chars().count() <= TAG_CHARS_MAX
            && !tag.chars().any(char::is_control)
    };
    if let Some(tags) = tags
        && (tags.len() > N_TAGS_MAX || !tags.iter().all(is_tag))
    {
        return Err(Problem::unprocessable(format!(
            "tags: at most {N_TAGS_MAX} words of 1 to {TAG_CHARS_MAX} characters each"
        )));
    }
    if note.is_some_and(|note| note.chars().count() > NOTE_CHARS_MAX || note.contains('\0')) {
        return Err(Problem::unprocessable(format!("note: at most {NOTE_CHARS_MAX} characters")));
    }
    Ok(())
}

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
