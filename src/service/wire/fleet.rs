//! A fleet: its workers, its tasks, and what was set aside.

use serde::Serialize;
use utoipa::ToSchema;

use super::SCHEMA;
use crate::{
    queue::{DeadLetter, QueueDepth, WorkerCard},
    runner::fleet::FleetState,
};

#[derive(Debug, Serialize, ToSchema)]
pub struct FleetReport {
    pub schema: u32,
    pub tasks: TaskCounts,
    /// Answers a minute of all workers, over the last ten.
    pub tasks_per_min: f64,
    /// What the workers fetched of networks and images.
    pub bytes_fetched: u64,
    pub workers: Vec<FleetWorker>,
    /// Tasks that were handed out too often without an answer.
    pub set_aside: Vec<SetAside>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TaskCounts {
    pub waiting: u64,
    pub in_work: u64,
    /// Answers that their searches have not taken.
    pub answers: u64,
    pub set_aside: u64,
    /// Times a task was handed out again.
    pub redelivered: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct FleetWorker {
    pub name: String,
    pub host: String,
    pub device: String,
    /// What searches ask for with `device_class`.
    pub device_class: String,
    pub libtorch_version: String,
    pub haq_version: String,
    pub tasks_done: u64,
    pub tasks_per_min: f64,
    pub bytes_fetched: u64,
    /// The task in work.
    pub task: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SetAside {
    pub task: String,
    /// Who waits for it.
    pub search: String,
    pub device_class: String,
    pub attempts: u32,
    /// What the last worker said that gave it back; none where all went silent.
    pub reason: Option<String>,
}

/// How many tasks something was done about.
#[derive(Debug, Serialize, ToSchema)]
pub struct Handled {
    pub schema: u32,
    pub tasks: u64,
}

impl From<FleetState> for FleetReport {
    fn from(state: FleetState) -> Self {
        let QueueDepth { waiting, leased, answers, dead_letters, redelivered } = state.tasks;
        Self {
            schema: SCHEMA,
            tasks: TaskCounts {
                waiting,
                in_work: leased,
                answers,
                set_aside: dead_letters,
                redelivered,
            },
            tasks_per_min: state.tasks_per_min(),
            bytes_fetched: state.bytes_fetched(),
            workers: state.workers.into_iter().map(FleetWorker::from).collect(),
            set_aside: state.dead_letters.into_iter().map(SetAside::from).collect(),
        }
    }
}

impl From<WorkerCard> for FleetWorker {
    fn from(card: WorkerCard) -> Self {
        Self {
            name: card.name,
            host: card.host,
            device: card.device,
            device_class: card.device_class,
            libtorch_version: card.libtorch_version,
            haq_version: card.haq_version,
            tasks_done: card.tasks_done,
            tasks_per_min: card.tasks_per_min,
            bytes_fetched: card.bytes_fetched,
            task: card.task,
        }
    }
}

impl From<DeadLetter> for SetAside {
    fn from(letter: DeadLetter) -> Self {
        Self {
            task: letter.task.id,
            search: letter.task.search,
            device_class: letter.task.device_class,
            attempts: letter.attempts,
            reason: letter.reason,
        }
    }
}
