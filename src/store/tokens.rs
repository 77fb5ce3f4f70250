//! Who may use the service from other machines.

use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::{Row, sqlite::SqliteRow};

use super::{
    Store, StoreError,
    error::At,
    rows::{SqlxResult, word},
};

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    Read,
    /// Reading too.
    Write,
}

impl Scope {
    pub const ALL: [Scope; 2] = [Scope::Read, Scope::Write];

    pub const fn word(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Write => "write",
        }
    }
}

/// A token as it is kept: without the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenRecord {
    pub name: String,
    pub scope: Scope,
    /// UTC, as RFC 3339.
    pub created_at: String,
    pub revoked_at: Option<String>,
    /// SHA-256 of the token.
    #[serde(skip)]
    pub digest: Vec<u8>,
}

impl Store {
    /// Makes a token known; only its SHA-256 is kept.
    ///
    /// # Errors
    /// [`StoreError::TokenExists`].
    pub async fn add_token(&self, name: &str, scope: Scope, token: &str) -> Result<(), StoreError> {
        let path = self.path();
        let mut transaction = self.begin().await?;
        sqlx::query("DELETE FROM tokens WHERE name = ? AND revoked_at IS NOT NULL")
            .bind(name.to_owned())
            .execute(&mut *transaction)
            .await
            .at(path)?;
        let added = sqlx::query(
            "INSERT INTO tokens (name, scope, digest) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING",
        )
        .bind(name.to_owned())
        .bind(scope.word())
        .bind(Sha256::digest(token.as_bytes()).to_vec())
        .execute(&mut *transaction)
        .await
        .at(path)?;
        transaction.commit().await.at(path)?;
        match added.rows_affected() {
            0 => Err(StoreError::TokenExists { name: name.to_owned() }),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// [`StoreError::UnknownToken`].
    pub async fn revoke_token(&self, name: &str) -> Result<(), StoreError> {
        let revoked = sqlx::query(
            "UPDATE tokens SET revoked_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
             WHERE name = ? AND revoked_at IS NULL",
        )
        .bind(name.to_owned())
        .execute(self.writer()?)
        .await
        .at(self.path())?;
        match revoked.rows_affected() {
            0 => Err(StoreError::UnknownToken { name: name.to_owned() }),
            _ => Ok(()),
        }
    }

    /// All tokens, revoked ones too, by name.
    pub async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let rows = sqlx::query("SELECT * FROM tokens ORDER BY name")
            .fetch_all(&self.inner.readers)
            .await
            .at(self.path())?;
        let record = |row: &SqliteRow| {
            Ok(TokenRecord {
                name: row.try_get("name")?,
                scope: word(row, "scope", Scope::ALL, Scope::word)?,
                created_at: row.try_get("created_at")?,
                revoked_at: row.try_get("revoked_at")?,
                digest: row.try_get("digest")?,
            })
        };
        rows.iter().map(record).collect::<SqlxResult<_>>().at(self.path())
    }
}
