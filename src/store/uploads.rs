//! Files that were handed to the service; what they hold lies beside the database.

use serde::Serialize;
use sqlx::{Row, sqlite::SqliteRow};

use super::{
    Store, StoreError,
    error::At,
    rows::{SqlxResult, count, integer, word},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UploadKind {
    Model,
    Data,
    Profile,
}

impl UploadKind {
    pub const ALL: [UploadKind; 3] = [UploadKind::Model, UploadKind::Data, UploadKind::Profile];

    pub const fn word(self) -> &'static str {
        match self {
            UploadKind::Model => "model",
            UploadKind::Data => "data",
            UploadKind::Profile => "profile",
        }
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Upload {
    /// SHA-256 of what it holds, hexadecimal.
    pub digest: String,
    pub kind: UploadKind,
    /// File name as it was handed in.
    pub name: String,
    pub size_bytes: u64,
    pub submitter: String,
    /// UTC, as RFC 3339.
    pub created_at: String,
}

impl Store {
    /// Notes a file; the same file again changes nothing.
    pub async fn add_upload(
        &self,
        digest: &str,
        kind: UploadKind,
        name: &str,
        size_bytes: u64,
        submitter: &str,
    ) -> Result<(), StoreError> {
        let path = self.path();
        sqlx::query(
            "INSERT INTO uploads (digest, kind, name, size_bytes, submitter) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (digest) DO NOTHING",
        )
        .bind(digest.to_owned())
        .bind(kind.word())
        .bind(name.to_owned())
        .bind(integer(size_bytes).at(path)?)
        .bind(submitter.to_owned())
        .execute(self.writer()?)
        .await
        .at(path)?;
        Ok(())
    }

    /// Forgets a file. False where it was not known.
    pub async fn remove_upload(&self, digest: &str) -> Result<bool, StoreError> {
        let removed = sqlx::query("DELETE FROM uploads WHERE digest = ?")
            .bind(digest.to_owned())
            .execute(self.writer()?)
            .await
            .at(self.path())?;
        Ok(removed.rows_affected() > 0)
    }

    /// Files of one kind, newest first.
    pub async fn uploads(&self, kind: UploadKind) -> Result<Vec<Upload>, StoreError> {
        let path = self.path();
        let rows =
            sqlx::query("SELECT * FROM uploads WHERE kind = ? ORDER BY created_at DESC, digest")
                .bind(kind.word())
                .fetch_all(&self.inner.readers)
                .await
                .at(path)?;
        rows.iter().map(upload).collect::<SqlxResult<_>>().at(path)
    }
}

fn upload(row: &SqliteRow) -> SqlxResult<Upload> {
    Ok(Upload {
        digest: row.try_get("digest")?,
        kind: word(row, "kind", UploadKind::ALL, UploadKind::word)?,
        name: row.try_get("name")?,
        size_bytes: count(row, "size_bytes")?,
        submitter: row.try_get("submitter")?,
        created_at: row.try_get("created_at")?,
    })
}
