//! Worker processes that have this file open, as each last described itself.

use sqlx::sqlite::SqliteRow;

use super::{
    LocalEvalQueue, StoreError,
    error::At,
    lease::now_unix_ms,
    rows::{SqlxResult, json, to_json},
};
use crate::queue::{WORKER_SILENCE, WorkerCard, WorkerRegistry};

impl WorkerRegistry for LocalEvalQueue {
    type Error = StoreError;

    async fn report(&self, card: &WorkerCard) -> Result<(), StoreError> {
        let text = to_json(card).at(self.store().path())?;
        let now = now_unix_ms();
        self.write(|| {
            sqlx::query(
                "INSERT INTO evaluation_workers (name, card, seen_unix_ms) VALUES (?, ?, ?)
                 ON CONFLICT (name) DO UPDATE SET card = excluded.card, seen_unix_ms = excluded.seen_unix_ms",
            )
            .bind(card.name.clone())
            .bind(text.clone())
            .bind(now)
        })
        .await?;
        let forgotten = silent_since();
        self.write(|| {
            sqlx::query("DELETE FROM evaluation_workers WHERE seen_unix_ms < ?").bind(forgotten)
        })
        .await?;
        Ok(())
    }

    async fn leave(&self, name: &str) -> Result<(), StoreError> {
        self.write(|| {
            sqlx::query("DELETE FROM evaluation_workers WHERE name = ?").bind(name.to_owned())
        })
        .await?;
        Ok(())
    }

    async fn workers(&self) -> Result<Vec<WorkerCard>, StoreError> {
        let rows = sqlx::query(
            "SELECT card FROM evaluation_workers WHERE seen_unix_ms >= ? ORDER BY name",
        )
        .bind(silent_since())
        .fetch_all(&self.store().inner.readers)
        .await
        .at(self.store().path())?;
        let card = |row: &SqliteRow| json(row, "card");
        rows.iter().map(card).collect::<SqlxResult<_>>().at(self.store().path())
    }
}

fn silent_since() -> i64 {
    let silence_ms = i64::try_from(WORKER_SILENCE.as_millis()).unwrap_or(i64::MAX);
    now_unix_ms().saturating_sub(silence_ms)
}
