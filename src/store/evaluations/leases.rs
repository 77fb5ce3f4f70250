//! Leases of tasks, which end with their time.

use sqlx::{Row, sqlite::SqliteRow};

use super::{LocalEvalQueue, LocalTicket, task};
use crate::{
    queue::{ATTEMPTS_MAX, LeasedTask},
    store::{StoreError, error::At, lease::now_unix_ms, rows::SqlxResult},
};

impl LocalEvalQueue {
    pub(super) fn leased_until(&self) -> i64 {
        let lease_ms = i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX);
        now_unix_ms().saturating_add(lease_ms)
    }

    /// Ends the leases that ran out: the tasks wait again, or are dead letters.
    pub(super) async fn end_old_leases(&self) -> Result<(), StoreError> {
        let now = now_unix_ms();
        self.write(|| {
            sqlx::query(
                "UPDATE evaluations SET state = CASE WHEN attempt < ? THEN 'waiting' ELSE 'dead' END
                 WHERE state = 'leased' AND leased_until_unix_ms <= ?",
            )
            .bind(ATTEMPTS_MAX)
            .bind(now)
        })
        .await?;
        Ok(())
    }

    /// Looks without holding up writers: whether a task waits, or a lease ran out.
    pub(super) async fn may_lease(&self, device_class: &str) -> Result<bool, StoreError> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM evaluations WHERE device_class = ? AND state = 'waiting')
                 OR EXISTS (SELECT 1 FROM evaluations WHERE state = 'leased' AND leased_until_unix_ms <= ?)",
        )
        .bind(device_class.to_owned())
        .bind(now_unix_ms())
        .fetch_one(self.readers())
        .await
        .at(self.store.path())
    }

    /// What waits or whose lease ran out, whichever was published first; what was handed out too
    /// often is left to [`Self::end_old_leases`].
    pub(super) async fn try_lease(
        &self,
        device_class: &str,
        worker: &str,
    ) -> Result<Option<LeasedTask<LocalTicket>>, StoreError> {
        let (now, leased_until) = (now_unix_ms(), self.leased_until());
        let rows = self
            .write_returning(|| {
                sqlx::query(
                    "UPDATE evaluations
                     SET state = 'leased', attempt = attempt + 1, fence = fence + 1, worker = ?1,
                         leased_until_unix_ms = ?2
                     WHERE id = (SELECT min(id) FROM (
                         SELECT min(id) AS id FROM evaluations
                         WHERE device_class = ?3 AND state = 'waiting'
                         UNION ALL
                         SELECT min(id) FROM evaluations INDEXED BY evaluations_leased
                         WHERE device_class = ?3 AND state = 'leased' AND leased_until_unix_ms <= ?4
                             AND attempt < ?5))
                     RETURNING id, fence, attempt, search, task, device_class, payload",
                )
                .bind(worker.to_owned())
                .bind(leased_until)
                .bind(device_class.to_owned())
                .bind(now)
                .bind(ATTEMPTS_MAX)
            })
            .await?;
        let leased = rows.first().map(leased).transpose().at(self.store.path())?;
        if leased.as_ref().is_some_and(|leased| leased.attempt > 1) {
            self.write(|| {
                sqlx::query(
                    "UPDATE evaluation_counts SET count = count + 1 WHERE name = 'redelivered'",
                )
            })
            .await?;
        }
        Ok(leased)
    }
}

fn leased(row: &SqliteRow) -> SqlxResult<LeasedTask<LocalTicket>> {
    let ticket = LocalTicket { id: row.try_get("id")?, fence: row.try_get("fence")? };
    Ok(LeasedTask { task: task(row)?, ticket, attempt: row.try_get("attempt")? })
}
