//! The queue of searches as a table: leases that end with their process, fences, turns.

use sha2::{Digest, Sha256};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    Store, StoreError,
    error::At,
    lease::{Held, Lease, now_unix_ms},
    rows::{SqlxResult, to_json, word},
};
use crate::{
    domain::{JobEnding, JobId, JobState, JobTicket, NewJob, RunId, StopWish, hexadecimal},
    queue::{JobQueue, LeasedJob, Submitted},
};

impl JobQueue for Store {
    type Error = StoreError;

    async fn submit(&self, job: &NewJob) -> Result<Submitted, StoreError> {
        let path = self.path();
        let request = to_json(&job.request).at(path)?;
        let digest = hexadecimal(&Sha256::digest(request.as_bytes()));
        let mut transaction = self.begin().await?;
        if let Some(key) = &job.submission_key
            && let Some(row) = sqlx::query(
                "SELECT id, state, request_digest FROM jobs WHERE submitter = ? AND submission_key = ?",
            )
            .bind(job.submitter.clone())
            .bind(key.clone())
            .fetch_optional(&mut *transaction)
            .await
            .at(path)?
        {
            let earlier: JobId = row.try_get("id").at(path)?;
            if row.try_get::<String, _>("request_digest").at(path)? != digest {
                return Err(StoreError::SubmissionKeyUsed { job: earlier });
            }
            let state = word(&row, "state", JobState::ALL, JobState::word).at(path)?;
            return Ok(Submitted { job: earlier, state, is_new: false });
        }
        let id = insert_job(&mut transaction, job, request, digest).await.at(path)?;
        transaction.commit().await.at(path)?;
        Ok(Submitted { job: id, state: JobState::Queued, is_new: true })
    }

    async fn lease(&self) -> Result<Option<LeasedJob>, StoreError> {
        let path = self.path();
        let n_open: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running') AND not_before_unix_ms <= ?",
        )
        .bind(now_unix_ms())
        .fetch_one(&self.inner.readers)
        .await
        .at(path)?;
        if n_open == 0 {
            return Ok(None);
        }
        let mut transaction = self.begin().await?;
        let busy = busy_runs(&mut transaction).await.at(path)?;
        let Some(id) = next_job(&mut transaction, &busy).await.at(path)? else {
            // What was wished of abandoned jobs may have been done.
            transaction.commit().await.at(path)?;
            return Ok(None);
        };
        let row = sqlx::query("SELECT claim, submitter, request FROM jobs WHERE id = ?")
            .bind(id)
            .fetch_one(&mut *transaction)
            .await
            .at(path)?;
        let leased = leased(id, &row).at(path)?;
        Held::Job(id).take(&mut transaction, leased.ticket.fence).await.at(path)?;
        sqlx::query("UPDATE jobs SET leased_unix_ms = ? WHERE id = ?")
            .bind(now_unix_ms())
            .bind(id)
            .execute(&mut *transaction)
            .await
            .at(path)?;
        transaction.commit().await.at(path)?;
        Ok(Some(leased))
    }

    async fn extend(&self, ticket: JobTicket) -> Result<bool, StoreError> {
        self.beat(Held::Job(ticket.job), ticket.fence).await
    }

    async fn wish(&self, ticket: JobTicket) -> Result<Option<StopWish>, StoreError> {
        let path = self.path();
        let row = sqlx::query("SELECT wanted FROM jobs WHERE id = ? AND claim = ?")
            .bind(ticket.job)
            .bind(ticket.fence)
            .fetch_optional(&self.inner.readers)
            .await
            .at(path)?;
        row.as_ref().map(wanted).transpose().at(path).map(Option::flatten)
    }

    async fn settle(
        &self,
        ticket: JobTicket,
        ending: &JobEnding,
        crash_limit: u32,
    ) -> Result<Option<JobState>, StoreError> {
        let path = self.path();
        let mut transaction = self.begin().await?;
        let row = sqlx::query(
            "SELECT wanted, crashes, crash_episodes,
                 coalesce((SELECT episodes FROM runs WHERE runs.id = jobs.id), 0) AS episodes
             FROM jobs WHERE id = ? AND claim = ? AND state = 'running'",
        )
        .bind(ticket.job)
        .bind(ticket.fence)
        .fetch_optional(&mut *transaction)
        .await
        .at(path)?;
        let Some(row) = row else { return Ok(None) };
        let after = Standing::of(&row).at(path)?.after(ending, crash_limit);
        sqlx::query(
            "UPDATE jobs SET state = ?2, error = ?3, wanted = NULL, crashes = ?4, crash_episodes = ?5,
                 not_before_unix_ms = ?6
             WHERE id = ?1",
        )
        .bind(ticket.job)
        .bind(after.state.word())
        .bind(after.error)
        .bind(after.crashes)
        .bind(after.crash_episodes)
        .bind(now_unix_ms().saturating_add_unsigned(after.delay_ms))
        .execute(&mut *transaction)
        .await
        .at(path)?;
        transaction.commit().await.at(path)?;
        Ok(Some(after.state))
    }

    async fn stop(&self, job: JobId, wish: StopWish) -> Result<JobState, StoreError> {
        let path = self.path();
        let mut transaction = self.begin().await?;
        let state = self.job_state(&mut transaction, job).await?;
        let next = match state {
            JobState::Running => JobState::Running,
            JobState::Queued => wish.state(),
            JobState::Paused if wish == StopWish::Cancel => wish.state(),
            state if state == wish.state() => return Ok(state),
            state => return Err(StoreError::JobEnded { job, state }),
        };
        sqlx::query("UPDATE jobs SET state = ?2, wanted = ?3 WHERE id = ?1")
            .bind(job)
            .bind(next.word())
            .bind((next == JobState::Running).then_some(wish.state().word()))
            .execute(&mut *transaction)
            .await
            .at(path)?;
        transaction.commit().await.at(path)?;
        Ok(next)
    }

    async fn resume(&self, job: JobId) -> Result<JobState, StoreError> {
        let path = self.path();
        let mut transaction = self.begin().await?;
        let state = self.job_state(&mut transaction, job).await?;
        if !state.can_resume() {
            return Err(StoreError::JobCannotResume { job, state });
        }
        sqlx::query(
            "UPDATE jobs SET state = 'queued', wanted = NULL, error = NULL, crashes = 0,
                 not_before_unix_ms = 0
             WHERE id = ?",
        )
        .bind(job)
        .execute(&mut *transaction)
        .await
        .at(path)?;
        transaction.commit().await.at(path)?;
        Ok(JobState::Queued)
    }
}

impl Store {
    async fn job_state(
        &self,
        connection: &mut SqliteConnection,
        job: JobId,
    ) -> Result<JobState, StoreError> {
        let path = self.path();
        let row = sqlx::query("SELECT state FROM jobs WHERE id = ?")
            .bind(job)
            .fetch_optional(connection)
            .await
            .at(path)?
            .ok_or_else(|| StoreError::UnknownJob { path: path.to_owned(), job })?;
        word(&row, "state", JobState::ALL, JobState::word).at(path)
    }

    /// Makes a job of a run that has none, paused, so that the service can go on with it.
    ///
    /// # Errors
    /// [`StoreError::StillRunning`] while a process works on it, [`StoreError::CannotGoOn`] when it
    /// is completed.
    pub async fn adopt_run(&self, run: RunId, job: &NewJob) -> Result<(), StoreError> {
        let path = self.path();
        let request = to_json(&job.request).at(path)?;
        let digest = hexadecimal(&Sha256::digest(request.as_bytes()));
        let mut transaction = self.begin().await?;
        let (_, state) = self.idle_run(&mut transaction, run).await?;
        if state == crate::domain::RunState::Completed {
            return Err(StoreError::CannotGoOn { run, state });
        }
        insert_row(&mut transaction, run, job, request, digest, JobState::Paused).await.at(path)?;
        transaction.commit().await.at(path)
    }

    /// Jobs in each state.
    pub async fn job_counts(&self) -> Result<Vec<(JobState, u64)>, StoreError> {
        let rows = sqlx::query("SELECT state, count(*) AS jobs FROM jobs GROUP BY state")
            .fetch_all(&self.inner.readers)
            .await
            .at(self.path())?;
        let count = |row: &SqliteRow| {
            let jobs: i64 = row.try_get("jobs")?;
            Ok((word(row, "state", JobState::ALL, JobState::word)?, jobs.unsigned_abs()))
        };
        rows.iter().map(count).collect::<SqlxResult<_>>().at(self.path())
    }

    /// What a job was asked to do.
    ///
    /// # Errors
    /// [`StoreError::UnknownJob`].
    pub async fn job_request(&self, job: JobId) -> Result<serde_json::Value, StoreError> {
        let path = self.path();
        let row = sqlx::query("SELECT request FROM jobs WHERE id = ?")
            .bind(job)
            .fetch_optional(&self.inner.readers)
            .await
            .at(path)?
            .ok_or_else(|| StoreError::UnknownJob { path: path.to_owned(), job })?;
        super::rows::json(&row, "request").at(path)
    }
}

/// Where a job stands while it is worked on.
struct Standing {
    wish: Option<StopWish>,
    crashes: u32,
    crash_episodes: u32,
    episodes: u32,
}

/// Where it stands once that has ended.
struct Settled {
    state: JobState,
    error: Option<String>,
    crashes: u32,
    crash_episodes: u32,
    delay_ms: u64,
}

impl Standing {
    fn of(row: &SqliteRow) -> SqlxResult<Self> {
        Ok(Self {
            wish: wanted(row)?,
            crashes: row.try_get("crashes")?,
            crash_episodes: row.try_get("crash_episodes")?,
            episodes: row.try_get("episodes")?,
        })
    }

    fn after(self, ending: &JobEnding, crash_limit: u32) -> Settled {
        let stopped = self.wish.map_or(JobState::Queued, StopWish::state);
        let settled = |state, error| Settled {
            state,
            error,
            crashes: self.crashes,
            crash_episodes: self.crash_episodes,
            delay_ms: 0,
        };
        match ending {
            JobEnding::Completed => settled(JobState::Completed, None),
            JobEnding::Failed(error) => settled(JobState::Failed, Some(error.clone())),
            JobEnding::Stopped => settled(stopped, None),
            JobEnding::Postponed { reason, delay_ms } => {
                Settled { delay_ms: *delay_ms, ..settled(stopped, Some(reason.clone())) }
            }
            JobEnding::Crashed(error) => {
                let got_further = self.episodes > self.crash_episodes;
                let crashes = if got_further { 1 } else { self.crashes + 1 };
                let state = if crashes < crash_limit { stopped } else { JobState::Failed };
                let error = format!(
                    "its process was killed {crashes} times in a row without finishing an episode; \
                     the last time: {error}"
                );
                let error = (state == JobState::Failed).then_some(error);
                Settled { crashes, crash_episodes: self.episodes, ..settled(state, error) }
            }
        }
    }
}

fn wanted(row: &SqliteRow) -> SqlxResult<Option<StopWish>> {
    let text: Option<String> = row.try_get("wanted")?;
    Ok(text.and_then(|text| StopWish::ALL.into_iter().find(|wish| wish.state().word() == text)))
}

fn leased(job: JobId, row: &SqliteRow) -> SqlxResult<LeasedJob> {
    Ok(LeasedJob {
        ticket: JobTicket { job, fence: row.try_get::<i64, _>("claim")? + 1 },
        submitter: row.try_get("submitter")?,
        request: super::rows::json(row, "request")?,
    })
}

async fn insert_job(
    connection: &mut SqliteConnection,
    job: &NewJob,
    request: String,
    digest: String,
) -> SqlxResult<JobId> {
    // Runs take their numbers from here too, so that none is given twice.
    sqlx::query(
        "INSERT INTO sqlite_sequence (name, seq)
         SELECT 'runs', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'runs')",
    )
    .execute(&mut *connection)
    .await?;
    let id = sqlx::query_scalar(
        "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'runs' RETURNING seq",
    )
    .fetch_one(&mut *connection)
    .await?;
    insert_row(connection, id, job, request, digest, JobState::Queued).await?;
    super::annotations::write(connection, id, Some(&job.tags), job.note.as_deref()).await?;
    Ok(id)
}

async fn insert_row(
    connection: &mut SqliteConnection,
    id: JobId,
    job: &NewJob,
    request: String,
    digest: String,
    state: JobState,
) -> SqlxResult<()> {
    let budgets: Vec<String> = job.budget_requests.iter().map(ToString::to_string).collect();
    sqlx::query(
        "INSERT INTO jobs (id, submitter, request, request_digest, submission_key, model, data,
             profile, strategy, measure, seed, episodes_planned, budget_requests, state)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id)
    .bind(job.submitter.clone())
    .bind(request)
    .bind(digest)
    .bind(job.submission_key.clone())
    .bind(job.model.clone())
    .bind(job.data.clone())
    .bind(job.profile.clone())
    .bind(job.strategy.word())
    .bind(job.measure.word())
    .bind(job.seed.cast_signed())
    .bind(job.episodes_planned)
    .bind(to_json(&budgets)?)
    .bind(state.word())
    .execute(connection)
    .await?;
    Ok(())
}

/// Runs of open jobs that a live process still works on, such as one whose service was killed.
async fn busy_runs(connection: &mut SqliteConnection) -> SqlxResult<Vec<RunId>> {
    let rows = sqlx::query(
        "SELECT runs.id, runs.owner_host, runs.owner_process_space, runs.owner_process_id,
             runs.owner_process_start_ticks, runs.heartbeat_unix_ms
         FROM runs JOIN jobs ON jobs.id = runs.id
         WHERE runs.state = 'running' AND jobs.state IN ('queued', 'running')",
    )
    .fetch_all(connection)
    .await?;
    let leases = rows.iter().map(Lease::of).collect::<SqlxResult<Vec<_>>>()?;
    Ok(leases.into_iter().filter(|lease| lease.is_alive()).map(|lease| lease.id).collect())
}

/// A job whose holder is gone, else the one whose turn it is.
async fn next_job(connection: &mut SqliteConnection, busy: &[RunId]) -> SqlxResult<Option<JobId>> {
    let rows = sqlx::query("SELECT * FROM jobs WHERE state = 'running' ORDER BY id")
        .fetch_all(&mut *connection)
        .await?;
    for row in &rows {
        let lease = Lease::of(row)?;
        if lease.is_alive() || busy.contains(&lease.id) {
            continue;
        }
        match wanted(row)? {
            None => return Ok(Some(lease.id)),
            Some(wish) => {
                sqlx::query("UPDATE jobs SET state = ?2, wanted = NULL WHERE id = ?1")
                    .bind(lease.id)
                    .bind(wish.state().word())
                    .execute(&mut *connection)
                    .await?;
            }
        }
    }
    sqlx::query_scalar(
        "WITH waiting AS (
             SELECT submitter, min(id) AS id FROM jobs
             WHERE state = 'queued' AND not_before_unix_ms <= ?
                 AND id NOT IN (SELECT value FROM json_each(?))
             GROUP BY submitter)
         SELECT id FROM waiting
         ORDER BY
             (SELECT count(*) FROM jobs WHERE jobs.submitter = waiting.submitter AND state = 'running'),
             (SELECT max(leased_unix_ms) FROM jobs WHERE jobs.submitter = waiting.submitter),
             id
         LIMIT 1",
    )
    .bind(now_unix_ms())
    .bind(to_json(&busy)?)
    .fetch_optional(connection)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::contract;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_table_is_a_queue() {
        let folder = tempfile::tempdir().unwrap();
        let mut n_stores = 0;
        let new_queue = async || {
            n_stores += 1;
            Store::open(folder.path().join(format!("{n_stores}.db"))).await.unwrap()
        };
        let lose = async |store: &Store, ticket: JobTicket| {
            sqlx::query(
                "UPDATE jobs SET owner_process_start_ticks = 1, heartbeat_unix_ms = 0 WHERE id = ?",
            )
            .bind(ticket.job)
            .execute(store.writer().unwrap())
            .await
            .unwrap();
        };
        contract::check(new_queue, lose).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_job_and_its_run_have_one_number_that_no_other_run_gets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("haq.db");
        let store = Store::open(&path).await.unwrap();
        let description = crate::store::tests::description();
        let local = store.create_run(&description, "key").await.unwrap();
        let job = store.submit(&contract::job("ann", 0)).await.unwrap().job;
        let other = store.create_run(&description, "key").await.unwrap();
        assert_eq!([local, job, other], [1, 2, 3]);

        let ticket = store.lease().await.unwrap().unwrap().ticket;
        let worker = Store::open_for_job(&path, ticket).await.unwrap();
        assert_eq!(worker.create_run(&description, "key").await.unwrap(), job);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_worker_with_an_older_ticket_makes_no_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("haq.db");
        let store = Store::open(&path).await.unwrap();
        let description = crate::store::tests::description();
        store.submit(&contract::job("ann", 0)).await.unwrap();
        let old = store.lease().await.unwrap().unwrap().ticket;
        store.settle(old, &JobEnding::Stopped, 3).await.unwrap();
        let new = store.lease().await.unwrap().unwrap().ticket;

        let late = Store::open_for_job(&path, old).await.unwrap();
        let error = late.create_run(&description, "key").await.unwrap_err();
        assert!(matches!(error, StoreError::JobLost { .. }), "{error}");
        let worker = Store::open_for_job(&path, new).await.unwrap();
        let run = worker.create_run(&description, "key").await.unwrap();
        worker.interrupt(run).await.unwrap();
        let error = late.claim(run).await.unwrap_err();
        assert!(matches!(error, StoreError::JobLost { .. }), "{error}");
        worker.claim(run).await.unwrap();
    }
}
