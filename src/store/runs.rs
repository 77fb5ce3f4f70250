//! Runs: created, ended, read, deleted.

use serde::Serialize;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    Store, StoreError,
    claims::Claim,
    error::At,
    lease::now_unix_ms,
    owner::Owner,
    rows::{
        SqlxResult, cost, count, integer, json, number_or_nan, quality, to_json, unreadable, word,
        write_run_quality,
    },
};
use crate::domain::{
    Budget, CostKind, LayerDescription, Measure, Quality, RunDescription, RunId, RunResult,
    RunState, Strategy,
};

/// What a run may cost, and the layers it chooses bits for; never changes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunOutline {
    pub budgets: Vec<Budget>,
    /// In the order of every policy.
    pub layers: Vec<LayerDescription>,
}

/// Everything about one run but its episodes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    pub id: RunId,
    /// UTC, as RFC 3339 with milliseconds.
    pub created_at: String,
    /// Runs with equal keys get equal quality for equal policies.
    pub evaluation_key: String,
    pub description: RunDescription,
    pub result: RunResult,
}

impl Store {
    /// Adds a run in state running, which this process may write.
    ///
    /// `evaluation_key` names all that quality depends on but the policy: digests of model
    /// and data, the method, the split and its size.
    pub async fn create_run(
        &self,
        description: &RunDescription,
        evaluation_key: &str,
    ) -> Result<RunId, StoreError> {
        let path = self.path();
        let mut transaction = self.begin().await?;
        let number = self.check_ticket(&mut transaction).await?;
        let run =
            insert_run(&mut transaction, number, description, evaluation_key).await.at(path)?;
        insert_layers(&mut transaction, run, &description.layers).await.at(path)?;
        write_run_quality(
            &mut transaction,
            run,
            "float-search",
            &description.float_quality,
            description.measure,
        )
        .await
        .at(path)?;
        transaction.commit().await.at(path)?;
        self.hold(run, Claim::first(description));
        Ok(run)
    }

    /// Writes how the run stands; gives it up unless it goes on running.
    ///
    /// The number of episodes is what was committed, whatever `result` says. A completed
    /// run cannot be resumed, so what resuming needs is dropped.
    pub async fn finish(&self, run: RunId, result: &RunResult) -> Result<(), StoreError> {
        let path = self.path();
        let claim = self.inner.claims.get(run)?;
        let tested = to_json(&result.tested).at(path)?;
        let mut transaction = self.begin().await?;
        let updated = sqlx::query(
            "UPDATE runs SET state = ?3, error = ?4, evaluations = ?5, wall_s = coalesce(?6, wall_s),
                 best_episode = ?7, tested = ?8
             WHERE id = ?1 AND claim = ?2 AND state = 'running'",
        )
        .bind(run)
        .bind(claim.number)
        .bind(result.state.word())
        .bind(result.error.clone())
        .bind(result.evaluations)
        .bind(result.wall_s)
        .bind(result.best_episode)
        .bind(tested)
        .execute(&mut *transaction)
        .await
        .at(path)?;
        if updated.rows_affected() == 0 {
            return Err(StoreError::ClaimLost { run });
        }
        for (subject, quality) in
            [("best-test", &result.best_test), ("float-test", &result.float_test)]
        {
            if let Some(quality) = quality {
                write_run_quality(&mut transaction, run, subject, quality, claim.measure)
                    .await
                    .at(path)?;
            }
        }
        if result.state == RunState::Completed {
            drop_checkpoint(&mut transaction, run).await.at(path)?;
        }
        transaction.commit().await.at(path)?;
        if result.state != RunState::Running {
            self.inner.claims.forget(run);
        }
        Ok(())
    }

    /// Marks the run as interrupted: it may be resumed, here or elsewhere.
    pub async fn interrupt(&self, run: RunId) -> Result<(), StoreError> {
        self.stop(run, RunState::Interrupted, None).await
    }

    /// Marks the run as failed and keeps why; it may be resumed once that is mended.
    pub async fn fail(&self, run: RunId, error: &str) -> Result<(), StoreError> {
        self.stop(run, RunState::Failed, Some(error.to_owned())).await
    }

    async fn stop(
        &self,
        run: RunId,
        state: RunState,
        error: Option<String>,
    ) -> Result<(), StoreError> {
        let path = self.path();
        let claim = self.inner.claims.get(run)?;
        let mut transaction = self.begin().await?;
        let updated = sqlx::query(
            "UPDATE runs SET state = ?3, error = ?4 WHERE id = ?1 AND claim = ?2 AND state = 'running'",
        )
        .bind(run)
        .bind(claim.number)
        .bind(state.word())
        .bind(error)
        .execute(&mut *transaction)
        .await
        .at(path)?;
        transaction.commit().await.at(path)?;
        self.inner.claims.forget(run);
        if updated.rows_affected() == 0 {
            return Err(StoreError::ClaimLost { run });
        }
        Ok(())
    }

    /// # Errors
    /// [`StoreError::UnknownRun`].
    pub async fn run(&self, run: RunId) -> Result<Run, StoreError> {
        let abandoned = self.abandoned().await?.contains(&run);
        let path = self.path();
        // One transaction, so that the parts belong together.
        let mut connection = self.inner.readers.begin().await.at(path)?;
        let row = sqlx::query("SELECT * FROM runs WHERE id = ?")
            .bind(run)
            .fetch_optional(&mut *connection)
            .await
            .at(path)?
            .ok_or_else(|| StoreError::UnknownRun { path: path.to_owned(), run })?;
        let layers = read_layers(&mut connection, run).await.at(path)?;
        let qualities = read_qualities(&mut connection, run).await.at(path)?;
        let mut found = run_of(&row, layers, &qualities).at(path)?;
        if abandoned {
            found.result.state = RunState::Interrupted;
        }
        Ok(found)
    }

    /// A small part of [`Self::run`], for what is asked often.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`].
    pub async fn outline(&self, run: RunId) -> Result<RunOutline, StoreError> {
        let path = self.path();
        let row = sqlx::query(
            "SELECT budgets, (SELECT json_group_array(json_object('name', name, 'kind', kind,
                 'macs', macs, 'weights', weights, 'pinned', iif(pinned, json('true'), json('false'))))
                 FROM (SELECT * FROM layers WHERE run_id = runs.id ORDER BY layer_index)) AS layers
             FROM runs WHERE id = ?",
        )
        .bind(run)
        .fetch_optional(&self.inner.readers)
        .await
        .at(path)?
        .ok_or_else(|| StoreError::UnknownRun { path: path.to_owned(), run })?;
        let (budgets, layers) = (json(&row, "budgets").at(path)?, json(&row, "layers").at(path)?);
        Ok(RunOutline { budgets, layers })
    }

    /// Deletes a run with its episodes, checkpoint and artifact list; files stay.
    ///
    /// # Errors
    /// [`StoreError::StillRunning`] while a process works on it.
    pub async fn delete_run(&self, run: RunId) -> Result<(), StoreError> {
        let path = self.path();
        let mut transaction = self.begin().await?;
        self.idle_run(&mut transaction, run).await?;
        sqlx::query("DELETE FROM runs WHERE id = ?")
            .bind(run)
            .execute(&mut *transaction)
            .await
            .at(path)?;
        transaction.commit().await.at(path)
    }
}

async fn insert_run(
    connection: &mut SqliteConnection,
    number: Option<RunId>,
    description: &RunDescription,
    evaluation_key: &str,
) -> SqlxResult<RunId> {
    let requests: Vec<String> =
        description.budget_requests.iter().map(ToString::to_string).collect();
    let owner = Owner::this_process();
    sqlx::query_scalar(
        "INSERT INTO runs (id, model, model_digest, data, profile, strategy, measure, objective,
             seed, episodes_planned, batch, budget_requests, budgets,
             eight_bit_latency_s, eight_bit_energy_j, eight_bit_size_bytes,
             eight_bit_peak_memory_bytes, config, evaluation_key,
             owner_host, owner_process_space, owner_process_id, owner_process_start_ticks,
             heartbeat_unix_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         RETURNING id",
    )
    .bind(number)
    .bind(description.model.clone())
    .bind(description.model_digest.clone())
    .bind(description.data.clone())
    .bind(description.profile.clone())
    .bind(description.strategy.word())
    .bind(description.measure.word())
    .bind(description.objective.word())
    .bind(description.seed.cast_signed())
    .bind(description.episodes_planned)
    .bind(integer(description.batch)?)
    .bind(to_json(&requests)?)
    .bind(to_json(&description.budgets)?)
    .bind(description.eight_bit_cost.latency_s)
    .bind(description.eight_bit_cost.energy_j)
    .bind(integer(description.eight_bit_cost.size_bytes)?)
    .bind(integer(description.eight_bit_cost.peak_memory_bytes)?)
    .bind(to_json(&description.config)?)
    .bind(evaluation_key.to_owned())
    .bind(owner.host.as_str())
    .bind(owner.process_space.as_str())
    .bind(owner.process_id)
    .bind(owner.start_ticks)
    .bind(now_unix_ms())
    .fetch_one(connection)
    .await
}

async fn insert_layers(
    connection: &mut SqliteConnection,
    run: RunId,
    layers: &[LayerDescription],
) -> SqlxResult<()> {
    for (index, layer) in (0_i64..).zip(layers) {
        sqlx::query(
            "INSERT INTO layers (run_id, layer_index, name, kind, macs, weights, pinned)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(run)
        .bind(index)
        .bind(layer.name.clone())
        .bind(layer.kind.clone())
        .bind(integer(layer.macs)?)
        .bind(integer(layer.weights)?)
        .bind(layer.pinned)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn drop_checkpoint(connection: &mut SqliteConnection, run: RunId) -> SqlxResult<()> {
    sqlx::query("DELETE FROM checkpoints WHERE run_id = ?")
        .bind(run)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM checkpoint_deltas WHERE run_id = ?")
        .bind(run)
        .execute(connection)
        .await?;
    Ok(())
}

async fn read_layers(
    connection: &mut SqliteConnection,
    run: RunId,
) -> SqlxResult<Vec<LayerDescription>> {
    let rows = sqlx::query("SELECT * FROM layers WHERE run_id = ? ORDER BY layer_index")
        .bind(run)
        .fetch_all(connection)
        .await?;
    let layer = |row: &SqliteRow| {
        Ok(LayerDescription {
            name: row.try_get("name")?,
            kind: row.try_get("kind")?,
            macs: count(row, "macs")?,
            weights: count(row, "weights")?,
            pinned: row.try_get("pinned")?,
        })
    };
    rows.iter().map(layer).collect()
}

async fn read_qualities(
    connection: &mut SqliteConnection,
    run: RunId,
) -> SqlxResult<Vec<(String, Quality)>> {
    let rows = sqlx::query("SELECT * FROM run_qualities WHERE run_id = ?")
        .bind(run)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((row.try_get("subject")?, quality(row)?))).collect()
}

fn run_of(
    row: &SqliteRow,
    layers: Vec<LayerDescription>,
    qualities: &[(String, Quality)],
) -> SqlxResult<Run> {
    let quality =
        |subject| qualities.iter().find(|(of, _)| of == subject).map(|(_, quality)| *quality);
    Ok(Run {
        id: row.try_get("id")?,
        created_at: row.try_get("created_at")?,
        evaluation_key: row.try_get("evaluation_key")?,
        description: RunDescription {
            model: row.try_get("model")?,
            model_digest: row.try_get("model_digest")?,
            data: row.try_get("data")?,
            profile: row.try_get("profile")?,
            strategy: word(row, "strategy", Strategy::ALL, Strategy::word)?,
            measure: word(row, "measure", Measure::ALL, Measure::word)?,
            seed: row.try_get::<i64, _>("seed")?.cast_unsigned(),
            episodes_planned: row.try_get("episodes_planned")?,
            batch: count(row, "batch")?,
            budget_requests: budget_requests(row, "budget_requests")?,
            budgets: json(row, "budgets")?,
            objective: word(row, "objective", CostKind::ALL, CostKind::word)?,
            layers,
            float_quality: quality("float-search").unwrap_or_default(),
            eight_bit_cost: cost(row, "eight_bit_")?,
            config: json(row, "config")?,
        },
        result: RunResult {
            state: word(row, "state", RunState::ALL, RunState::word)?,
            error: row.try_get("error")?,
            episodes: row.try_get("episodes")?,
            evaluations: row.try_get("evaluations")?,
            wall_s: number_or_nan(row, "wall_s")?,
            best_episode: row.try_get("best_episode")?,
            best_test: quality("best-test"),
            float_test: quality("float-test"),
            tested: json(row, "tested")?,
        },
    })
}

/// Budgets as they were typed.
pub(super) fn budget_requests(
    row: &SqliteRow,
    column: &str,
) -> SqlxResult<Vec<crate::domain::BudgetRequest>> {
    let texts: Vec<String> = json(row, column)?;
    texts
        .iter()
        .map(|text| text.parse().map_err(|error: String| unreadable(column, error)))
        .collect()
}
