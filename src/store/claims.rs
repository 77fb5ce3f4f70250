//! Which runs this process may write: claimed, and numbered so that a process that lost its
//! claim cannot write any more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    Store, StoreError,
    error::At,
    lease::{Heartbeat, Held, Lease},
    rows::{SqlxResult, json, word},
};
use crate::domain::{Budget, CostKind, JobTicket, Measure, RunDescription, RunId, RunState};

/// The runs this store may write; dropping a heartbeat ends it.
#[derive(Debug, Default)]
pub(super) struct HeldClaims(Mutex<HashMap<RunId, (Claim, Heartbeat)>>);

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
        let held = self.lock();
        held.get(&run).map(|(claim, _)| claim.clone()).ok_or(StoreError::ClaimLost { run })
    }

    pub fn forget(&self, run: RunId) {
        self.lock().remove(&run);
    }

    pub fn forget_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, (Claim, Heartbeat)>> {
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
        self.check_ticket(&mut transaction).await?;
        let (row, state) = self.idle_run(&mut transaction, run).await?;
        if state == RunState::Completed {
            return Err(StoreError::CannotGoOn { run, state });
        }
        let claim = next_claim(&row).at(path)?;
        Held::Run(run).take(&mut transaction, claim.number).await.at(path)?;
        transaction.commit().await.at(path)?;
        self.hold(run, claim);
        Ok(())
    }

    /// The number of the job that this process works on, if it is a job's worker.
    ///
    /// # Errors
    /// [`StoreError::JobLost`] when the job was given to another meanwhile.
    pub(super) async fn check_ticket(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<Option<RunId>, StoreError> {
        let Some(JobTicket { job, fence }) = self.inner.ticket else { return Ok(None) };
        let ours: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM jobs WHERE id = ? AND claim = ? AND state = 'running')",
        )
        .bind(job)
        .bind(fence)
        .fetch_one(connection)
        .await
        .at(self.path())?;
        if ours { Ok(Some(job)) } else { Err(StoreError::JobLost { job }) }
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
        if state == RunState::Running && lease.is_alive() {
            return Err(StoreError::StillRunning {
                run,
                host: lease.owner.host,
                process_id: lease.owner.process_id,
                heartbeat_age_s: lease.age.as_secs(),
            });
        }
        Ok((row, state))
    }

    /// Keeps a claim alive until it is forgotten.
    pub(super) fn hold(&self, run: RunId, claim: Claim) {
        let heartbeat = self.start_heartbeat(Held::Run(run), claim.number);
        self.inner.claims.lock().insert(run, (claim, heartbeat));
    }

    /// Runs that are stored as running although their process is gone: they were killed.
    pub(super) async fn abandoned(&self) -> Result<Vec<RunId>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, owner_host, owner_process_space, owner_process_id,
                 owner_process_start_ticks, heartbeat_unix_ms
             FROM runs WHERE state = 'running'",
        )
        .fetch_all(&self.inner.readers)
        .await
        .at(self.path())?;
        let leases = rows.iter().map(Lease::of).collect::<SqlxResult<Vec<_>>>().at(self.path())?;
        let gone = leases.into_iter().filter(|lease| !lease.is_alive());
        Ok(gone.map(|lease| lease.id).collect())
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
        assert!(store.beat(Held::Run(run), 1).await.unwrap());
        assert_eq!(store.abandoned().await.unwrap(), [0; 0]);

        silence().await;
        Store::open(&path).await.unwrap().claim(run).await.unwrap();
        assert!(!store.beat(Held::Run(run), 1).await.unwrap());
        assert!(store.beat(Held::Run(run), 2).await.unwrap());
    }
}
