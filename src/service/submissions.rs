//! Searches handed in: read, checked, planned in a process of its own, queued.

use std::{ffi::OsString, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::{State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};

use crate::{
    domain::NewJob,
    queue::{JobQueue as _, Submitted},
    runner::{Submission, data_name},
    search::SearchRequest,
    service::{
        access::Caller,
        files::Named,
        helper::{self, Helped},
        problem::{Problem, unwritable},
        state::App,
        wire::Standing,
    },
};

/// How long planning may take before a submission is taken without.
const CHECK_LIMIT: Duration = Duration::from_secs(20);

/// Longest tag and note, characters; tags of one search.
const TAG_CHARS_MAX: usize = 64;
const NOTE_CHARS_MAX: usize = 4000;
const N_TAGS_MAX: usize = 32;

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

/// What waits in the queue for a request.
///
/// # Errors
/// What of its devices cannot be read.
pub fn job_of(
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

/// Refuses tags and notes that are too long.
///
/// # Errors
/// 422 with what may be.
pub fn check_words(tags: Option<&[String]>, note: Option<&str>) -> Result<(), Problem> {
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
