//! Who works on a row that is stored as running: taken over with a higher number, told to be
//! alive by a heartbeat, given up when the heartbeat stops. Runs, tunings and jobs are held alike.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use tokio::task::AbortHandle;

use super::{Store, StoreError, error::At, owner::Owner, rows::SqlxResult};

/// Silence after which a process that cannot be looked up counts as gone.
pub const LEASE: Duration = Duration::from_secs(30);

const HEARTBEAT: Duration = Duration::from_secs(10);

/// What a process can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Run(i64),
    Tuning(i64),
    Job(i64),
}

/// One statement for the table that the thing stands in.
macro_rules! of_table {
    ($held:expr, $before:literal, $after:literal) => {
        match $held {
            Held::Run(id) => (concat!($before, "runs", $after), id),
            Held::Tuning(id) => (concat!($before, "tunings", $after), id),
            Held::Job(id) => (concat!($before, "jobs", $after), id),
        }
    };
}

impl Held {
    /// Enters this process as the one that works on it.
    pub async fn take(self, connection: &mut SqliteConnection, number: i64) -> SqlxResult<()> {
        let owner = Owner::this_process();
        let (statement, id) = of_table!(
            self,
            "UPDATE ",
            " SET state = 'running', error = NULL, claim = ?2, owner_host = ?3,
                 owner_process_space = ?4, owner_process_id = ?5,
                 owner_process_start_ticks = ?6, heartbeat_unix_ms = ?7
             WHERE id = ?1"
        );
        sqlx::query(statement)
            .bind(id)
            .bind(number)
            .bind(owner.host.as_str())
            .bind(owner.process_space.as_str())
            .bind(owner.process_id)
            .bind(owner.start_ticks)
            .bind(now_unix_ms())
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// Tells other processes that a claim is alive, until it is dropped.
#[derive(Debug)]
pub(super) struct Heartbeat(AbortHandle);

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Store {
    /// Beats every few seconds, as long as the claim with this number is ours.
    pub(super) fn start_heartbeat(&self, held: Held, number: i64) -> Heartbeat {
        // The task does not keep the store open.
        let inner = Arc::downgrade(&self.inner);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(HEARTBEAT).await;
                let Some(inner) = inner.upgrade() else { return };
                match (Store { inner }).beat(held, number).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => tracing::warn!(?held, %error, "heartbeat not written"),
                }
            }
        });
        Heartbeat(task.abort_handle())
    }

    /// False when the claim is no longer ours.
    pub(super) async fn beat(&self, held: Held, number: i64) -> Result<bool, StoreError> {
        let (statement, id) = of_table!(
            held,
            "UPDATE ",
            " SET heartbeat_unix_ms = ? WHERE id = ? AND claim = ? AND state = 'running'"
        );
        let beaten = sqlx::query(statement)
            .bind(now_unix_ms())
            .bind(id)
            .bind(number)
            .execute(self.writer()?)
            .await
            .at(self.path())?;
        Ok(beaten.rows_affected() == 1)
    }
}

/// Who works on what is stored as running.
pub(super) struct Lease {
    pub id: i64,
    pub owner: Owner,
    pub age: Duration,
}

impl Lease {
    pub fn of(row: &SqliteRow) -> SqlxResult<Self> {
        let age_ms = now_unix_ms().saturating_sub(row.try_get("heartbeat_unix_ms")?);
        Ok(Self {
            id: row.try_get("id")?,
            owner: Owner {
                host: row.try_get("owner_host")?,
                process_space: row.try_get("owner_process_space")?,
                process_id: row.try_get("owner_process_id")?,
                start_ticks: row.try_get("owner_process_start_ticks")?,
            },
            // A clock that was set back shows as a heartbeat in the future: fresh.
            age: Duration::from_millis(age_ms.max(0).unsigned_abs()),
        })
    }

    pub fn is_alive(&self) -> bool {
        self.age < LEASE && !self.owner.is_gone(Owner::this_process())
    }
}

pub(super) fn now_unix_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
