//! Which measured sensitivities a run rested on.

use sqlx::Row;

use super::{
    Store, StoreError, SubjectId,
    error::At,
    measurements::sensitivity,
    rows::{SqlxResult, count},
};
use crate::domain::{MethodKey, RunId, SensitivityRecord};

/// Sensitivities a run rested on, with what they were measured on.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSensitivities {
    pub subject: SubjectId,
    /// Images of the search split, from its front.
    pub images: u64,
    /// By layer, tensor and bits; empty while nothing was measured.
    pub records: Vec<SensitivityRecord>,
}

impl Store {
    /// Notes on which subject a run's sensitivities are measured, and by which method.
    pub async fn link_sensitivities(
        &self,
        run: RunId,
        subject: SubjectId,
        method: &MethodKey,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT OR REPLACE INTO run_sensitivities (run_id, subject_id, method, recipe)
             VALUES (?, ?, ?, ?)",
        )
        .bind(run)
        .bind(subject)
        .bind(method.name.clone())
        .bind(method.recipe.clone())
        .execute(&mut *transaction)
        .await
        .at(self.path())?;
        transaction.commit().await.at(self.path())
    }

    /// The sensitivities a run rested on, if that was noted.
    pub async fn run_sensitivities(
        &self,
        run: RunId,
    ) -> Result<Option<RunSensitivities>, StoreError> {
        let path = self.path();
        let link = sqlx::query(
            "SELECT subject_id, images FROM run_sensitivities
             JOIN measurement_subjects ON id = subject_id WHERE run_id = ?",
        )
        .bind(run)
        .fetch_optional(&self.inner.readers)
        .await
        .at(path)?;
        let Some(link) = link else { return Ok(None) };
        let rows = sqlx::query(
            "SELECT sensitivities.* FROM sensitivities
             JOIN run_sensitivities USING (subject_id, method, recipe)
             WHERE run_id = ? ORDER BY layer_index, operand DESC, bits",
        )
        .bind(run)
        .fetch_all(&self.inner.readers)
        .await
        .at(path)?;
        Ok(Some(RunSensitivities {
            subject: link.try_get("subject_id").at(path)?,
            images: count(&link, "images").at(path)?,
            records: rows.iter().map(sensitivity).collect::<SqlxResult<_>>().at(path)?,
        }))
    }
}
