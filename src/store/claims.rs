//! Which process may write a run: claimed, kept alive by a heartbeat, numbered so that a
//! process that lost its claim cannot write any more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use tokio::task::AbortHandle;

use super::{
    Store, StoreError,
    error::At,
    owner::Owner,
    rows::{SqlxResult, json, word},
};
use crate::domain::{Budget, CostKind, Measure, RunDescription, RunId, RunState};

/// Silence after which a process that cannot be looked up counts as gone.
pub const LEASE: Duration = Duration::from_secs(30);

pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);

/// The runs this store may write.
#[derive(Debug, Default)]
pub(super) struct HeldClaims(Mutex<HashMap<RunId, Held>>);

#[derive(Debug)]
struct Held {
    claim: Claim,
    heartbeat: AbortHandle,
}

/// The right to write one run, and what judging its episodes needs.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub number: i64,
    pub measure: Measure,
    pub objective: CostKind,
    pub budgets: Arc<[Budget]>,
}

impl Claim {
    /// That of the process which creates a run.
    pub fn first(description: &RunDescription) -> Self {
        Self {
            number: 1,
            measure: description.measure,
            objective: description.objective,
            budgets: description.budgets.as_slice().into(),
        }
    }
}

impl HeldClaims {
    pub fn get(&self, run: RunId) -> Result<Claim, StoreError> {
        self.lock().get(&run).map(|held| held.claim.clone()).ok_or(StoreError::ClaimLost { run })
    }

    pub fn forget(&self, run: RunId) {
        if let Some(held) = self.lock().remove(&run) {
            held.heartbeat.abort();
        }
    }

    pub fn forget_all(&self) {
        for (_, held) in self.lock().drain() {
            held.heartbeat.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Held>> {
        // Nothing panics while the map is being changed, so it is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Takes an interrupted, failed or abandoned run, so that this process may go on with it.
    ///
    /// # Errors
    /// [`StoreError::StillRunning`] while another process works on it,
    /// [`StoreError::CannotGoOn`] when it is completed.
    pub async fn claim(&self, run: RunId) -> Result<(), StoreError> {
        let path = self.path();
        let mut transaction = self.begin().await?;
        let (row, state) = self.idle_run(&mut transaction, run).await?;
        if state == RunState::Completed {
            return Err(StoreError::CannotGoOn { run, state });
        }
        let claim = next_claim(&row).at(path)?;
        let owner = Owner::this_process();
        sqlx::query(
            "UPDATE runs SET state = 'running', error = NULL, claim = ?2, owner_host = ?3,
                 owner_process_space = ?4, owner_process_id = ?5,
                 owner_process_start_ticks = ?6, heartbeat_unix_ms = ?7
             WHERE id = ?1",
        )
        .bind(run)
        .bind(claim.number)
        .bind(owner.host)
        .bind(owner.process_space)
        .bind(owner.process_id)
        .bind(owner.start_ticks)
        .bind(now_unix_ms())
        .execute(&mut *transaction)
        .await
        .at(path)?;
        transaction.commit().await.at(path)?;
        self.hold(run, claim);
        Ok(())
    }

    /// The row of a run that no process works on.
    pub(super) async fn idle_run(
        &self,
        connection: &mut SqliteConnection,
        run: RunId,
    ) -> Result<(SqliteRow, RunState), StoreError> {
        let path = self.path();
        let row = sqlx::query("SELECT * FROM runs WHERE id = ?")
            .bind(run)
            .fetch_optional(connection)
            .await
            .at(path)?
            .ok_or_else(|| StoreError::UnknownRun { path: path.to_owned(), run })?;
        let state = word(&row, "state", RunState::ALL, RunState::word).at(path)?;
        let lease = Lease::of(&row).at(path)?;
        if state == RunState::Running && lease.is_alive(&Owner::this_process()) {
            return Err(StoreError::StillRunning {
                run,
                host: lease.owner.host,
                process_id: lease.owner.process_id,
                heartbeat_age_s: lease.age.as_secs(),
            });
        }
        Ok((row, state))
    }

    /// Keeps a claim and tells other processes, every few seconds, that it is alive.
    pub(super) fn hold(&self, run: RunId, claim: Claim) {
        let number = claim.number;
        // The task does not keep the store open.
        let inner = Arc::downgrade(&self.inner);
        let heartbeat = tokio::spawn(async move {
            loop {
                tokio::time::sleep(HEARTBEAT).await;
                let Some(inner) = inner.upgrade() else { return };
                match (Store { inner }).beat(run, number).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => tracing::warn!(run.id = run, %error, "heartbeat not written"),
                }
            }
        })
        .abort_handle();
        let held = Held { claim, heartbeat };
        if let Some(earlier) = self.inner.claims.lock().insert(run, held) {
            earlier.heartbeat.abort();
        }
    }

    /// False when the claim is no longer ours.
    async fn beat(&self, run: RunId, number: i64) -> Result<bool, StoreError> {
        let beaten = sqlx::query(
            "UPDATE runs SET heartbeat_unix_ms = ? WHERE id = ? AND claim = ? AND state = 'running'",
        )
        .bind(now_unix_ms())
        .bind(run)
        .bind(number)
        .execute(self.writer()?)
        .await
        .at(self.path())?;
        Ok(beaten.rows_affected() == 1)
    }

    /// Runs that are stored as running although their process is gone: they were killed.
    pub(super) async fn abandoned(&self) -> Result<Vec<RunId>, StoreError> {
        let here = Owner::this_process();
        let rows = sqlx::query("SELECT * FROM runs WHERE state = 'running'")
            .fetch_all(&self.inner.readers)
            .await
            .at(self.path())?;
        let leases = rows.iter().map(Lease::of).collect::<SqlxResult<Vec<_>>>().at(self.path())?;
        let gone = leases.into_iter().filter(|lease| !lease.is_alive(&here));
        Ok(gone.map(|lease| lease.run).collect())
    }
}

/// Who works on a run, or a tuning, that is stored as running.
pub(super) struct Lease {
    run: RunId,
    owner: Owner,
    age: Duration,
}

impl Lease {
    pub fn of(row: &SqliteRow) -> SqlxResult<Self> {
        let age_ms = now_unix_ms().saturating_sub(row.try_get("heartbeat_unix_ms")?);
        Ok(Self {
            run: row.try_get("id")?,
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

    pub fn process_id(&self) -> u32 {
        self.owner.process_id
    }

    pub fn is_alive(&self, here: &Owner) -> bool {
        self.age < LEASE && !self.owner.is_gone(here)
    }
}

fn next_claim(row: &SqliteRow) -> SqlxResult<Claim> {
    Ok(Claim {
        number: row.try_get::<i64, _>("claim")? + 1,
        measure: word(row, "measure", Measure::ALL, Measure::word)?,
        objective: word(row, "objective", CostKind::ALL, CostKind::word)?,
        budgets: json::<Vec<Budget>>(row, "budgets")?.into(),
    })
}

pub(super) fn now_unix_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_heartbeat_renews_its_own_claim_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("haq.db");
        let store = Store::open(&path).await.unwrap();
        let run = store.create_run(&crate::store::tests::description(), "key").await.unwrap();
        let silence = async || {
            sqlx::query("UPDATE runs SET heartbeat_unix_ms = heartbeat_unix_ms - 31000")
                .execute(store.writer().unwrap())
                .await
                .unwrap();
            assert_eq!(store.abandoned().await.unwrap(), [run]);
        };

        silence().await;
        assert!(store.beat(run, 1).await.unwrap());
        assert_eq!(store.abandoned().await.unwrap(), [0; 0]);

        silence().await;
        Store::open(&path).await.unwrap().claim(run).await.unwrap();
        assert!(!store.beat(run, 1).await.unwrap());
        assert!(store.beat(run, 2).await.unwrap());
    }
}
