//! The local queue of evaluations as a table: leases that end with their time, answers in order of
//! arrival. Each step is one statement, and so one transaction.

mod leases;
mod patience;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

pub(super) use patience::Signals;
use patience::await_some;
use sqlx::{Row, SqlitePool, sqlite::SqliteRow};

use super::{
    Store, StoreError,
    error::At,
    rows::{SqlxResult, count, json, to_json},
};
use crate::queue::{
    ATTEMPTS_MAX, Answer, ArrivedAnswer, DeadLetter, EvalQueue, LeasedTask, QueueDepth, TASK_LEASE,
    Task,
};

/// Answers handed out at a time.
const ANSWERS_MAX: u32 = 256;

/// Tasks written in one statement.
const AT_ONCE: usize = 256;

/// The evaluations of one database file, handed out to the processes of this machine.
#[derive(Debug, Clone)]
pub struct LocalEvalQueue {
    store: Store,
    lease: Duration,
    /// Answers that were handed out and not taken, by row, and when: they do not hide those after
    /// them.
    handed_out: Arc<Mutex<HashMap<i64, Instant>>>,
}

/// Names a lease: a row and which handing out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTicket {
    id: i64,
    fence: i64,
}

/// Names an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalReceipt {
    id: i64,
}

impl Store {
    /// The queue of evaluations in this file, for as many worker processes as have it open.
    pub fn evaluations(&self) -> LocalEvalQueue {
        LocalEvalQueue { store: self.clone(), lease: TASK_LEASE, handed_out: Arc::default() }
    }
}

impl LocalEvalQueue {
    /// Leases end after this silence instead of [`TASK_LEASE`].
    pub fn with_lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    fn signals(&self) -> &Signals {
        &self.store.inner.signals
    }

    fn readers(&self) -> &SqlitePool {
        &self.store.inner.readers
    }

    fn handed_out(&self) -> MutexGuard<'_, HashMap<i64, Instant>> {
        self.handed_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers that were not handed out lately.
    async fn arrived(&self, search: &str) -> Result<Vec<ArrivedAnswer<LocalReceipt>>, StoreError> {
        let lately: Vec<i64> = {
            let mut handed_out = self.handed_out();
            handed_out.retain(|_, at| at.elapsed() < self.lease);
            handed_out.keys().copied().collect()
        };
        let rows = sqlx::query(
            "SELECT id, answer FROM evaluations WHERE search = ? AND state = 'answered'
                 AND id NOT IN (SELECT value FROM json_each(?))
             ORDER BY arrival LIMIT ?",
        )
        .bind(search.to_owned())
        .bind(to_json(&lately).at(self.store.path())?)
        .bind(ANSWERS_MAX)
        .fetch_all(self.readers())
        .await
        .at(self.store.path())?;
        let arrived = |row: &SqliteRow| {
            let receipt = LocalReceipt { id: row.try_get("id")? };
            Ok(ArrivedAnswer { answer: json(row, "answer")?, receipt })
        };
        let arrived = rows.iter().map(arrived).collect::<SqlxResult<Vec<_>>>();
        let arrived = arrived.at(self.store.path())?;
        let now = Instant::now();
        self.handed_out().extend(arrived.iter().map(|arrived| (arrived.receipt.id, now)));
        Ok(arrived)
    }

    /// Changes one dead letter; false where there is none.
    async fn change_dead(&self, statement: &'static str, task: &Task) -> Result<bool, StoreError> {
        self.end_old_leases().await?;
        let changed = self
            .write(|| sqlx::query(statement).bind(task.search.clone()).bind(task.id.clone()))
            .await?;
        Ok(changed > 0)
    }
}

impl EvalQueue for LocalEvalQueue {
    type Error = StoreError;
    type Ticket = LocalTicket;
    type Receipt = LocalReceipt;

    async fn publish(&self, task: &Task) -> Result<bool, StoreError> {
        Ok(self.publish_all(std::slice::from_ref(task)).await? > 0)
    }

    async fn publish_all(&self, tasks: &[Task]) -> Result<u64, StoreError> {
        let mut added = 0;
        for some in tasks.chunks(AT_ONCE) {
            let tasks = to_json(&some).at(self.store.path())?;
            added += self
                .write(|| {
                    sqlx::query(
                        "INSERT INTO evaluations (search, task, device_class, payload)
                         SELECT value ->> 'search', value ->> 'id', value ->> 'device_class', value -> 'payload'
                         FROM json_each(?) WHERE true
                         ON CONFLICT (search, task) DO NOTHING",
                    )
                    .bind(tasks.clone())
                })
                .await?;
            self.signals().task_waits.notify_waiters();
        }
        Ok(added)
    }

    async fn lease(
        &self,
        device_class: &str,
        worker: &str,
        patience: Duration,
    ) -> Result<Option<LeasedTask<LocalTicket>>, StoreError> {
        let tried = AtomicBool::new(false);
        let attempt = || async {
            // Who is idle looks before it asks to write.
            if tried.swap(true, Ordering::Relaxed) && !self.may_lease(device_class).await? {
                return Ok(None);
            }
            self.try_lease(device_class, worker).await
        };
        await_some(patience, &self.signals().task_waits, attempt).await
    }

    async fn extend(&self, ticket: &LocalTicket) -> Result<bool, StoreError> {
        let leased_until = self.leased_until();
        let extended = self
            .write(|| {
                sqlx::query(
                    "UPDATE evaluations SET leased_until_unix_ms = ?
                     WHERE id = ? AND fence = ? AND state = 'leased'",
                )
                .bind(leased_until)
                .bind(ticket.id)
                .bind(ticket.fence)
            })
            .await?;
        Ok(extended > 0)
    }

    async fn complete(&self, ticket: &LocalTicket, answer: &Answer) -> Result<bool, StoreError> {
        let answer = to_json(answer).at(self.store.path())?;
        // Whoever holds it by now: the first answer counts.
        let kept = self
            .write(|| {
                sqlx::query(
                    "UPDATE evaluations
                     SET state = 'answered', answer = ?, arrival = (
                         SELECT coalesce(max(earlier.arrival), 0) + 1 FROM evaluations AS earlier
                         WHERE earlier.search = evaluations.search AND earlier.state = 'answered')
                     WHERE id = ? AND state <> 'answered'",
                )
                .bind(answer.clone())
                .bind(ticket.id)
            })
            .await?;
        self.signals().answer_waits.notify_waiters();
        Ok(kept > 0)
    }

    async fn fail(&self, ticket: &LocalTicket, reason: &str) -> Result<(), StoreError> {
        self.write(|| {
            sqlx::query(
                "UPDATE evaluations
                 SET state = CASE WHEN attempt < ? THEN 'waiting' ELSE 'dead' END, reason = ?
                 WHERE id = ? AND fence = ? AND state = 'leased'",
            )
            .bind(ATTEMPTS_MAX)
            .bind(reason.to_owned())
            .bind(ticket.id)
            .bind(ticket.fence)
        })
        .await?;
        self.signals().task_waits.notify_waiters();
        Ok(())
    }

    async fn answers(
        &self,
        search: &str,
        patience: Duration,
    ) -> Result<Vec<ArrivedAnswer<LocalReceipt>>, StoreError> {
        let attempt = || async {
            let arrived = self.arrived(search).await?;
            Ok((!arrived.is_empty()).then_some(arrived))
        };
        let arrived = await_some(patience, &self.signals().answer_waits, attempt).await?;
        Ok(arrived.unwrap_or_default())
    }

    async fn take(&self, receipt: &LocalReceipt) -> Result<(), StoreError> {
        self.take_all(std::slice::from_ref(receipt)).await
    }

    async fn take_all(&self, receipts: &[LocalReceipt]) -> Result<(), StoreError> {
        let ids: Vec<i64> = receipts.iter().map(|receipt| receipt.id).collect();
        let listed = to_json(&ids).at(self.store.path())?;
        self.write(|| {
            sqlx::query(
                "DELETE FROM evaluations
                 WHERE id IN (SELECT value FROM json_each(?)) AND state = 'answered'",
            )
            .bind(listed.clone())
        })
        .await?;
        let mut handed_out = self.handed_out();
        ids.iter().for_each(|id| {
            handed_out.remove(id);
        });
        Ok(())
    }

    async fn is_kept(&self, task: &Task) -> Result<bool, StoreError> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM evaluations WHERE search = ? AND task = ?)",
        )
        .bind(task.search.clone())
        .bind(task.id.clone())
        .fetch_one(self.readers())
        .await
        .at(self.store.path())
    }

    async fn withdraw(&self, search: &str) -> Result<(), StoreError> {
        self.write(|| {
            sqlx::query("DELETE FROM evaluations WHERE search = ?").bind(search.to_owned())
        })
        .await?;
        Ok(())
    }

    async fn dead_letters(&self) -> Result<Vec<DeadLetter>, StoreError> {
        self.end_old_leases().await?;
        let rows = sqlx::query(
            "SELECT search, task, device_class, payload, attempt, reason FROM evaluations
             WHERE state = 'dead' ORDER BY id",
        )
        .fetch_all(self.readers())
        .await
        .at(self.store.path())?;
        let letter = |row: &SqliteRow| {
            let (attempts, reason) = (row.try_get("attempt")?, row.try_get("reason")?);
            Ok(DeadLetter { task: task(row)?, attempts, reason })
        };
        rows.iter().map(letter).collect::<SqlxResult<_>>().at(self.store.path())
    }

    async fn retry(&self, task: &Task) -> Result<bool, StoreError> {
        let statement = "UPDATE evaluations SET state = 'waiting', attempt = 0, reason = NULL
                         WHERE search = ? AND task = ? AND state = 'dead'";
        let retried = self.change_dead(statement, task).await?;
        self.signals().task_waits.notify_waiters();
        Ok(retried)
    }

    async fn discard(&self, task: &Task) -> Result<bool, StoreError> {
        let statement = "DELETE FROM evaluations WHERE search = ? AND task = ? AND state = 'dead'";
        self.change_dead(statement, task).await
    }

    async fn depth(&self) -> Result<QueueDepth, StoreError> {
        self.end_old_leases().await?;
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM evaluations WHERE state = 'waiting')  AS waiting,
                    (SELECT count(*) FROM evaluations WHERE state = 'leased')   AS leased,
                    (SELECT count(*) FROM evaluations WHERE state = 'answered') AS answers,
                    (SELECT count(*) FROM evaluations WHERE state = 'dead')     AS dead_letters,
                    (SELECT count FROM evaluation_counts WHERE name = 'redelivered') AS redelivered",
        )
        .fetch_one(self.readers())
        .await
        .at(self.store.path())?;
        depth(&row).at(self.store.path())
    }
}

fn task(row: &SqliteRow) -> SqlxResult<Task> {
    Ok(Task {
        id: row.try_get("task")?,
        search: row.try_get("search")?,
        device_class: row.try_get("device_class")?,
        payload: json(row, "payload")?,
    })
}

fn depth(row: &SqliteRow) -> SqlxResult<QueueDepth> {
    Ok(QueueDepth {
        waiting: count(row, "waiting")?,
        leased: count(row, "leased")?,
        answers: count(row, "answers")?,
        dead_letters: count(row, "dead_letters")?,
        redelivered: count(row, "redelivered")?,
    })
}

#[cfg(test)]
#[path = "evaluations_tests.rs"]
mod tests;
