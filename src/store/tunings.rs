//! Tunings: created, kept epoch by epoch, claimed to go on, ended, read.

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    Store, StoreError,
    error::At,
    lease::{Heartbeat, Held, Lease, now_unix_ms},
    owner::Owner,
    rows::{
        SqlxResult, bind_measured, bind_quality, json, number_or_nan, policy, policy_to_json,
        quality, to_json, word,
    },
};
use crate::domain::{
    Measure, Quality, RunState, TuningDescription, TuningEpoch, TuningId, TuningRecord, TuningTest,
};

/// The right to write one tuning; kept alive until it is dropped.
#[derive(Debug)]
pub struct TuningClaim {
    id: TuningId,
    number: i64,
    measure: Measure,
    _heartbeat: Heartbeat,
}

impl TuningClaim {
    pub fn id(&self) -> TuningId {
        self.id
    }
}

/// What one epoch leaves.
#[derive(Debug, Clone, PartialEq)]
pub struct TuningStep<'a> {
    pub epoch: &'a TuningEpoch,
    /// The training's state after it; none for the start, which is made anew.
    pub state: Option<Vec<u8>>,
    /// The network, when it is the best so far.
    pub best_network: Option<Vec<u8>>,
}

impl Store {
    /// Adds a tuning in state running, which this process may write.
    pub async fn create_tuning(
        &self,
        description: &TuningDescription,
    ) -> Result<TuningClaim, StoreError> {
        let path = self.path();
        let mut transaction = self.begin().await?;
        let id = insert(&mut transaction, description).await.at(path)?;
        let float = &description.float_search;
        write_quality(&mut transaction, id, "float-search", float, description.measure)
            .await
            .at(path)?;
        transaction.commit().await.at(path)?;
        Ok(self.keep_claim(id, 1, description.measure))
    }

    /// Takes an interrupted, failed or abandoned tuning, so that this process may go on with it.
    ///
    /// # Errors
    /// [`StoreError::TuningBusy`] while another process works on it,
    /// [`StoreError::TuningCompleted`] when there is nothing left to do.
    pub async fn claim_tuning(&self, id: TuningId) -> Result<TuningClaim, StoreError> {
        let path = self.path();
        let mut transaction = self.begin().await?;
        let row = sqlx::query("SELECT * FROM tunings WHERE id = ?")
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await
            .at(path)?
            .ok_or_else(|| StoreError::UnknownTuning { path: path.to_owned(), tuning: id })?;
        let state = state_of(&row).at(path)?;
        let lease = Lease::of(&row).at(path)?;
        if state == RunState::Running && lease.is_alive() {
            let process_id = lease.owner.process_id;
            return Err(StoreError::TuningBusy { tuning: id, process_id });
        }
        if state == RunState::Completed {
            return Err(StoreError::TuningCompleted { tuning: id });
        }
        let number = row.try_get::<i64, _>("claim").at(path)? + 1;
        let measure = measure_of(&row).at(path)?;
        Held::Tuning(id).take(&mut transaction, number).await.at(path)?;
        transaction.commit().await.at(path)?;
        Ok(self.keep_claim(id, number, measure))
    }

    fn keep_claim(&self, id: TuningId, number: i64, measure: Measure) -> TuningClaim {
        let _heartbeat = self.start_heartbeat(Held::Tuning(id), number);
        TuningClaim { id, number, measure, _heartbeat }
    }

    /// Commits an epoch with what is needed to go on after it, all or nothing.
    ///
    /// # Errors
    /// [`StoreError::TuningLost`] when another process took the tuning over.
    pub async fn commit_tuning_epoch(
        &self,
        claim: &TuningClaim,
        step: &TuningStep<'_>,
    ) -> Result<(), StoreError> {
        let path = self.path();
        let mut transaction = self.begin().await?;
        let best = step.best_network.as_ref().map(|_| step.epoch.epoch);
        let updated = sqlx::query(
            "UPDATE tunings SET wall_s = wall_s + ?3, best_epoch = coalesce(?4, best_epoch),
                 heartbeat_unix_ms = ?5
             WHERE id = ?1 AND claim = ?2 AND state = 'running'",
        )
        .bind(claim.id)
        .bind(claim.number)
        .bind(step.epoch.wall_s)
        .bind(best)
        .bind(now_unix_ms())
        .execute(&mut *transaction)
        .await
        .at(path)?;
        if updated.rows_affected() != 1 {
            return Err(StoreError::TuningLost { tuning: claim.id });
        }
        write_epoch(&mut transaction, claim, step).await.at(path)?;
        transaction.commit().await.at(path)
    }

    /// Ends a tuning in some other state than running; completed, with the figures on the test
    /// split.
    ///
    /// # Errors
    /// As [`Store::commit_tuning_epoch`].
    pub async fn end_tuning(
        &self,
        claim: &TuningClaim,
        state: RunState,
        error: Option<&str>,
        test: Option<&TuningTest>,
    ) -> Result<(), StoreError> {
        let path = self.path();
        let mut transaction = self.begin().await?;
        let updated = sqlx::query(
            "UPDATE tunings SET state = ?3, error = ?4
             WHERE id = ?1 AND claim = ?2 AND state = 'running'",
        )
        .bind(claim.id)
        .bind(claim.number)
        .bind(state.word())
        .bind(error.map(str::to_owned))
        .execute(&mut *transaction)
        .await
        .at(path)?;
        if updated.rows_affected() != 1 {
            return Err(StoreError::TuningLost { tuning: claim.id });
        }
        if let Some(test) = test {
            for (subject, quality) in [
                ("float-test", &test.float),
                ("start-test", &test.start),
                ("tuned-test", &test.tuned),
            ] {
                write_quality(&mut transaction, claim.id, subject, quality, claim.measure)
                    .await
                    .at(path)?;
            }
        }
        if state == RunState::Completed {
            sqlx::query("DELETE FROM tuning_checkpoints WHERE tuning_id = ?")
                .bind(claim.id)
                .execute(&mut *transaction)
                .await
                .at(path)?;
        }
        transaction.commit().await.at(path)
    }

    /// What the training was after its last finished epoch; none before the first.
    pub async fn tuning_checkpoint(&self, id: TuningId) -> Result<Option<Vec<u8>>, StoreError> {
        sqlx::query_scalar("SELECT state FROM tuning_checkpoints WHERE tuning_id = ?")
            .bind(id)
            .fetch_optional(&self.inner.readers)
            .await
            .at(self.path())
    }

    /// The best network so far; none before the start was judged.
    pub async fn tuned_network(&self, id: TuningId) -> Result<Option<Vec<u8>>, StoreError> {
        sqlx::query_scalar("SELECT network FROM tuned_networks WHERE tuning_id = ?")
            .bind(id)
            .fetch_optional(&self.inner.readers)
            .await
            .at(self.path())
    }

    pub async fn tuning(&self, id: TuningId) -> Result<TuningRecord, StoreError> {
        let path = self.path();
        // One transaction, so that state and epochs belong together.
        let mut transaction = self.inner.readers.begin().await.at(path)?;
        let row = sqlx::query("SELECT * FROM tunings WHERE id = ?")
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await
            .at(path)?
            .ok_or_else(|| StoreError::UnknownTuning { path: path.to_owned(), tuning: id })?;
        let epochs = sqlx::query("SELECT * FROM tuning_epochs WHERE tuning_id = ? ORDER BY epoch")
            .bind(id)
            .fetch_all(&mut *transaction)
            .await
            .at(path)?;
        let qualities = sqlx::query("SELECT * FROM tuning_qualities WHERE tuning_id = ?")
            .bind(id)
            .fetch_all(&mut *transaction)
            .await
            .at(path)?;
        record(&row, &epochs, &qualities).at(path)
    }

    /// The newest tuning that was interrupted, failed or whose process is gone.
    pub async fn newest_open_tuning(&self) -> Result<Option<TuningId>, StoreError> {
        let path = self.path();
        let rows = sqlx::query("SELECT * FROM tunings WHERE state <> 'completed' ORDER BY id DESC")
            .fetch_all(&self.inner.readers)
            .await
            .at(path)?;
        for row in &rows {
            let is_running = state_of(row).at(path)? == RunState::Running;
            if !is_running || !Lease::of(row).at(path)?.is_alive() {
                return Ok(Some(row.try_get("id").at(path)?));
            }
        }
        Ok(None)
    }
}

async fn insert(
    connection: &mut SqliteConnection,
    description: &TuningDescription,
) -> SqlxResult<TuningId> {
    let owner = Owner::this_process();
    sqlx::query_scalar(
        "INSERT INTO tunings (run_id, model, model_digest, data, data_digest, policy, measure, seed,
             epochs_planned, config, owner_host, owner_process_space, owner_process_id,
             owner_process_start_ticks, heartbeat_unix_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         RETURNING id",
    )
    .bind(description.run)
    .bind(description.model.clone())
    .bind(description.model_digest.clone())
    .bind(description.data.clone())
    .bind(description.data_digest.clone())
    .bind(policy_to_json(&description.policy)?)
    .bind(description.measure.word())
    .bind(description.seed.cast_signed())
    .bind(description.epochs_planned)
    .bind(to_json(&description.config)?)
    .bind(owner.host.as_str())
    .bind(owner.process_space.as_str())
    .bind(owner.process_id)
    .bind(owner.start_ticks)
    .bind(now_unix_ms())
    .fetch_one(connection)
    .await
}

async fn write_quality(
    connection: &mut SqliteConnection,
    id: TuningId,
    subject: &'static str,
    quality: &Quality,
    measure: Measure,
) -> SqlxResult<()> {
    let statement = sqlx::query(
        "INSERT OR REPLACE INTO tuning_qualities
             (tuning_id, subject, quality, top1, top5, loss_nats, agreement, kl_nats, mse)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id)
    .bind(subject);
    bind_quality(statement, quality, measure).execute(connection).await?;
    Ok(())
}

async fn write_epoch(
    connection: &mut SqliteConnection,
    claim: &TuningClaim,
    step: &TuningStep<'_>,
) -> SqlxResult<()> {
    let epoch = step.epoch;
    let statement = sqlx::query(
        "INSERT INTO tuning_epochs (tuning_id, epoch, training_loss_nats, learning_rate, quality,
             top1, top5, loss_nats, agreement, kl_nats, mse, wall_s)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(claim.id)
    .bind(epoch.epoch)
    .bind(epoch.training_loss)
    .bind(epoch.learning_rate)
    .bind(claim.measure.of(&epoch.quality));
    bind_measured(statement, &epoch.quality).bind(epoch.wall_s).execute(&mut *connection).await?;
    if let Some(network) = &step.best_network {
        sqlx::query("INSERT OR REPLACE INTO tuned_networks (tuning_id, network) VALUES (?, ?)")
            .bind(claim.id)
            .bind(network.clone())
            .execute(&mut *connection)
            .await?;
    }
    if let Some(state) = &step.state {
        sqlx::query(
            "INSERT OR REPLACE INTO tuning_checkpoints (tuning_id, epoch, state) VALUES (?, ?, ?)",
        )
        .bind(claim.id)
        .bind(epoch.epoch)
        .bind(state.clone())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn state_of(row: &SqliteRow) -> SqlxResult<RunState> {
    word(row, "state", RunState::ALL, RunState::word)
}

fn measure_of(row: &SqliteRow) -> SqlxResult<Measure> {
    word(row, "measure", Measure::ALL, Measure::word)
}

fn record(
    row: &SqliteRow,
    epochs: &[SqliteRow],
    qualities: &[SqliteRow],
) -> SqlxResult<TuningRecord> {
    let of = |subject: &str| -> SqlxResult<Option<Quality>> {
        for row in qualities {
            if row.try_get::<String, _>("subject")? == subject {
                return quality(row).map(Some);
            }
        }
        Ok(None)
    };
    let test = match (of("float-test")?, of("start-test")?, of("tuned-test")?) {
        (Some(float), Some(start), Some(tuned)) => Some(TuningTest { float, start, tuned }),
        _ => None,
    };
    Ok(TuningRecord {
        id: row.try_get("id")?,
        created_at: row.try_get("created_at")?,
        state: state_of(row)?,
        error: row.try_get("error")?,
        description: TuningDescription {
            run: row.try_get("run_id")?,
            model: row.try_get("model")?,
            model_digest: row.try_get("model_digest")?,
            data: row.try_get("data")?,
            data_digest: row.try_get("data_digest")?,
            policy: policy("policy", &row.try_get::<String, _>("policy")?)?,
            measure: measure_of(row)?,
            seed: row.try_get::<i64, _>("seed")?.cast_unsigned(),
            epochs_planned: row.try_get("epochs_planned")?,
            float_search: of("float-search")?.unwrap_or_default(),
            config: json(row, "config")?,
        },
        epochs: epochs.iter().map(epoch).collect::<SqlxResult<_>>()?,
        best_epoch: row.try_get("best_epoch")?,
        test,
        wall_s: number_or_nan(row, "wall_s")?,
    })
}

fn epoch(row: &SqliteRow) -> SqlxResult<TuningEpoch> {
    Ok(TuningEpoch {
        epoch: row.try_get("epoch")?,
        training_loss: row.try_get("training_loss_nats")?,
        learning_rate: row.try_get("learning_rate")?,
        quality: quality(row)?,
        wall_s: number_or_nan(row, "wall_s")?,
    })
}
