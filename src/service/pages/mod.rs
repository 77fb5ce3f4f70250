//! Pages for people: rendered here, kept live by a little script, usable without it.

mod assets;
mod compare;
mod fleet;
mod login;
mod overview;
mod problem;
mod profiles;
mod search;
mod submit;

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use askama::Template;
use axum::{
    Router,
    response::{Html, IntoResponse as _, Response},
    routing::{get, post},
};

pub use login::to_login;
pub use problem::problem_page;

use crate::service::{access::Caller, problem::Problem, state::App};

pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(overview::show))
        .route("/searches/{id}", get(search::show))
        .route("/compare", get(compare::show))
        .route("/submit", get(submit::form).post(submit::take))
        .route("/fleet", get(fleet::show).post(fleet::act))
        .route("/profiles", get(profiles::list).post(profiles::add))
        .route("/profiles/{name}", get(profiles::show))
        .route("/login", get(login::form).post(login::take))
        .route("/logout", post(login::leave))
        .route("/assets/{*name}", get(assets::file))
}

/// What the frame of every page needs.
struct Frame {
    /// Hash of the assets, part of their addresses.
    assets_version: &'static str,
    /// `searches`, `compare`, `profiles`, `fleet`, `submit` or none.
    section: &'static str,
    /// Whether workers judge for this service.
    has_fleet: bool,
    /// Whether there is somebody to sign out.
    signed_in: bool,
}

impl Frame {
    fn new(section: &'static str, caller: &Caller, app: &App) -> Self {
        let has_fleet = app.fleet.is_some();
        Self { section, has_fleet, signed_in: caller.by_cookie, ..Self::of_strangers() }
    }

    fn of_strangers() -> Self {
        Self { assets_version: assets::version(), section: "", has_fleet: false, signed_in: false }
    }
}

/// One of several things to choose from.
struct Choice {
    value: String,
    label: String,
    selected: bool,
}

impl Choice {
    /// Of these words the one that is selected.
    fn among<'a>(words: impl IntoIterator<Item = &'a str>, selected: &str) -> Vec<Self> {
        let choice = |word: &str| Self {
            value: word.to_owned(),
            label: word.to_owned(),
            selected: word == selected,
        };
        words.into_iter().map(choice).collect()
    }
}

/// A count as people read it: 12,345.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count(u64);

impl From<u32> for Count {
    fn from(count: u32) -> Self {
        Self(count.into())
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

fn page(template: &impl Template) -> Result<Response, Problem> {
    Ok(Html(template.render().map_err(Problem::internal)?).into_response())
}

/// A value that is worth nothing to whoever guesses: a form with it is taken once.
fn nonce() -> String {
    crate::service::new_secret("form")
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn counts_are_grouped_by_thousands() {
        for (count, shown) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (49_992, "49,992"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(Count(count).to_string(), shown);
        }
    }
}
