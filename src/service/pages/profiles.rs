//! Hardware profiles, and one of them.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension, Form,
    extract::{
        Path, State,
        rejection::{FormRejection, PathRejection},
    },
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;

use super::{Frame, nonce, page, problem::PageProblem};
use crate::service::{
    access::Caller,
    problem::Problem,
    profiles::{detail, keep, listed},
    state::App,
    wire::ListedProfile,
};

#[derive(Template)]
#[template(path = "service/profiles.html")]
struct ProfilesPage {
    frame: Frame,
    profiles: Vec<ListedProfile>,
    nonce: String,
    toml: String,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "service/profile.html")]
struct ProfilePage {
    frame: Frame,
    name: String,
    source: String,
    description: String,
    toml: String,
    facts: Vec<Fact>,
}

struct Fact {
    name: &'static str,
    value: String,
}

pub async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, PageProblem> {
    Ok(list_page(&app, &caller, String::new(), None).await?)
}

async fn list_page(
    app: &Arc<App>,
    caller: &Caller,
    toml: String,
    error: Option<String>,
) -> Result<Response, Problem> {
    let profiles = listed(app).await?;
    page(&ProfilesPage {
        frame: Frame::new("profiles", caller, app),
        profiles,
        nonce: nonce(),
        toml,
        error,
    })
}

#[derive(Debug, Deserialize)]
pub struct ProfileForm {
    toml: String,
}

pub async fn add(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    form: Result<Form<ProfileForm>, FormRejection>,
) -> Result<Response, PageProblem> {
    let Form(ProfileForm { toml }) =
        form.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    match keep(&app, &caller, toml.replace("\r\n", "\n").as_bytes()).await {
        Ok(kept) => {
            let stem = kept.name.trim_end_matches(".toml").to_owned();
            Ok(Redirect::to(&format!("/profiles/{stem}")).into_response())
        }
        Err(problem) if problem.status().is_client_error() => {
            let status = problem.status();
            let error = Some(problem.detail().to_owned());
            let body = list_page(&app, &caller, toml, error).await?;
            Ok((status, body).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

pub async fn show(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, PageProblem> {
    let Path(name) = name?;
    let found = detail(&app, &name).await?;
    let fact = |name, value| Fact { name, value };
    let facts = vec![
        fact("Weight bits", widths(&found.weight_bits)),
        fact("Activation bits", widths(&found.activation_bits)),
        fact("Images at once", found.batch.to_string()),
    ];
    let status = StatusCode::OK;
    let page_of = ProfilePage {
        frame: Frame::new("profiles", &caller, &app),
        name: found.name,
        source: found.source,
        description: own_description(&found.toml),
        toml: found.toml,
        facts,
    };
    Ok((status, page(&page_of)?).into_response())
}

/// What the file says of the device.
fn own_description(toml: &str) -> String {
    let table: Option<toml::Table> = toml.parse().ok();
    let words = table.as_ref().and_then(|table| table.get("description")?.as_str());
    words.unwrap_or_default().to_owned()
}

/// `2–4, 8`: widths in a row by their ends.
fn widths(bits: &[u8]) -> String {
    let runs = bits.chunk_by(|a, b| a + 1 == *b);
    let shown = runs.flat_map(|run| match run {
        [first, .., last] if run.len() > 2 => vec![format!("{first}–{last}")],
        few => few.iter().map(u8::to_string).collect(),
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_in_a_row_are_told_by_their_ends() {
        for (bits, expected) in [
            (&[1, 2, 3, 4, 5, 6, 7, 8][..], "1–8"),
            (&[1, 2, 4, 8], "1, 2, 4, 8"),
            (&[2, 4, 5, 6], "2, 4–6"),
            (&[8], "8"),
            (&[], ""),
        ] {
            assert_eq!(widths(bits), expected);
        }
    }
}
