//! Episodes: committed one by one with what resuming needs, read in order, looked up by policy.

use sha2::{Digest, Sha256};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    Checkpoint, Store, StoreError,
    checkpoints::write_checkpoint,
    claims::Claim,
    error::At,
    lease::now_unix_ms,
    rows::{
        SqlxResult, bind_quality, cost, integer, number_or_nan, policy, policy_to_json, quality,
        word,
    },
};
use crate::domain::{BitwidthPolicy, Budget, EpisodeKind, EpisodeRecord, JudgedBy, Quality, RunId};

impl Store {
    /// Adds the run's next episode and what resuming after it needs: both or neither.
    ///
    /// Whatever ends the process afterwards, `kill -9` included, the episode is kept; a power
    /// cut may take the last few, never a part of one.
    ///
    /// # Errors
    /// [`StoreError::ClaimLost`] when this process may not write the run,
    /// [`StoreError::OutOfOrder`] when `record.index` is not the number of episodes so far.
    pub async fn commit_episode(
        &self,
        run: RunId,
        record: &EpisodeRecord,
        checkpoint: &Checkpoint,
    ) -> Result<(), StoreError> {
        let path = self.path();
        let claim = self.inner.claims.get(run)?;
        let mut transaction = self.begin().await?;
        if !count_episode(&mut transaction, run, claim.number, record).await.at(path)? {
            return Err(self.why_refused(&mut transaction, run, claim.number, record).await);
        }
        insert_episode(&mut transaction, run, &claim, record).await.at(path)?;
        update_best(&mut transaction, run, &claim, record).await.at(path)?;
        write_checkpoint(&mut transaction, run, record.index, checkpoint).await.at(path)?;
        transaction.commit().await.at(path)
    }

    /// All episodes in the order they were committed.
    pub async fn episodes(&self, run: RunId) -> Result<Vec<EpisodeRecord>, StoreError> {
        self.require_run(run).await?;
        let rows = sqlx::query("SELECT * FROM episodes WHERE run_id = ? ORDER BY episode_index")
            .bind(run)
            .fetch_all(&self.inner.readers)
            .await
            .at(self.path())?;
        rows.iter().map(episode).collect::<SqlxResult<_>>().at(self.path())
    }

    pub async fn episode(&self, run: RunId, index: u32) -> Result<EpisodeRecord, StoreError> {
        let episodes = self.require_run(run).await?;
        let row = sqlx::query("SELECT * FROM episodes WHERE run_id = ? AND episode_index = ?")
            .bind(run)
            .bind(index)
            .fetch_optional(&self.inner.readers)
            .await
            .at(self.path())?
            .ok_or(StoreError::UnknownEpisode { run, episode: index, episodes })?;
        episode(&row).at(self.path())
    }

    /// The episodes that meet the budgets and that no other such episode beats in both the
    /// objective's cost and quality, by rising cost.
    pub async fn front(&self, run: RunId) -> Result<Vec<EpisodeRecord>, StoreError> {
        // As the view pareto_front has it, by steps: from the cheapest episode to the next one by
        // cost that is better, along an index in this order.
        let rows = sqlx::query(
            "WITH RECURSIVE front (number, cost, reached) AS (
                 SELECT * FROM (
                     SELECT rowid, objective_cost, quality FROM episodes
                     WHERE run_id = ?1 AND meets_budgets = 1 AND stopped_after_images IS NULL
                         AND quality IS NOT NULL AND objective_cost IS NOT NULL
                     ORDER BY objective_cost, quality DESC, episode_index LIMIT 1)
                 UNION ALL
                 SELECT next.rowid, next.objective_cost, next.quality
                 FROM front JOIN episodes AS next ON next.rowid = (
                     SELECT rowid FROM episodes
                     WHERE run_id = ?1 AND meets_budgets = 1 AND stopped_after_images IS NULL
                         AND objective_cost >= front.cost AND quality > front.reached
                     ORDER BY objective_cost, quality DESC, episode_index LIMIT 1))
             SELECT episodes.* FROM front CROSS JOIN episodes ON episodes.rowid = number
             ORDER BY cost",
        )
        .bind(run)
        .fetch_all(&self.inner.readers)
        .await
        .at(self.path())?;
        if rows.is_empty() {
            self.require_run(run).await?;
        }
        rows.iter().map(episode).collect::<SqlxResult<_>>().at(self.path())
    }

    /// What `policy` reached in the earliest run with this evaluation key, if any had it.
    pub async fn cached_quality(
        &self,
        evaluation_key: &str,
        policy: &BitwidthPolicy,
    ) -> Result<Option<Quality>, StoreError> {
        let text = policy_to_json(policy).at(self.path())?;
        let row = sqlx::query(
            "SELECT episodes.* FROM episodes JOIN runs ON runs.id = run_id
             WHERE policy_hash = ? AND policy = ? AND evaluation_key = ?
                 AND stopped_after_images IS NULL
             ORDER BY run_id, episode_index LIMIT 1",
        )
        .bind(hash(&text))
        .bind(text)
        .bind(evaluation_key.to_owned())
        .fetch_optional(&self.inner.readers)
        .await
        .at(self.path())?;
        row.as_ref().map(quality).transpose().at(self.path())
    }

    /// The number of episodes of a run that has to exist.
    pub(super) async fn require_run(&self, run: RunId) -> Result<u32, StoreError> {
        let path = self.path();
        sqlx::query_scalar("SELECT episodes FROM runs WHERE id = ?")
            .bind(run)
            .fetch_optional(&self.inner.readers)
            .await
            .at(path)?
            .ok_or_else(|| StoreError::UnknownRun { path: path.to_owned(), run })
    }

    async fn why_refused(
        &self,
        connection: &mut SqliteConnection,
        run: RunId,
        claim: i64,
        record: &EpisodeRecord,
    ) -> StoreError {
        let expected = sqlx::query_scalar(
            "SELECT episodes FROM runs WHERE id = ? AND claim = ? AND state = 'running'",
        )
        .bind(run)
        .bind(claim)
        .fetch_optional(connection)
        .await;
        match expected {
            Ok(Some(expected)) => StoreError::OutOfOrder { run, expected, found: record.index },
            Ok(None) => {
                self.inner.claims.forget(run);
                StoreError::ClaimLost { run }
            }
            Err(error) => StoreError::from_sqlite(self.path(), error),
        }
    }
}

/// Advances the run's counters; false when the claim is lost or the episode not the next.
async fn count_episode(
    connection: &mut SqliteConnection,
    run: RunId,
    claim: i64,
    record: &EpisodeRecord,
) -> SqlxResult<bool> {
    let counted = sqlx::query(
        "UPDATE runs SET episodes = episodes + 1, evaluations = evaluations + ?4,
             wall_s = coalesce(wall_s + ?5, wall_s), heartbeat_unix_ms = ?6
         WHERE id = ?1 AND claim = ?2 AND state = 'running' AND episodes = ?3",
    )
    .bind(run)
    .bind(claim)
    .bind(record.index)
    .bind(!record.from_cache)
    .bind(record.wall_s)
    .bind(now_unix_ms())
    .execute(connection)
    .await?;
    Ok(counted.rows_affected() == 1)
}

async fn insert_episode(
    connection: &mut SqliteConnection,
    run: RunId,
    claim: &Claim,
    record: &EpisodeRecord,
) -> SqlxResult<()> {
    let policy = policy_to_json(&record.policy)?;
    let proposed = match record.proposed == record.policy {
        true => None,
        false => Some(policy_to_json(&record.proposed)?),
    };
    let by = record.judged_by.as_ref();
    let statement = sqlx::query(
        "INSERT INTO episodes (run_id, episode_index, kind, policy_hash, policy, proposed,
             meets_budgets, objective_cost, latency_s, energy_j, size_bytes, peak_memory_bytes,
             reward, from_cache, wall_s, stopped_after_images,
             proposal_index, worker, device, libtorch_version, evaluation_s,
             quality, top1, top5, loss_nats, agreement, kl_nats, mse)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(run)
    .bind(record.index)
    .bind(record.kind.word())
    .bind(hash(&policy))
    .bind(policy)
    .bind(proposed)
    .bind(Budget::all_met(&claim.budgets, &record.cost))
    .bind(record.cost.get(claim.objective))
    .bind(record.cost.latency_s)
    .bind(record.cost.energy_j)
    .bind(integer(record.cost.size_bytes)?)
    .bind(integer(record.cost.peak_memory_bytes)?)
    .bind(record.reward)
    .bind(record.from_cache)
    .bind(record.wall_s)
    .bind(record.stopped_after_images)
    .bind(record.proposal_index)
    .bind(by.map(|by| by.worker.clone()))
    .bind(by.map(|by| by.device.clone()))
    .bind(by.map(|by| by.libtorch_version.clone()))
    .bind(by.map(|by| by.evaluation_s));
    bind_quality(statement, &record.quality, claim.measure).execute(connection).await?;
    Ok(())
}

/// The best so far: highest quality, of equal ones the cheaper, of equal ones the first.
/// References stand beside the search and are not its result.
async fn update_best(
    connection: &mut SqliteConnection,
    run: RunId,
    claim: &Claim,
    record: &EpisodeRecord,
) -> SqlxResult<()> {
    let quality = claim.measure.of(&record.quality).filter(|quality| !quality.is_nan());
    if record.kind == EpisodeKind::Reference
        || !record.is_whole()
        || quality.is_none()
        || !Budget::all_met(&claim.budgets, &record.cost)
    {
        return Ok(());
    }
    sqlx::query(
        "UPDATE runs SET best_episode = ?2
         WHERE id = ?1 AND NOT EXISTS (
             SELECT 1 FROM episodes AS best
             WHERE best.run_id = ?1 AND best.episode_index = runs.best_episode
             AND (best.quality > ?3 OR (best.quality = ?3 AND best.objective_cost <= ?4)))",
    )
    .bind(run)
    .bind(record.index)
    .bind(quality)
    .bind(record.cost.get(claim.objective))
    .execute(connection)
    .await?;
    Ok(())
}

/// A short key for an index; equality is asked of the whole text.
fn hash(policy: &str) -> i64 {
    let digest = Sha256::digest(policy.as_bytes());
    let (first, _) = digest.split_first_chunk::<8>().expect("a SHA-256 digest has 32 bytes");
    i64::from_be_bytes(*first)
}

pub(super) fn episode(row: &SqliteRow) -> SqlxResult<EpisodeRecord> {
    let evaluated: String = row.try_get("policy")?;
    let proposed: Option<String> = row.try_get("proposed")?;
    let worker: Option<String> = row.try_get("worker")?;
    let judged_by = |worker| -> SqlxResult<JudgedBy> {
        Ok(JudgedBy {
            worker,
            device: row.try_get("device")?,
            libtorch_version: row.try_get("libtorch_version")?,
            evaluation_s: number_or_nan(row, "evaluation_s")?,
        })
    };
    Ok(EpisodeRecord {
        index: row.try_get("episode_index")?,
        proposal_index: row.try_get("proposal_index")?,
        kind: word(row, "kind", EpisodeKind::ALL, EpisodeKind::word)?,
        proposed: policy("proposed", proposed.as_ref().unwrap_or(&evaluated))?,
        policy: policy("policy", &evaluated)?,
        quality: quality(row)?,
        stopped_after_images: row.try_get("stopped_after_images")?,
        cost: cost(row, "")?,
        reward: number_or_nan(row, "reward")?,
        from_cache: row.try_get("from_cache")?,
        wall_s: number_or_nan(row, "wall_s")?,
        judged_by: worker.map(judged_by).transpose()?,
    })
}
