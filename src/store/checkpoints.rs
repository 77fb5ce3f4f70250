//! Checkpoints: the latest state of a run, and what each episode added to the replay buffer.

use sqlx::{Row, SqliteConnection};

use super::{
    Store, StoreError,
    error::At,
    rows::{SqlxResult, optional_json},
};
use crate::domain::RunId;

/// What resuming after an episode needs, in the search's own encoding.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// Agent and random state after the episode; replaces the one before. `None` keeps that:
    /// a search that writes its megabytes only every few episodes runs the episodes since
    /// then again from their deltas.
    pub state: Option<Vec<u8>>,
    /// What the episode added to the replay buffer.
    pub delta: Vec<u8>,
    /// What was proposed and not judged yet; goes with `state`.
    pub in_flight: Option<serde_json::Value>,
}

/// All that was kept for resuming a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedCheckpoint {
    /// The latest state and the index of the episode it was taken after; `None` when no
    /// episode brought one.
    pub state: Option<(u32, Vec<u8>)>,
    /// One delta for every committed episode, in order.
    pub deltas: Vec<Vec<u8>>,
    /// What was proposed and not judged yet when the state was taken.
    pub in_flight: Option<serde_json::Value>,
}

impl Store {
    /// `None` when no episode was committed, or the run is completed.
    pub async fn load_checkpoint(&self, run: RunId) -> Result<Option<SavedCheckpoint>, StoreError> {
        self.require_run(run).await?;
        let path = self.path();
        // One transaction, so that state and deltas belong together.
        let mut transaction = self.inner.readers.begin().await.at(path)?;
        let deltas: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT delta FROM checkpoint_deltas WHERE run_id = ? ORDER BY episode_index",
        )
        .bind(run)
        .fetch_all(&mut *transaction)
        .await
        .at(path)?;
        let row =
            sqlx::query("SELECT episode_index, state, in_flight FROM checkpoints WHERE run_id = ?")
                .bind(run)
                .fetch_optional(&mut *transaction)
                .await
                .at(path)?;
        let (mut state, mut in_flight) = (None, None);
        if let Some(row) = row {
            state = Some((row.try_get(0).at(path)?, row.try_get(1).at(path)?));
            in_flight = optional_json(&row, "in_flight").at(path)?;
        }
        Ok((!deltas.is_empty()).then_some(SavedCheckpoint { state, deltas, in_flight }))
    }
}

pub(super) async fn write_checkpoint(
    connection: &mut SqliteConnection,
    run: RunId,
    episode: u32,
    checkpoint: &Checkpoint,
) -> SqlxResult<()> {
    sqlx::query("INSERT INTO checkpoint_deltas (run_id, episode_index, delta) VALUES (?, ?, ?)")
        .bind(run)
        .bind(episode)
        .bind(checkpoint.delta.clone())
        .execute(&mut *connection)
        .await?;
    let Some(state) = &checkpoint.state else { return Ok(()) };
    sqlx::query(
        "INSERT INTO checkpoints (run_id, episode_index, state, in_flight) VALUES (?, ?, ?, ?)
         ON CONFLICT (run_id) DO UPDATE
         SET episode_index = excluded.episode_index, state = excluded.state,
             in_flight = excluded.in_flight",
    )
    .bind(run)
    .bind(episode)
    .bind(state.clone())
    .bind(checkpoint.in_flight.as_ref().map(ToString::to_string))
    .execute(connection)
    .await?;
    Ok(())
}
