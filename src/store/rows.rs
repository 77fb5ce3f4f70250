//! Columns to domain values and back.

use sqlx::{
    Row, Sqlite, SqliteConnection,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

use crate::domain::{Bits, BitwidthPolicy, Cost, LayerBits, Measure, Quality};

pub(super) type SqlxResult<T> = Result<T, sqlx::Error>;
pub(super) type Statement = Query<'static, Sqlite, SqliteArguments>;

/// SQLite has no NaN and writes NULL for it.
pub(super) fn number_or_nan(row: &SqliteRow, column: &str) -> SqlxResult<f64> {
    Ok(row.try_get::<Option<f64>, _>(column)?.unwrap_or(f64::NAN))
}

/// A count as SQLite's signed integer.
pub(super) fn integer(value: u64) -> SqlxResult<i64> {
    i64::try_from(value)
        .map_err(|_| sqlx::Error::Encode(format!("{value} is above 2^63 - 1").into()))
}

pub(super) fn count(row: &SqliteRow, column: &str) -> SqlxResult<u64> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value).map_err(|_| unreadable(column, format!("{value} is below 0")))
}

/// The one of `all` whose word the column holds.
pub(super) fn word<T: Copy, const N: usize>(
    row: &SqliteRow,
    column: &str,
    all: [T; N],
    word: impl Fn(T) -> &'static str,
) -> SqlxResult<T> {
    let text: String = row.try_get(column)?;
    all.into_iter()
        .find(|&value| word(value) == text)
        .ok_or_else(|| unreadable(column, format!("{text:?} is not known")))
}

pub(super) fn json<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: &str) -> SqlxResult<T> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, error))
}

pub(super) fn optional_json<T: serde::de::DeserializeOwned>(
    row: &SqliteRow,
    column: &str,
) -> SqlxResult<Option<T>> {
    let text: Option<String> = row.try_get(column)?;
    let read = |text: String| serde_json::from_str(&text).map_err(|e| unreadable(column, e));
    text.map(read).transpose()
}

pub(super) fn to_json(value: &impl serde::Serialize) -> SqlxResult<String> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// A policy as `[[8,8],[4,6]]`: weight and activation bits of each layer.
pub(super) fn policy_to_json(policy: &BitwidthPolicy) -> SqlxResult<String> {
    let bits: Vec<[u8; 2]> =
        policy.layers().iter().map(|layer| [layer.weight.get(), layer.activation.get()]).collect();
    to_json(&bits)
}

pub(super) fn policy(column: &str, text: &str) -> SqlxResult<BitwidthPolicy> {
    let bits: Vec<[Bits; 2]> =
        serde_json::from_str(text).map_err(|error| unreadable(column, error))?;
    let layers = bits.into_iter().map(|[weight, activation]| LayerBits { weight, activation });
    Ok(BitwidthPolicy::new(layers.collect()))
}

/// Binds quality by `measure`, then top1, top5, loss, agreement, kl, mse.
pub(super) fn bind_quality(statement: Statement, quality: &Quality, measure: Measure) -> Statement {
    bind_measured(statement.bind(measure.of(quality)), quality)
}

/// Binds top1, top5, loss, agreement, kl, mse.
pub(super) fn bind_measured(statement: Statement, quality: &Quality) -> Statement {
    statement
        .bind(quality.top1)
        .bind(quality.top5)
        .bind(quality.loss)
        .bind(quality.agreement)
        .bind(quality.kl)
        .bind(quality.mse)
}

pub(super) fn quality(row: &SqliteRow) -> SqlxResult<Quality> {
    Ok(Quality {
        top1: row.try_get("top1")?,
        top5: row.try_get("top5")?,
        loss: row.try_get("loss_nats")?,
        agreement: row.try_get("agreement")?,
        kl: row.try_get("kl_nats")?,
        mse: row.try_get("mse")?,
    })
}

/// Reads the four cost columns whose names begin with `prefix`.
pub(super) fn cost(row: &SqliteRow, prefix: &str) -> SqlxResult<Cost> {
    let name = |column: &str| format!("{prefix}{column}");
    Ok(Cost {
        latency_s: number_or_nan(row, &name("latency_s"))?,
        energy_j: number_or_nan(row, &name("energy_j"))?,
        size_bytes: count(row, &name("size_bytes"))?,
        peak_memory_bytes: count(row, &name("peak_memory_bytes"))?,
    })
}

/// Writes quality that was measured beside the episodes; see `run_qualities`.
pub(super) async fn write_run_quality(
    connection: &mut SqliteConnection,
    run: i64,
    subject: &'static str,
    quality: &Quality,
    measure: Measure,
) -> SqlxResult<()> {
    let statement = sqlx::query(
        "INSERT OR REPLACE INTO run_qualities
             (run_id, subject, quality, top1, top5, loss_nats, agreement, kl_nats, mse)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    bind_quality(statement.bind(run).bind(subject), quality, measure).execute(connection).await?;
    Ok(())
}

pub(super) fn unreadable(
    column: &str,
    why: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: why.into() }
}
