//! Tasks that were handed out too often: the last worker said so, or the server noticed.
//!
//! A dead letter stays in the stream of tasks, where no consumer hands it out any more; a failure or
//! an advisory points at it. What points at nothing is removed on sight.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    JetStreamQueue, JetStreamTicket,
    server::Trouble,
    streams::{ADVISORIES, ANSWERS, FAILURES, REDELIVERED, TASKS, n_handed_out, stream_info},
    tasks::written,
};
use crate::queue::{ATTEMPTS_MAX, DeadLetter, QueueDepth, Task};

/// What a worker said that gave a task back.
#[derive(Debug, Serialize, Deserialize)]
struct Failure {
    /// Of the task's message.
    sequence: u64,
    attempt: u32,
    reason: String,
}

/// What the server says of a message that was handed out too often; it says more.
#[derive(Debug, Deserialize)]
struct Advisory {
    stream_seq: u64,
    deliveries: u32,
}

pub(super) struct Dead {
    pub letter: DeadLetter,
    /// Of its message.
    sequence: u64,
    /// Of the server's advisory; none where only a worker noticed so far.
    advisory: Option<u64>,
}

impl JetStreamQueue {
    /// Keeps what was wrong, in place of what was wrong before.
    pub(super) async fn note_failure(
        &self,
        ticket: &JetStreamTicket,
        reason: &str,
    ) -> Result<(), Trouble> {
        let task = &ticket.task;
        let subject = self.server.fleet.beside(FAILURES, &task.search, &task.id)?;
        let failure = Failure {
            sequence: ticket.delivery.sequence,
            attempt: ticket.delivery.attempt,
            reason: reason.to_owned(),
        };
        self.server.replace("failure", subject, written(&failure)).await
    }

    /// Oldest first.
    pub(super) async fn find_dead_letters(&self) -> Result<Vec<Dead>, Trouble> {
        let mut dead = BTreeMap::new();
        for advisory in self.server.all(ADVISORIES).await? {
            let said = serde_json::from_slice::<Advisory>(&advisory.payload).ok();
            let task = match &said {
                Some(said) => self.task_at(said.stream_seq).await?,
                None => None,
            };
            let (Some(said), Some(task)) = (said, task) else {
                let stream = self.server.fleet.stream(ADVISORIES);
                self.server.delete(&stream, advisory.sequence).await?;
                continue;
            };
            let attempts = said.deliveries.min(ATTEMPTS_MAX);
            let letter = DeadLetter { task, attempts, reason: None };
            let sequence = said.stream_seq;
            dead.insert(sequence, Dead { letter, sequence, advisory: Some(advisory.sequence) });
        }
        for failure in self.server.all(FAILURES).await? {
            let Ok(said) = serde_json::from_slice::<Failure>(&failure.payload) else { continue };
            let reason = Some(said.reason);
            if let Some(known) = dead.get_mut(&said.sequence) {
                known.letter.reason = reason;
            } else if said.attempt >= ATTEMPTS_MAX
                && let Some(task) = self.task_at(said.sequence).await?
                && self.server.fleet.beside(FAILURES, &task.search, &task.id)? == failure.subject
            {
                let letter = DeadLetter { task, attempts: ATTEMPTS_MAX, reason };
                let sequence = said.sequence;
                dead.insert(sequence, Dead { letter, sequence, advisory: None });
            }
        }
        Ok(dead.into_values().collect())
    }

    /// - `sequence`: of a task's message
    pub(super) async fn is_dead(&self, sequence: u64) -> Result<bool, Trouble> {
        Ok(self.find_dead_letters().await?.iter().any(|dead| dead.sequence == sequence))
    }

    /// Deletes a dead letter and what points at it; false where the task is none.
    pub(super) async fn bury(&self, task: &Task) -> Result<bool, Trouble> {
        let found = self.find_dead_letters().await?;
        let Some(dead) = found.into_iter().find(|dead| {
            (&dead.letter.task.search, &dead.letter.task.id) == (&task.search, &task.id)
        }) else {
            return Ok(false);
        };
        let fleet = &self.server.fleet;
        self.server.delete(&fleet.stream(TASKS), dead.sequence).await?;
        if let Some(advisory) = dead.advisory {
            self.server.delete(&fleet.stream(ADVISORIES), advisory).await?;
        }
        let subject = fleet.beside(FAILURES, &task.search, &task.id)?;
        self.server.purge(&fleet.stream(FAILURES), &subject).await?;
        Ok(true)
    }

    /// What was given back and not handed out since counts as leased.
    pub(super) async fn count(&self) -> Result<QueueDepth, Trouble> {
        let tasks = stream_info(&self.server, TASKS).await?.state.messages;
        let answers = stream_info(&self.server, ANSWERS).await?.state.messages;
        let redelivered = stream_info(&self.server, REDELIVERED).await?.state.last_sequence;
        let handed_out = n_handed_out(&self.server).await?;
        let dead = self.find_dead_letters().await?;
        let dead_letters = dead.len() as u64;
        let unnoticed = dead.iter().filter(|dead| dead.advisory.is_none()).count() as u64;
        let alive = tasks.saturating_sub(dead_letters);
        let leased = handed_out.saturating_sub(unnoticed).min(alive);
        Ok(QueueDepth { waiting: alive - leased, leased, answers, dead_letters, redelivered })
    }

    async fn task_at(&self, sequence: u64) -> Result<Option<Task>, Trouble> {
        let message = self.server.message(&self.server.fleet.stream(TASKS), sequence).await?;
        Ok(message.and_then(|message| serde_json::from_slice(&message.payload).ok()))
    }
}
