//! Measurement subjects, and what was measured on them without a search.

use sqlx::{Row, sqlite::SqliteRow};

use super::{
    Store, StoreError,
    error::At,
    rows::{SqlxResult, bind_measured, count, integer, number_or_nan, quality, unreadable, word},
};
use crate::domain::{
    Bits, HessianTrace, LayerBits, MethodKey, Operand, Quality, QuantizationRecord,
    SensitivityRecord, SubjectDescription,
};

/// Number of a measurement subject, from 1.
pub type SubjectId = i64;

/// A subject with what is known of its float network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoredSubject {
    pub id: SubjectId,
    pub float: Quality,
    pub float_evaluate_s: f64,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Store {
    /// The subject that was measured on before by this version of the program, if any.
    pub async fn find_subject(
        &self,
        subject: &SubjectDescription,
    ) -> Result<Option<StoredSubject>, StoreError> {
        let columns = subject_counts(subject).at(self.path())?;
        let row = sqlx::query(
            "SELECT * FROM measurement_subjects
             WHERE model_digest = ? AND data_digest = ? AND split = ? AND images = ?
                 AND calibration_images = ? AND seed = ? AND haq_version = ?",
        )
        .bind(subject.model_digest.clone())
        .bind(subject.data_digest.clone())
        .bind(subject.split.clone())
        .bind(columns[0])
        .bind(columns[1])
        .bind(subject.seed.cast_signed())
        .bind(VERSION)
        .fetch_optional(&self.inner.readers)
        .await
        .at(self.path())?;
        row.as_ref().map(stored_subject).transpose().at(self.path())
    }

    /// Keeps a subject with its float network's figures; one that is there already stays.
    pub async fn add_subject(
        &self,
        subject: &SubjectDescription,
        float: &Quality,
        float_evaluate_s: f64,
    ) -> Result<StoredSubject, StoreError> {
        let columns = subject_counts(subject).at(self.path())?;
        let mut transaction = self.begin().await?;
        let statement = sqlx::query(
            "INSERT INTO measurement_subjects
                 (model, model_digest, data, data_digest, split, images, calibration_images, seed,
                  haq_version, top1, top5, loss_nats, agreement, kl_nats, mse, evaluate_s)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT DO NOTHING",
        )
        .bind(subject.model.clone())
        .bind(subject.model_digest.clone())
        .bind(subject.data.clone())
        .bind(subject.data_digest.clone())
        .bind(subject.split.clone())
        .bind(columns[0])
        .bind(columns[1])
        .bind(subject.seed.cast_signed())
        .bind(VERSION);
        bind_measured(statement, float)
            .bind(float_evaluate_s)
            .execute(&mut *transaction)
            .await
            .at(self.path())?;
        transaction.commit().await.at(self.path())?;
        let stored = self.find_subject(subject).await?;
        Ok(stored.expect("the subject was just kept"))
    }

    /// Keeps a row of a comparison; one that is there already is replaced.
    pub async fn keep_quantization(
        &self,
        subject: SubjectId,
        record: &QuantizationRecord,
    ) -> Result<(), StoreError> {
        let size_bytes = integer(record.size_bytes).at(self.path())?;
        let mut transaction = self.begin().await?;
        let statement = sqlx::query(
            "INSERT OR REPLACE INTO quantizations
                 (subject_id, method, recipe, weight_bits, activation_bits, pins, top1, top5,
                  loss_nats, agreement, kl_nats, mse, size_bytes, calibrate_s, round_s, evaluate_s)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(subject)
        .bind(record.method.name.clone())
        .bind(record.method.recipe.clone())
        .bind(record.bits.weight.get())
        .bind(record.bits.activation.get())
        .bind(record.pins.clone());
        bind_measured(statement, &record.quality)
            .bind(size_bytes)
            .bind(record.calibrate_s)
            .bind(record.round_s)
            .bind(record.evaluate_s)
            .execute(&mut *transaction)
            .await
            .at(self.path())?;
        transaction.commit().await.at(self.path())
    }

    /// All rows of comparisons on a subject, by method, then bits.
    pub async fn quantizations(
        &self,
        subject: SubjectId,
    ) -> Result<Vec<QuantizationRecord>, StoreError> {
        let rows = sqlx::query("SELECT * FROM quantizations WHERE subject_id = ?")
            .bind(subject)
            .fetch_all(&self.inner.readers)
            .await
            .at(self.path())?;
        rows.iter().map(quantization).collect::<SqlxResult<_>>().at(self.path())
    }

    /// Keeps what single roundings did, all or none; those that are there already are replaced.
    pub async fn keep_sensitivities(
        &self,
        subject: SubjectId,
        method: &MethodKey,
        records: &[SensitivityRecord],
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for record in records {
            let layer_index = integer(record.layer_index as u64).at(self.path())?;
            let statement = sqlx::query(
                "INSERT OR REPLACE INTO sensitivities
                     (subject_id, method, recipe, layer_index, operand, bits, name, top1, top5,
                      loss_nats, agreement, kl_nats, mse, squared_error)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(subject)
            .bind(method.name.clone())
            .bind(method.recipe.clone())
            .bind(layer_index)
            .bind(record.operand.word())
            .bind(record.bits.get())
            .bind(record.name.clone());
            bind_measured(statement, &record.quality)
                .bind(record.squared_error)
                .execute(&mut *transaction)
                .await
                .at(self.path())?;
        }
        transaction.commit().await.at(self.path())
    }

    /// What single roundings by a method did on a subject, by layer, tensor and bits.
    pub async fn sensitivities(
        &self,
        subject: SubjectId,
        method: &MethodKey,
    ) -> Result<Vec<SensitivityRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM sensitivities WHERE subject_id = ? AND method = ? AND recipe = ?
             ORDER BY layer_index, operand DESC, bits",
        )
        .bind(subject)
        .bind(method.name.clone())
        .bind(method.recipe.clone())
        .fetch_all(&self.inner.readers)
        .await
        .at(self.path())?;
        rows.iter().map(sensitivity).collect::<SqlxResult<_>>().at(self.path())
    }

    /// Keeps the Hessian traces of all layers.
    pub async fn keep_hessian_traces(
        &self,
        subject: SubjectId,
        probes: u32,
        probed_images: u64,
        traces: &[HessianTrace],
    ) -> Result<(), StoreError> {
        let probed_images = integer(probed_images).at(self.path())?;
        let mut transaction = self.begin().await?;
        for trace in traces {
            sqlx::query(
                "INSERT OR REPLACE INTO hessian_traces
                     (subject_id, probes, probed_images, layer_index, name, weights, trace,
                      standard_error)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(subject)
            .bind(probes)
            .bind(probed_images)
            .bind(integer(trace.layer_index as u64).at(self.path())?)
            .bind(trace.name.clone())
            .bind(integer(trace.weights).at(self.path())?)
            .bind(trace.trace)
            .bind(trace.standard_error)
            .execute(&mut *transaction)
            .await
            .at(self.path())?;
        }
        transaction.commit().await.at(self.path())
    }

    /// The Hessian traces of a subject, in the order of layers; empty where none were kept.
    pub async fn hessian_traces(
        &self,
        subject: SubjectId,
        probes: u32,
        probed_images: u64,
    ) -> Result<Vec<HessianTrace>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM hessian_traces
             WHERE subject_id = ? AND probes = ? AND probed_images = ? ORDER BY layer_index",
        )
        .bind(subject)
        .bind(probes)
        .bind(integer(probed_images).at(self.path())?)
        .fetch_all(&self.inner.readers)
        .await
        .at(self.path())?;
        rows.iter().map(hessian_trace).collect::<SqlxResult<_>>().at(self.path())
    }
}

/// Images and calibration images.
fn subject_counts(subject: &SubjectDescription) -> SqlxResult<[i64; 2]> {
    Ok([integer(subject.images)?, integer(subject.calibration_images)?])
}

fn stored_subject(row: &SqliteRow) -> SqlxResult<StoredSubject> {
    Ok(StoredSubject {
        id: row.try_get("id")?,
        float: quality(row)?,
        float_evaluate_s: number_or_nan(row, "evaluate_s")?,
    })
}

fn quantization(row: &SqliteRow) -> SqlxResult<QuantizationRecord> {
    Ok(QuantizationRecord {
        method: MethodKey { name: row.try_get("method")?, recipe: row.try_get("recipe")? },
        bits: LayerBits::new(bits(row, "weight_bits")?, bits(row, "activation_bits")?),
        pins: row.try_get("pins")?,
        quality: quality(row)?,
        size_bytes: count(row, "size_bytes")?,
        calibrate_s: number_or_nan(row, "calibrate_s")?,
        round_s: number_or_nan(row, "round_s")?,
        evaluate_s: number_or_nan(row, "evaluate_s")?,
    })
}

pub(super) fn sensitivity(row: &SqliteRow) -> SqlxResult<SensitivityRecord> {
    Ok(SensitivityRecord {
        layer_index: count(row, "layer_index")? as usize,
        name: row.try_get("name")?,
        operand: word(row, "operand", Operand::ALL, Operand::word)?,
        bits: bits(row, "bits")?,
        quality: quality(row)?,
        squared_error: row.try_get("squared_error")?,
    })
}

fn hessian_trace(row: &SqliteRow) -> SqlxResult<HessianTrace> {
    Ok(HessianTrace {
        layer_index: count(row, "layer_index")? as usize,
        name: row.try_get("name")?,
        weights: count(row, "weights")?,
        trace: number_or_nan(row, "trace")?,
        standard_error: number_or_nan(row, "standard_error")?,
    })
}

fn bits(row: &SqliteRow, column: &str) -> SqlxResult<Bits> {
    let value: i64 = row.try_get(column)?;
    let bits = u8::try_from(value).ok().and_then(Bits::new);
    bits.ok_or_else(|| unreadable(column, format!("{value} is no number of bits")))
}
