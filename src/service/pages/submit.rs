//! The form for a new search.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Query, State, rejection::FormRejection},
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;

use super::{Choice, Frame, nonce, page, problem::PageProblem};
use crate::{
    domain::{Measure, Strategy},
    quantization::Method,
    runner::{FieldError, Submission},
    search::Pins,
    service::{
        access::Caller,
        files::Named,
        problem::Problem,
        state::App,
        submissions::hand_in,
        uploads::{listed_data, listed_models},
    },
};

#[derive(Template)]
#[template(path = "service/submit.html")]
struct SubmitPage {
    frame: Frame,
    nonce: String,
    problems: Vec<FieldError>,
    profile: Select,
    model: Select,
    data: Select,
    strategy: Select,
    measure: Select,
    method: Select,
    budget: Input,
    episodes: Input,
    seed: Input,
    weight_bits: Input,
    activation_bits: Input,
    pin: Input,
    tags: Input,
}

struct Select {
    choices: Vec<Choice>,
    error: Option<String>,
}

struct Input {
    value: String,
    error: Option<String>,
}

/// What was filled in.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SubmitForm {
    nonce: String,
    profile: String,
    model: String,
    data: String,
    strategy: String,
    measure: String,
    method: String,
    budget: String,
    episodes: String,
    seed: String,
    weight_bits: String,
    activation_bits: String,
    pin: String,
    tags: String,
}

impl SubmitForm {
    /// What stands there before anything is filled in.
    fn usual(profile: Option<String>) -> Self {
        Self {
            nonce: nonce(),
            profile: profile.unwrap_or_else(|| "edge-tpu".into()),
            strategy: Strategy::default().to_string(),
            measure: Measure::default().to_string(),
            method: Method::default().to_string(),
            episodes: Strategy::default().usual_episodes().to_string(),
            seed: "0".into(),
            pin: Pins::first_and_last().to_string(),
            ..Self::default()
        }
    }

    /// # Errors
    /// What is no number.
    fn submission(&self) -> Result<Submission, Vec<FieldError>> {
        let mut errors = Vec::new();
        let word = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let list = |text: &str| -> Vec<String> {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect()
        };
        let mut number = |field: &str, text: &str| -> Option<u64> {
            if text.trim().is_empty() {
                return None;
            }
            let message = format!("{text:?} is not a whole number");
            let wrong = FieldError { field: field.into(), message };
            text.trim().parse().map_err(|_| errors.push(wrong)).ok()
        };
        let episodes = number("episodes", &self.episodes);
        let seed = number("seed", &self.seed).unwrap_or(0);
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Submission {
            profile: self.profile.clone(),
            model: word(&self.model).filter(|model| model != "embedded"),
            data: word(&self.data),
            strategy: word(&self.strategy),
            measure: word(&self.measure),
            method: word(&self.method),
            budget: list(&self.budget),
            episodes: episodes.map(|episodes| u32::try_from(episodes).unwrap_or(u32::MAX)),
            seed,
            weight_bits: word(&self.weight_bits),
            activation_bits: word(&self.activation_bits),
            pin: word(&self.pin),
            tags: list(&self.tags),
            ..Submission::default()
        })
    }
}

#[derive(Debug, Deserialize)]
pub struct Preselected {
    profile: Option<String>,
}

pub async fn form(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Query(Preselected { profile }): Query<Preselected>,
) -> Result<Response, PageProblem> {
    Ok(form_page(&app, &caller, &SubmitForm::usual(profile), Vec::new()).await?)
}

pub async fn take(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    form: Result<Form<SubmitForm>, FormRejection>,
) -> Result<Response, PageProblem> {
    let Form(form) =
        form.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    if form.nonce.is_empty() || form.nonce.len() > 100 {
        return Err(Problem::bad_request("the form lacks its number; load the page again").into());
    }
    let handed_in = match form.submission() {
        // A form that is sent twice is one search.
        Ok(submission) => hand_in(&app, &caller, &submission, Some(form.nonce.clone())).await,
        Err(errors) => Err(Problem::of_fields(errors)),
    };
    match handed_in {
        Ok(submitted) => Ok(Redirect::to(&format!("/searches/{}", submitted.job)).into_response()),
        Err(problem) if problem.status().is_client_error() => {
            let errors = match problem.errors.as_slice() {
                [] => vec![FieldError { field: String::new(), message: problem.detail().into() }],
                some => some.to_vec(),
            };
            let status = problem.status();
            // What was changed is another search.
            let form = SubmitForm { nonce: nonce(), ..form };
            Ok((status, form_page(&app, &caller, &form, errors).await?).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

async fn form_page(
    app: &Arc<App>,
    caller: &Caller,
    form: &SubmitForm,
    problems: Vec<FieldError>,
) -> Result<Response, Problem> {
    let error = |field: &str| {
        let of_field = problems.iter().find(|problem| problem.field == field);
        of_field.map(|problem| problem.message.clone())
    };
    let select = |field: &str, choices: Vec<Choice>| Select { choices, error: error(field) };
    let input = |field: &str, value: &str| Input { value: value.into(), error: error(field) };
    let profiles = Named::new(&app.files, &app.store).await?.profile_names();
    let profiles = profiles.iter().map(|(name, _)| name.as_str());
    let models = listed_models(app).await?.into_iter().map(|model| Choice {
        selected: model.id == form.model,
        label: match model.kind.as_str() {
            "uploaded" => format!("{} (uploaded)", model.name),
            _ => model.name,
        },
        value: model.id,
    });
    let none = "embedded digits images".to_owned();
    let mut data =
        vec![Choice { value: String::new(), label: none, selected: form.data.is_empty() }];
    data.extend(listed_data(app).await?.into_iter().map(|data| Choice {
        selected: data.path == form.data,
        label: data.name,
        value: data.path,
    }));
    let methods = Method::named().map(|(name, ..)| name);
    let page_of = SubmitPage {
        frame: Frame::new("submit", caller, app),
        nonce: form.nonce.clone(),
        profile: select("profile", Choice::among(profiles, form.profile.trim_end_matches(".toml"))),
        model: select("model", models.collect()),
        data: select("data", data),
        strategy: select(
            "strategy",
            Choice::among(Strategy::ALL.map(Strategy::word), &form.strategy),
        ),
        measure: select("measure", Choice::among(Measure::ALL.map(Measure::word), &form.measure)),
        method: select("method", Choice::among(methods, &form.method)),
        budget: input("budget", &form.budget),
        episodes: input("episodes", &form.episodes),
        seed: input("seed", &form.seed),
        weight_bits: input("weight_bits", &form.weight_bits),
        activation_bits: input("activation_bits", &form.activation_bits),
        pin: input("pin", &form.pin),
        tags: input("tags", &form.tags),
        problems: problems.clone(),
    };
    page(&page_of)
}
