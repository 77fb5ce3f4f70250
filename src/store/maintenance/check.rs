//! Whether a database is whole: by SQLite's own checks, and by what refers to what.

use std::path::Path;

use sqlx::{Sqlite, Transaction};

use crate::store::{Store, StoreError, error::At, open::latest_schema};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseCheck {
    /// What is wrong, in SQLite's words; empty for a sound database.
    pub problems: Vec<String>,
    /// Number of the schema's last step; `None` where damage hides it.
    pub schema_version: Option<i64>,
    /// The schema that this program writes.
    pub schema_latest: i64,
    /// `None` where damage keeps from counting.
    pub runs: Option<u64>,
    pub episodes: Option<u64>,
}

impl DatabaseCheck {
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

impl Store {
    /// Reads all of `path`, of this schema or an older one, and changes nothing. Others may
    /// write meanwhile: one moment is looked at.
    ///
    /// # Errors
    /// Where there is no database of ours to check; damage is an answer, not an error.
    pub async fn check(path: impl AsRef<Path>) -> Result<DatabaseCheck, StoreError> {
        let mut check = DatabaseCheck {
            problems: Vec::new(),
            schema_version: None,
            schema_latest: latest_schema(),
            runs: None,
            episodes: None,
        };
        match look_through(path.as_ref(), &mut check).await {
            Err(StoreError::Corrupt { detail, .. }) => {
                // Where SQLite's own list came about, the error only repeats it.
                if check.is_sound() {
                    check.problems.push(detail);
                }
            }
            result => result?,
        }
        Ok(check)
    }
}

async fn look_through(path: &Path, check: &mut DatabaseCheck) -> Result<(), StoreError> {
    let (store, schema) = Store::open_any_schema(path).await?;
    check.schema_version = Some(schema);
    let mut now = store.inner.readers.begin().await.at(path)?;
    let answers: Vec<String> =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut *now).await.at(path)?;
    // An answer may be several lines under a heading in asterisks.
    let lines = answers.iter().flat_map(|answer| answer.lines());
    let problems = lines.filter(|line| *line != "ok" && !line.starts_with("***"));
    check.problems.extend(problems.map(ToOwned::to_owned));
    check.problems.extend(lost_references(path, &mut now).await?);
    check.runs = Some(count(path, &mut now, "runs").await?);
    check.episodes = Some(count(path, &mut now, "episodes").await?);
    now.rollback().await.at(path)?;
    store.close().await;
    Ok(())
}

async fn lost_references(
    path: &Path,
    now: &mut Transaction<'_, Sqlite>,
) -> Result<Vec<String>, StoreError> {
    let lost: Vec<(String, String, i64)> = sqlx::query_as(
        r#"SELECT "table", parent, count(*) FROM pragma_foreign_key_check GROUP BY 1, 2"#,
    )
    .fetch_all(&mut **now)
    .await
    .at(path)?;
    let lost = lost.into_iter();
    Ok(lost
        .map(|(table, parent, n_rows)| {
            format!("rows of {table} that refer to missing rows of {parent}: {n_rows}")
        })
        .collect())
}

/// Rows of a table, none where an older schema has no such table.
async fn count(
    path: &Path,
    now: &mut Transaction<'_, Sqlite>,
    table: &'static str,
) -> Result<u64, StoreError> {
    let is_there: bool = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = ?")
        .bind(table)
        .fetch_one(&mut **now)
        .await
        .at(path)?;
    if !is_there {
        return Ok(0);
    }
    let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    let n_rows: i64 = sqlx::query_scalar(count).fetch_one(&mut **now).await.at(path)?;
    Ok(n_rows.unsigned_abs())
}
