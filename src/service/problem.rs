//! Errors as HTTP tells them: the one place that knows status codes.
//!
//! Source: RFC 9457, Problem Details for HTTP APIs.

use axum::{
    Json,
    extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    report::ReportError,
    runner::{FieldError, RunnerError},
    search::SearchError,
    store::StoreError,
};

/// What went wrong, and what would do.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    #[schema(example = "Not Found")]
    title: String,
    #[schema(example = 404)]
    status: u16,
    detail: String,
    /// What is wrong field by field, where a submission was refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    #[serde(skip)]
    retry_after_s: Option<u64>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error").into(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: None,
        }
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// A submission with everything that is wrong with it.
    pub fn of_fields(errors: Vec<FieldError>) -> Self {
        let words: Vec<String> =
            errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
        Self { errors, ..Self::unprocessable(words.join("; ")) }
    }

    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// Something of our own went wrong: it is logged, and not told.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the service failed to answer; its log says why",
        )
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub fn title(&self) -> &str {
        &self.title
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, retry) = (self.status(), self.retry_after_s);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let words = error.to_string();
        match error {
            StoreError::UnknownRun { run, .. } | StoreError::UnknownJob { job: run, .. } => {
                Self::not_found(format!("there is no search {run}"))
            }
            StoreError::UnknownEpisode { .. } => Self::not_found(words),
            StoreError::StillRunning { .. }
            | StoreError::CannotGoOn { .. }
            | StoreError::JobEnded { .. }
            | StoreError::JobCannotResume { .. }
            | StoreError::JobRunning { .. } => Self::conflict(words),
            StoreError::SubmissionKeyUsed { .. } => Self::unprocessable(words),
            _ if error.is_storage_trouble() => {
                tracing::error!(%error, "the database cannot be used");
                let what = match error {
                    StoreError::DiskFull { .. } => "the disk of the service is full",
                    StoreError::ReadOnly { .. } => "the database of the service is read-only",
                    _ => "the database of the service cannot be used",
                };
                let told = format!("{what}; nothing was changed, try again later");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, told).retry_after(10)
            }
            _ => Self::internal(words),
        }
    }
}

impl From<RunnerError> for Problem {
    fn from(error: RunnerError) -> Self {
        match error {
            RunnerError::Store(error) => error.into(),
            RunnerError::NoPolicy { .. } | RunnerError::NoProfile { .. } => {
                Self::not_found(error.to_string())
            }
            RunnerError::Search(
                SearchError::Request(_)
                | SearchError::BudgetNotReachable { .. }
                | SearchError::NothingToChoose(_),
            ) => Self::unprocessable(error.to_string()),
            error => Self::internal(error),
        }
    }
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Empty(what) => Self::not_found(format!("nothing to draw: {what}")),
            error => Self::internal(error),
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        match rejection.status() {
            status if status.is_server_error() => Self::internal(rejection.body_text()),
            _ => Self::not_found(format!("{}: there is no such thing", rejection.body_text())),
        }
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

/// A search that waits has found nothing yet.
///
/// # Errors
/// All but that there is no run.
pub fn or_none_yet<T: Default>(found: Result<T, StoreError>) -> Result<T, Problem> {
    match found {
        Err(StoreError::UnknownRun { .. }) => Ok(T::default()),
        found => Ok(found?),
    }
}
