//! Pages for people.

use std::sync::Arc;

use axum::{
    Router,
    http::Uri,
    response::{IntoResponse as _, Redirect, Response},
};

use crate::service::{problem::Problem, state::App};

pub fn routes() -> Router<Arc<App>> {
    Router::new()
}

pub fn to_login(_uri: &Uri) -> Response {
    Redirect::to("/login").into_response()
}

pub fn problem_page(_app: &App, problem: &Problem) -> Response {
    problem.clone().into_response()
}
