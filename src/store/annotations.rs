//! Tags and notes that users put on searches.

use sqlx::SqliteConnection;

use super::{Store, StoreError, error::At, rows::SqlxResult};
use crate::domain::RunId;

impl Store {
    /// Replaces the tags, the note or both; an empty note is none.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`] where there is neither a job nor a run of this number.
    pub async fn annotate(
        &self,
        search: RunId,
        tags: Option<&[String]>,
        note: Option<&str>,
    ) -> Result<(), StoreError> {
        let path = self.path();
        let mut transaction = self.begin().await?;
        let known: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM runs WHERE id = ?1) OR EXISTS (SELECT 1 FROM jobs WHERE id = ?1)",
        )
        .bind(search)
        .fetch_one(&mut *transaction)
        .await
        .at(path)?;
        if !known {
            return Err(StoreError::UnknownRun { path: path.to_owned(), run: search });
        }
        write(&mut transaction, search, tags, note).await.at(path)?;
        transaction.commit().await.at(path)
    }
}

pub(super) async fn write(
    connection: &mut SqliteConnection,
    search: RunId,
    tags: Option<&[String]>,
    note: Option<&str>,
) -> SqlxResult<()> {
    if let Some(tags) = tags {
        sqlx::query("DELETE FROM search_tags WHERE search_id = ?")
            .bind(search)
            .execute(&mut *connection)
            .await?;
        for tag in tags {
            sqlx::query("INSERT OR IGNORE INTO search_tags (search_id, tag) VALUES (?, ?)")
                .bind(search)
                .bind(tag.clone())
                .execute(&mut *connection)
                .await?;
        }
    }
    match note {
        None => {}
        Some("") => {
            sqlx::query("DELETE FROM search_notes WHERE search_id = ?")
                .bind(search)
                .execute(connection)
                .await?;
        }
        Some(note) => {
            sqlx::query("INSERT OR REPLACE INTO search_notes (search_id, note) VALUES (?, ?)")
                .bind(search)
                .bind(note.to_owned())
                .execute(connection)
                .await?;
        }
    }
    Ok(())
}
