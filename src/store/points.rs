//! Episodes for a plot: a sample of them, with all that matter.

use sqlx::{QueryBuilder, Row, Sqlite, sqlite::SqliteRow};

use super::{
    Store, StoreError,
    error::At,
    rows::{SqlxResult, policy, word},
};
use crate::domain::{BitwidthPolicy, CostKind, EpisodeKind, EpisodeRecord, RunId};

/// One episode in a plot of quality against one cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub episode: u32,
    pub kind: EpisodeKind,
    pub quality: Option<f64>,
    pub cost: f64,
    /// Whether it meets the budgets and was judged on all images.
    pub feasible: bool,
    /// Whether no other feasible one beats it in both.
    pub on_front: bool,
    /// Of references only.
    pub policy: Option<BitwidthPolicy>,
}

impl Store {
    /// About `n_shown` of a run's episodes, evenly over the run, and beside them all references,
    /// the front against this cost, and whatever was the best when it came; and how many there are in all.
    pub async fn points(
        &self,
        run: RunId,
        kind: CostKind,
        n_shown: u32,
    ) -> Result<(u32, Vec<Point>), StoreError> {
        let path = self.path();
        let total = self.require_run(run).await?;
        let step = total.div_ceil(n_shown.max(1)).max(1);
        let cost = column(kind);
        let mut select = QueryBuilder::<Sqlite>::new("SELECT *, ");
        select
            .push(cost)
            .push(
                " AS cost, feasible AND quality IS NOT NULL
                     AND (best_cheaper IS NULL OR quality > best_cheaper) AS on_front
                 FROM (SELECT *, meets_budgets AND stopped_after_images IS NULL AS feasible,
                     max(CASE WHEN meets_budgets AND stopped_after_images IS NULL THEN quality END)
                         OVER (ORDER BY ",
            )
            .push(cost)
            .push(
                ", quality DESC, episode_index
                          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS best_cheaper,
                     max(CASE WHEN meets_budgets AND stopped_after_images IS NULL THEN quality END)
                         OVER (ORDER BY episode_index
                          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS best_before
                 FROM episodes WHERE run_id = ",
            )
            .push_bind(run)
            .push(") WHERE episode_index % ")
            .push_bind(step)
            .push(
                " = 0 OR kind = 'reference' OR on_front
                 OR (feasible AND (best_before IS NULL OR quality > best_before))
                 OR episode_index = (SELECT best_episode FROM runs WHERE id = ",
            )
            .push_bind(run)
            .push(") ORDER BY episode_index");
        let rows = select.build().fetch_all(&self.inner.readers).await.at(path)?;
        Ok((total, rows.iter().map(point).collect::<SqlxResult<_>>().at(path)?))
    }

    /// Episodes in the order they were committed, from the one numbered `offset` on; from the last
    /// one back where `descending`.
    pub async fn episodes_from(
        &self,
        run: RunId,
        offset: u32,
        limit: u32,
        descending: bool,
    ) -> Result<(u32, Vec<EpisodeRecord>), StoreError> {
        let path = self.path();
        let total = self.require_run(run).await?;
        // Indices have no gaps: no row is counted over.
        let statement = if descending {
            "SELECT * FROM episodes WHERE run_id = ?1 AND episode_index <= ?2
             ORDER BY episode_index DESC LIMIT ?3"
        } else {
            "SELECT * FROM episodes WHERE run_id = ?1 AND episode_index >= ?2
             ORDER BY episode_index LIMIT ?3"
        };
        let from =
            if descending { i64::from(total) - 1 - i64::from(offset) } else { i64::from(offset) };
        let rows = sqlx::query(statement)
            .bind(run)
            .bind(from)
            .bind(limit)
            .fetch_all(&self.inner.readers)
            .await
            .at(path)?;
        let records = rows.iter().map(super::episodes::episode).collect::<SqlxResult<_>>();
        Ok((total, records.at(path)?))
    }
}

const fn column(kind: CostKind) -> &'static str {
    match kind {
        CostKind::Latency => "latency_s",
        CostKind::Energy => "energy_j",
        CostKind::Size => "size_bytes",
        CostKind::Memory => "peak_memory_bytes",
    }
}

fn point(row: &SqliteRow) -> SqlxResult<Point> {
    let kind = word(row, "kind", EpisodeKind::ALL, EpisodeKind::word)?;
    let of_reference = |kind| {
        let text: String = row.try_get("policy")?;
        Ok::<_, sqlx::Error>(match kind {
            EpisodeKind::Reference => Some(policy("policy", &text)?),
            _ => None,
        })
    };
    // Sizes are whole numbers, the others are not.
    let cost = row.try_get::<f64, _>("cost").or_else(|_| {
        row.try_get::<Option<i64>, _>("cost").map(|bytes| bytes.map_or(f64::NAN, |b| b as f64))
    });
    Ok(Point {
        episode: row.try_get("episode_index")?,
        kind,
        quality: row.try_get("quality")?,
        cost: cost.unwrap_or(f64::NAN),
        feasible: row.try_get("feasible")?,
        on_front: row.try_get("on_front")?,
        policy: of_reference(kind)?,
    })
}
