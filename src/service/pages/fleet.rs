//! The workers that judge for this service.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension, Form,
    extract::{State, rejection::FormRejection},
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;

use super::{Count, Frame, page, problem::PageProblem};
use crate::service::{
    access::Caller,
    fleet::fleet_of,
    problem::Problem,
    state::App,
    wire::{FleetReport, FleetWorker, SetAside},
};

/// Characters of a task's name that are shown; enough to tell it from others.
const SHOWN: usize = 12;

#[derive(Template)]
#[template(path = "service/fleet.html")]
struct FleetPage {
    frame: Frame,
    queue: String,
    may_write: bool,
    facts: Vec<Fact>,
    workers: Vec<WorkerRow>,
    set_aside: Vec<SetAsideRow>,
}

struct Fact {
    name: &'static str,
    value: String,
}

struct WorkerRow {
    name: String,
    device: String,
    device_class: String,
    tasks_done: Count,
    tasks_per_min: String,
    fetched: String,
    task: Option<String>,
}

struct SetAsideRow {
    task: String,
    shown: String,
    search: String,
    attempts: u32,
    reason: String,
}

pub async fn show(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, PageProblem> {
    let report: FleetReport = fleet_of(&app)?.state().await?.into();
    let fact = |name, value| Fact { name, value };
    let count = |count| Count(count).to_string();
    let tasks = &report.tasks;
    let facts = vec![
        fact("Waiting", count(tasks.waiting)),
        fact("In work", count(tasks.in_work)),
        fact("Answers not taken", count(tasks.answers)),
        fact("Set aside", count(tasks.set_aside)),
        fact("Handed out again", count(tasks.redelivered)),
        fact("Answers a minute", format!("{:.1}", report.tasks_per_min)),
        fact("Fetched", megabytes(report.bytes_fetched)),
    ];
    Ok(page(&FleetPage {
        frame: Frame::new("fleet", &caller, &app),
        queue: shown_place(&app.settings.queue),
        may_write: caller.may_write().is_ok(),
        facts,
        workers: report.workers.into_iter().map(worker).collect(),
        set_aside: report.set_aside.into_iter().map(set_aside).collect(),
    })?)
}

fn worker(worker: FleetWorker) -> WorkerRow {
    WorkerRow {
        name: worker.name,
        device: worker.device,
        device_class: worker.device_class,
        tasks_done: Count(worker.tasks_done),
        tasks_per_min: format!("{:.1}", worker.tasks_per_min),
        fetched: megabytes(worker.bytes_fetched),
        task: worker.task.as_deref().map(short),
    }
}

fn set_aside(letter: SetAside) -> SetAsideRow {
    SetAsideRow {
        shown: short(&letter.task),
        task: letter.task,
        search: letter.search,
        attempts: letter.attempts,
        reason: letter.reason.unwrap_or_else(|| "its workers went silent".into()),
    }
}

fn short(task: &str) -> String {
    task.chars().take(SHOWN).collect()
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Without the name and password that an address may hold.
fn shown_place(queue: &str) -> String {
    match (queue.find("://"), queue.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}{}", &queue[..scheme + 3], &queue[at + 1..])
        }
        _ => queue.to_owned(),
    }
}

#[derive(Debug, Deserialize)]
pub struct LetterForm {
    /// Of one task; all where it is empty.
    #[serde(default)]
    task: String,
    action: String,
}

pub async fn act(
    State(app): State<Arc<App>>,
    form: Result<Form<LetterForm>, FormRejection>,
) -> Result<Response, PageProblem> {
    let Form(LetterForm { task, action }) =
        form.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    let tasks: Vec<String> = Some(task).filter(|task| !task.is_empty()).into_iter().collect();
    let fleet = fleet_of(&app)?;
    match action.as_str() {
        "retry" => fleet.retry(&tasks).await?,
        "drop" => fleet.discard(&tasks).await?,
        other => {
            let told = format!("{other:?} is not retry or drop");
            return Err(Problem::bad_request(told).into());
        }
    };
    Ok(Redirect::to("/fleet").into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_somebody_in_is_not_shown() {
        for (queue, shown) in [
            ("nats://ann:secret@queue.lab:4222/a", "nats://queue.lab:4222/a"),
            ("nats://token@queue.lab", "nats://queue.lab"),
            ("tls://queue.lab/b", "tls://queue.lab/b"),
            ("runs/haq@home.db", "runs/haq@home.db"),
        ] {
            assert_eq!(shown_place(queue), shown);
        }
    }
}
