//! The way in for browsers: a token is exchanged for a cookie.

use std::sync::Arc;

use askama::Template;
use axum::{
    Form,
    extract::{Query, State, rejection::FormRejection},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;

use super::{Frame, overview::percent_encoded, page, problem::PageProblem};
use crate::service::{access::COOKIE, problem::Problem, state::App};

#[derive(Template)]
#[template(path = "service/login.html")]
struct LoginPage {
    frame: Frame,
    next: String,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Next {
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct LoginForm {
    token: String,
    next: Option<String>,
}

/// Where to go for a token, and to come back from.
pub fn to_login(uri: &Uri) -> Response {
    let next = uri.path_and_query().map_or("/", |path| path.as_str());
    Redirect::to(&format!("/login?next={}", percent_encoded(next))).into_response()
}

/// A path of ours; never an address somewhere else.
fn own_path(next: Option<String>) -> String {
    let is_own = |path: &String| {
        path.starts_with('/')
            && !path.starts_with("//")
            && !path.contains(['\\', '\r', '\n'])
            && path.is_ascii()
    };
    next.filter(is_own).unwrap_or_else(|| "/".into())
}

pub async fn form(
    State(app): State<Arc<App>>,
    Query(Next { next }): Query<Next>,
) -> Result<Response, PageProblem> {
    if !app.access.token_required() {
        return Ok(Redirect::to("/").into_response());
    }
    Ok(page(&LoginPage { frame: Frame::of_strangers(), next: own_path(next), error: None })?)
}

pub async fn take(
    State(app): State<Arc<App>>,
    form: Result<Form<LoginForm>, FormRejection>,
) -> Result<Response, PageProblem> {
    let Form(LoginForm { token, next }) =
        form.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    let next = own_path(next);
    match app.access.log_in(&app.store, token.trim()).await {
        Ok(value) => {
            let cookie = format!(
                "{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}",
                crate::service::access::SESSION.as_secs()
            );
            Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&next)).into_response())
        }
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => {
            let error = Some("No such token is known here.".to_owned());
            let body = page(&LoginPage { frame: Frame::of_strangers(), next, error })?;
            Ok((StatusCode::UNAUTHORIZED, body).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

pub async fn leave(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    app.access.log_out(&headers);
    let cookie = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_ours_are_gone_to() {
        for (next, expected) in [
            (Some("/searches/3?x=1"), "/searches/3?x=1"),
            (Some("//evil.example"), "/"),
            (Some("https://evil.example"), "/"),
            (Some("/\\evil.example"), "/"),
            (Some("/a\r\nSet-Cookie: x"), "/"),
            (None, "/"),
        ] {
            assert_eq!(own_path(next.map(str::to_owned)), expected);
        }
    }
}
