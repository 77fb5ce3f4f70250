//! The contract of a queue of evaluations, on streams.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    JetStreamQueue, JetStreamReceipt, JetStreamTicket, QueueError,
    leases::{Delivery, pull_many, pull_one, settle},
    server::{Loss, Server, Trouble},
    streams::{ANSWERS, FAILURES, REDELIVERED, TASKS, answers_consumer, tasks_consumer},
};
use crate::queue::{
    ATTEMPTS_MAX, Answer, ArrivedAnswer, DeadLetter, EvalQueue, LeasedTask, QueueDepth, Task,
};

/// Answers handed out at a time.
const ANSWERS_MAX: usize = 256;

/// Requests under way at a time, where there are many to make.
const AT_ONCE: usize = 64;

impl EvalQueue for JetStreamQueue {
    type Error = QueueError;
    type Ticket = JetStreamTicket;
    type Receipt = JetStreamReceipt;

    async fn publish(&self, task: &Task) -> Result<bool, QueueError> {
        self.server.insist(|| self.try_publish(task)).await
    }

    async fn publish_all(&self, tasks: &[Task]) -> Result<u64, QueueError> {
        let calls: Vec<_> = tasks.iter().map(|task| self.publish(task)).collect();
        let added: Vec<bool> = stream::iter(calls).buffered(AT_ONCE).try_collect().await?;
        Ok(added.into_iter().map(u64::from).sum())
    }

    async fn lease(
        &self,
        device_class: &str,
        _worker: &str,
        patience: Duration,
    ) -> Result<Option<LeasedTask<JetStreamTicket>>, QueueError> {
        let (asked, mut loss) = (Instant::now(), Loss::default());
        loop {
            let left = patience.saturating_sub(asked.elapsed());
            match self.try_lease(device_class, left).await {
                Ok(Some(leased)) => {
                    loss.is_over(&self.server);
                    return Ok(Some(leased));
                }
                Ok(None) => {}
                Err(trouble) => {
                    let mended = self.server.mend(trouble, &mut loss);
                    // A worker that has to stop hears so while the server is away.
                    if let Ok(failed) = tokio::time::timeout(left, mended).await {
                        failed?;
                    }
                }
            }
            if asked.elapsed() >= patience {
                return Ok(None);
            }
        }
    }

    async fn extend(&self, ticket: &JetStreamTicket) -> Result<bool, QueueError> {
        let asked = Instant::now();
        if ticket.is_lost() {
            return Ok(false);
        }
        let acknowledge = &ticket.delivery.acknowledge;
        self.server.insist(|| settle(&self.server, acknowledge, "+WPI")).await?;
        ticket.extended(asked);
        Ok(true)
    }

    async fn complete(
        &self,
        ticket: &JetStreamTicket,
        answer: &Answer,
    ) -> Result<bool, QueueError> {
        let (payload, n_tries) = (written(answer), AtomicU32::new(0));
        let answered = self.server.insist(|| {
            let is_again = n_tries.fetch_add(1, Ordering::Relaxed) > 0;
            self.try_answer(ticket, payload.clone(), is_again)
        });
        let kept = answered.await?;
        // Only now: a task may be answered twice, and never not at all.
        self.server.insist(|| self.end(ticket)).await?;
        Ok(kept)
    }

    async fn fail(&self, ticket: &JetStreamTicket, reason: &str) -> Result<(), QueueError> {
        if ticket.is_lost() {
            return Ok(());
        }
        self.server.insist(|| self.note_failure(ticket, reason)).await?;
        let acknowledge = &ticket.delivery.acknowledge;
        self.server.insist(|| settle(&self.server, acknowledge, "-NAK")).await
    }

    async fn answers(
        &self,
        search: &str,
        patience: Duration,
    ) -> Result<Vec<ArrivedAnswer<JetStreamReceipt>>, QueueError> {
        let (asked, mut loss) = (Instant::now(), Loss::default());
        loop {
            let left = patience.saturating_sub(asked.elapsed());
            match self.try_answers(search, left).await {
                Ok(answers) if !answers.is_empty() => {
                    loss.is_over(&self.server);
                    return Ok(answers);
                }
                Ok(_) => {}
                Err(trouble) => {
                    let mended = self.server.mend(trouble, &mut loss);
                    if let Ok(failed) = tokio::time::timeout(left, mended).await {
                        failed?;
                    }
                }
            }
            if asked.elapsed() >= patience {
                return Ok(Vec::new());
            }
        }
    }

    async fn take(&self, receipt: &JetStreamReceipt) -> Result<(), QueueError> {
        self.server.insist(|| settle(&self.server, &receipt.acknowledge, "+ACK")).await
    }

    async fn take_all(&self, receipts: &[JetStreamReceipt]) -> Result<(), QueueError> {
        let calls: Vec<_> = receipts.iter().map(|receipt| self.take(receipt)).collect();
        stream::iter(calls).buffered(AT_ONCE).try_collect().await
    }

    async fn is_kept(&self, task: &Task) -> Result<bool, QueueError> {
        self.server.insist(|| self.look_for(task)).await
    }

    async fn withdraw(&self, search: &str) -> Result<(), QueueError> {
        for what in [TASKS, ANSWERS, FAILURES] {
            let (stream, subjects) =
                (self.server.fleet.stream(what), self.server.fleet.of_search(what, search)?);
            self.server.insist(|| self.server.purge(&stream, &subjects)).await?;
        }
        Ok(())
    }

    async fn dead_letters(&self) -> Result<Vec<DeadLetter>, QueueError> {
        let found = self.server.insist(|| self.find_dead_letters()).await?;
        Ok(found.into_iter().map(|dead| dead.letter).collect())
    }

    async fn retry(&self, task: &Task) -> Result<bool, QueueError> {
        let retried = self.server.insist(|| self.bury(task)).await?;
        if retried {
            self.publish(task).await?;
        }
        Ok(retried)
    }

    async fn discard(&self, task: &Task) -> Result<bool, QueueError> {
        self.server.insist(|| self.bury(task)).await
    }

    async fn depth(&self) -> Result<QueueDepth, QueueError> {
        self.server.insist(|| self.count()).await
    }
}

impl JetStreamQueue {
    fn subject_beside(&self, what: &str, task: &Task) -> Result<String, QueueError> {
        self.server.fleet.beside(what, &task.search, &task.id)
    }

    async fn try_publish(&self, task: &Task) -> Result<bool, Trouble> {
        let subject = self.server.fleet.task(task)?;
        let answers = self.server.fleet.stream(ANSWERS);
        if self.server.last(&answers, &self.subject_beside(ANSWERS, task)?).await?.is_some() {
            return Ok(false);
        }
        self.server.keep("task", subject, written(task), None).await
    }

    async fn try_lease(
        &self,
        device_class: &str,
        patience: Duration,
    ) -> Result<Option<LeasedTask<JetStreamTicket>>, Trouble> {
        let consumer = tasks_consumer(&self.server, device_class, self.lease).await?;
        let stream = self.server.fleet.stream(TASKS);
        let Some(delivery) = pull_one(&self.server, &stream, &consumer, patience).await? else {
            return Ok(None);
        };
        let arrived = Instant::now();
        let Some(task) = read::<Task>(&self.server, &delivery).await? else { return Ok(None) };
        let attempt = delivery.attempt;
        let ticket = JetStreamTicket::new(task.clone(), delivery, self.lease, arrived);
        if attempt > 1 {
            let subject = self.server.fleet.subjects(REDELIVERED, 0);
            self.server.replace("count", subject, Bytes::new()).await?;
        }
        if attempt > ATTEMPTS_MAX {
            // A consumer that somebody else made hands out more often.
            self.note_failure(&ticket, "it was handed out too often").await?;
            return Ok(None);
        }
        Ok(Some(LeasedTask { task, ticket, attempt }))
    }

    /// - `is_again`: whether an earlier try may have been kept and its acknowledgement lost
    async fn try_answer(
        &self,
        ticket: &JetStreamTicket,
        answer: Bytes,
        is_again: bool,
    ) -> Result<bool, Trouble> {
        let subject = self.subject_beside(ANSWERS, &ticket.task)?;
        let Delivery { consumer, sequence, .. } = &ticket.delivery;
        // The message and not the task: what was answered may be asked again.
        let id = format!("{consumer}.{sequence}");
        let kept = self.server.keep("answer", subject.clone(), answer.clone(), Some(&id)).await?;
        if kept || !is_again {
            return Ok(kept);
        }
        // One that was taken meanwhile may have been another's.
        let there = self.server.last(&self.server.fleet.stream(ANSWERS), &subject).await?;
        Ok(there.is_some_and(|there| there.payload == answer))
    }

    /// Takes an answered task off the queue, whoever holds it.
    async fn end(&self, ticket: &JetStreamTicket) -> Result<(), Trouble> {
        settle(&self.server, &ticket.delivery.acknowledge, "+ACK").await?;
        if ticket.is_lost() {
            // It may be a dead letter, which no consumer knows any more.
            let (stream, subject) =
                (self.server.fleet.stream(TASKS), self.server.fleet.task(&ticket.task)?);
            let left = self.server.last(&stream, &subject).await?;
            if left.is_some_and(|left| left.sequence == ticket.delivery.sequence) {
                self.server.delete(&stream, ticket.delivery.sequence).await?;
            }
        }
        if ticket.delivery.attempt > 1 || ticket.is_lost() {
            let subject = self.subject_beside(FAILURES, &ticket.task)?;
            self.server.purge(&self.server.fleet.stream(FAILURES), &subject).await?;
        }
        Ok(())
    }

    async fn try_answers(
        &self,
        search: &str,
        patience: Duration,
    ) -> Result<Vec<ArrivedAnswer<JetStreamReceipt>>, Trouble> {
        let consumer = answers_consumer(&self.server, search, self.lease).await?;
        let stream = self.server.fleet.stream(ANSWERS);
        let Some(first) = pull_one(&self.server, &stream, &consumer, patience).await? else {
            return Ok(Vec::new());
        };
        let more = pull_many(&self.server, &stream, &consumer, ANSWERS_MAX - 1).await;
        let mut arrived = Vec::new();
        for delivery in std::iter::once(first).chain(more.unwrap_or_default()) {
            if let Some(answer) = read::<Answer>(&self.server, &delivery).await? {
                let receipt = JetStreamReceipt { acknowledge: delivery.acknowledge };
                arrived.push(ArrivedAnswer { answer, receipt });
            }
        }
        Ok(arrived)
    }
}

pub(super) fn written(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("tasks, answers and cards are JSON").into()
}

/// What a message holds; one that is not ours is taken off the queue, with a word in the log.
async fn read<T: DeserializeOwned>(
    server: &Server,
    delivery: &Delivery,
) -> Result<Option<T>, Trouble> {
    match serde_json::from_slice(&delivery.payload) {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            let Delivery { consumer, sequence, .. } = delivery;
            let address = &server.address;
            tracing::error!(server = address, consumer, sequence, %error, "a message is not haq's; dropped");
            settle(server, &delivery.acknowledge, "+TERM").await?;
            Ok(None)
        }
    }
}
