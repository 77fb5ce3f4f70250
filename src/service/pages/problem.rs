//! A request that could not be answered, for a person.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse as _, Response},
};

use super::Frame;
use crate::service::problem::Problem;

#[derive(Template)]
#[template(path = "service/problem.html")]
struct ProblemPage<'a> {
    frame: Frame,
    status: u16,
    title: &'a str,
    detail: String,
    advice: Option<&'static str>,
}

pub fn problem_page(problem: &Problem) -> Response {
    let status = problem.status();
    let advice = match status {
        StatusCode::NOT_FOUND => Some("It may have been deleted, or the address is mistyped."),
        StatusCode::FORBIDDEN => Some("Ask whoever runs this service for a token that may write."),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Some("Load the page again in a moment.")
        }
        _ => None,
    };
    let (title, detail) = (problem.title(), sentence(problem.detail()));
    let frame = Frame::of_strangers();
    let page = ProblemPage { frame, status: status.as_u16(), title, detail, advice };
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(_) => problem.clone().into_response(),
    }
}

/// A message as a sentence.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(char::to_uppercase);
    let text: String = first.into_iter().flatten().chain(letters).collect();
    if text.ends_with(['.', '?', '!']) { text } else { text + "." }
}

/// For handlers of pages: what goes wrong is shown as a page.
pub struct PageProblem(Problem);

impl<E: Into<Problem>> From<E> for PageProblem {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl axum::response::IntoResponse for PageProblem {
    fn into_response(self) -> Response {
        problem_page(&self.0)
    }
}
