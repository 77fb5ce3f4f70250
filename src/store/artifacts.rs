//! Artifacts: the files a run wrote.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sqlx::Row;

use super::{Store, StoreError, error::At, rows::SqlxResult};
use crate::domain::RunId;

/// A file that belongs to a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Artifact {
    /// Such as `policy`, `pareto-svg`, `report`.
    pub kind: String,
    pub path: PathBuf,
    /// UTC, as RFC 3339 with milliseconds.
    pub created_at: String,
}

impl Store {
    /// Notes that the run wrote `file`; a second time renews the date.
    pub async fn add_artifact(
        &self,
        run: RunId,
        kind: &str,
        file: &Path,
    ) -> Result<(), StoreError> {
        self.require_run(run).await?;
        let mut transaction = self.begin().await?;
        sqlx::query("INSERT OR REPLACE INTO artifacts (run_id, kind, path) VALUES (?, ?, ?)")
            .bind(run)
            .bind(kind.to_owned())
            .bind(file.to_string_lossy().into_owned())
            .execute(&mut *transaction)
            .await
            .at(self.path())?;
        transaction.commit().await.at(self.path())
    }

    /// By kind, then path.
    pub async fn artifacts(&self, run: RunId) -> Result<Vec<Artifact>, StoreError> {
        self.require_run(run).await?;
        let rows = sqlx::query("SELECT * FROM artifacts WHERE run_id = ? ORDER BY kind, path")
            .bind(run)
            .fetch_all(&self.inner.readers)
            .await
            .at(self.path())?;
        let artifact = |row: &sqlx::sqlite::SqliteRow| {
            Ok(Artifact {
                kind: row.try_get("kind")?,
                path: PathBuf::from(row.try_get::<String, _>("path")?),
                created_at: row.try_get("created_at")?,
            })
        };
        rows.iter().map(artifact).collect::<SqlxResult<_>>().at(self.path())
    }
}
