//! Runs in overview: listed, filtered, sorted, compared.

use std::{fmt, str::FromStr};

use serde::Serialize;
use sqlx::{QueryBuilder, Row, Sqlite, sqlite::SqliteRow};

use super::{
    Store, StoreError,
    error::At,
    rows::{SqlxResult, cost, to_json, word},
    runs::budget_requests,
};
use crate::domain::{
    BudgetRequest, Cost, CostKind, EpisodeRecord, Measure, RunId, RunState, Strategy,
};

/// Which runs to list, and in which order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunQuery {
    /// Name inside the hardware profile, exact.
    pub profile: Option<String>,
    /// Part of the model's name.
    pub model: Option<String>,
    pub strategy: Option<Strategy>,
    pub state: Option<RunState>,
    pub objective: Option<CostKind>,
    /// Least quality of the best episode, by the run's measure.
    pub min_quality: Option<f64>,
    pub sort: RunSort,
    pub descending: bool,
    pub limit: Option<u32>,
}

/// What a list is ordered by; runs that have no such figure come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunSort {
    #[default]
    Id,
    Created,
    /// Quality of the best episode on the search split.
    Quality,
    /// Cost of the best episode.
    Cost(CostKind),
}

impl RunSort {
    pub(super) const fn column(self) -> &'static str {
        match self {
            RunSort::Id => "run",
            RunSort::Created => "created_at",
            RunSort::Quality => "quality",
            RunSort::Cost(CostKind::Latency) => "latency_s",
            RunSort::Cost(CostKind::Energy) => "energy_j",
            RunSort::Cost(CostKind::Size) => "size_bytes",
            RunSort::Cost(CostKind::Memory) => "peak_memory_bytes",
        }
    }
}

impl fmt::Display for RunSort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunSort::Id => f.pad("id"),
            RunSort::Created => f.pad("created"),
            RunSort::Quality => f.pad("accuracy"),
            RunSort::Cost(kind) => f.pad(kind.word()),
        }
    }
}

impl FromStr for RunSort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "id" => Ok(RunSort::Id),
            "created" => Ok(RunSort::Created),
            "accuracy" | "quality" => Ok(RunSort::Quality),
            _ => text.parse().map(RunSort::Cost).map_err(|_| {
                format!(
                    "{text:?} is no order; id, created, accuracy, latency, energy, size or memory is"
                )
            }),
        }
    }
}

/// One run in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSummary {
    pub run: RunId,
    /// UTC, as RFC 3339 with milliseconds.
    pub created_at: String,
    /// Interrupted also when the process was killed before it could say so.
    pub state: RunState,
    pub model: String,
    pub data: String,
    pub profile: String,
    pub strategy: Strategy,
    pub measure: Measure,
    pub objective: CostKind,
    pub budget: Vec<BudgetRequest>,
    pub seed: u64,
    pub episodes: u32,
    pub episodes_planned: u32,
    pub evaluations: u32,
    pub wall_s: f64,
    /// The float network's on the search split; all quality by the measure, more is better.
    pub float_quality: Option<f64>,
    pub float_test_quality: Option<f64>,
    pub eight_bit_cost: Cost,
    /// `None` until an episode meets the budgets.
    pub best: Option<BestSummary>,
    pub error: Option<String>,
}

/// The best policy of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BestSummary {
    pub episode: u32,
    /// On the search split.
    pub quality: Option<f64>,
    /// On the test split, once the run completed.
    pub test_quality: Option<f64>,
    pub cost: Cost,
}

/// A run beside others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparedRun {
    pub summary: RunSummary,
    /// By rising cost of the run's objective.
    pub front: Vec<EpisodeRecord>,
}

impl Store {
    pub async fn list(&self, query: &RunQuery) -> Result<Vec<RunSummary>, StoreError> {
        let mut select = self.summaries().await?;
        narrow(&mut select, query);
        let column = query.sort.column();
        let direction = direction(query.descending);
        select.push(format_args!(" ORDER BY {column} {direction} NULLS LAST, run {direction}"));
        if let Some(limit) = query.limit {
            select.push(" LIMIT ").push_bind(limit);
        }
        let rows = select.build().fetch_all(&self.inner.readers).await.at(self.path())?;
        rows.iter().map(summary).collect::<SqlxResult<_>>().at(self.path())
    }

    pub async fn summary(&self, run: RunId) -> Result<RunSummary, StoreError> {
        let path = self.path();
        let mut select = self.summaries().await?;
        select.push(" AND run = ").push_bind(run);
        let row = select
            .build()
            .fetch_optional(&self.inner.readers)
            .await
            .at(path)?
            .ok_or_else(|| StoreError::UnknownRun { path: path.to_owned(), run })?;
        summary(&row).at(path)
    }

    /// Summary and front of each run, in the order given.
    pub async fn compare(&self, runs: &[RunId]) -> Result<Vec<ComparedRun>, StoreError> {
        let mut compared = Vec::with_capacity(runs.len());
        for &run in runs {
            let (summary, front) = (self.summary(run).await?, self.front(run).await?);
            compared.push(ComparedRun { summary, front });
        }
        Ok(compared)
    }

    /// `SELECT … WHERE true`, with killed runs shown as what they are.
    async fn summaries(&self) -> Result<QueryBuilder<Sqlite>, StoreError> {
        let abandoned = to_json(&self.abandoned().await?).at(self.path())?;
        let mut select =
            QueryBuilder::new("WITH abandoned AS (SELECT value AS run FROM json_each(");
        select.push_bind(abandoned).push(
            ")), current AS (
                SELECT *, CASE WHEN run IN abandoned THEN 'interrupted' ELSE state END AS current_state
                FROM run_summary)
             SELECT * FROM current WHERE true",
        );
        Ok(select)
    }
}

fn narrow(select: &mut QueryBuilder<Sqlite>, query: &RunQuery) {
    if let Some(profile) = &query.profile {
        select.push(" AND profile = ").push_bind(profile.clone());
    }
    if let Some(model) = &query.model {
        select.push(" AND instr(model, ").push_bind(model.clone()).push(") > 0");
    }
    if let Some(strategy) = query.strategy {
        select.push(" AND strategy = ").push_bind(strategy.word());
    }
    if let Some(state) = query.state {
        select.push(" AND current_state = ").push_bind(state.word());
    }
    if let Some(objective) = query.objective {
        select.push(" AND objective = ").push_bind(objective.word());
    }
    if let Some(min_quality) = query.min_quality {
        select.push(" AND quality >= ").push_bind(min_quality);
    }
}

fn summary(row: &SqliteRow) -> SqlxResult<RunSummary> {
    Ok(RunSummary {
        run: row.try_get("run")?,
        created_at: row.try_get("created_at")?,
        state: word(row, "current_state", RunState::ALL, RunState::word)?,
        model: row.try_get("model")?,
        data: row.try_get("data")?,
        profile: row.try_get("profile")?,
        strategy: word(row, "strategy", Strategy::ALL, Strategy::word)?,
        measure: word(row, "measure", Measure::ALL, Measure::word)?,
        objective: word(row, "objective", CostKind::ALL, CostKind::word)?,
        budget: budget_requests(row, "budget")?,
        seed: row.try_get::<i64, _>("seed")?.cast_unsigned(),
        episodes: row.try_get("episodes")?,
        episodes_planned: row.try_get("episodes_planned")?,
        evaluations: row.try_get("evaluations")?,
        wall_s: row.try_get("wall_s")?,
        float_quality: row.try_get("float_quality")?,
        float_test_quality: row.try_get("float_test_quality")?,
        eight_bit_cost: cost(row, "eight_bit_")?,
        best: best_summary(row)?,
        error: row.try_get("error")?,
    })
}

/// The best policy in a row of `run_summary` or `searches`.
pub(super) fn best_summary(row: &SqliteRow) -> SqlxResult<Option<BestSummary>> {
    let Some(episode) = row.try_get("best_episode")? else { return Ok(None) };
    Ok(Some(BestSummary {
        episode,
        quality: row.try_get("quality")?,
        test_quality: row.try_get("test_quality")?,
        cost: cost(row, "")?,
    }))
}

pub(super) const fn direction(descending: bool) -> &'static str {
    if descending { "DESC" } else { "ASC" }
}
