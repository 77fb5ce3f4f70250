//! Searches in overview, whether they wait, run or have ended, and who began them.

use std::collections::HashMap;

use serde::Deserialize;
use sqlx::{QueryBuilder, Row, Sqlite, sqlite::SqliteRow};

use super::{
    BestSummary, RunSort, Store, StoreError,
    error::At,
    list::{best_summary, direction},
    rows::{SqlxResult, cost, json, to_json, word},
    runs::budget_requests,
};
use crate::domain::{BudgetRequest, Cost, CostKind, JobState, Measure, RunId, Strategy};

/// Which searches to list, in which order, from where.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SearchQuery {
    pub state: Option<JobState>,
    /// Name inside the hardware profile, exact.
    pub profile: Option<String>,
    /// Part of the model's name.
    pub model: Option<String>,
    pub strategy: Option<Strategy>,
    /// A whole tag.
    pub tag: Option<String>,
    /// Words that each stand somewhere in tags, note, model, data, profile, strategy or submitter.
    pub text: Option<String>,
    pub sort: RunSort,
    pub descending: bool,
    pub limit: u32,
    pub offset: u32,
}

/// One search in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchSummary {
    pub search: RunId,
    /// UTC, as RFC 3339 with milliseconds.
    pub created_at: String,
    pub state: JobState,
    /// Name of the token it was handed in with; `local` where none was needed.
    pub submitter: String,
    /// Whether it was handed to the service.
    pub is_job: bool,
    /// Whether somebody wants it to stop, and it has not yet.
    pub is_stopping: bool,
    pub model: String,
    pub data: String,
    pub profile: String,
    pub strategy: Strategy,
    pub measure: Measure,
    /// Known once it runs.
    pub objective: Option<CostKind>,
    pub budget: Vec<BudgetRequest>,
    pub seed: u64,
    /// Uniform references included.
    pub episodes: u32,
    /// Without them: of `episodes_planned`.
    pub proposals: u32,
    pub episodes_planned: u32,
    pub evaluations: u32,
    pub wall_s: f64,
    pub float_quality: Option<f64>,
    pub float_test_quality: Option<f64>,
    pub eight_bit_cost: Option<Cost>,
    pub best: Option<BestSummary>,
    pub error: Option<String>,
    pub tags: Vec<String>,
    pub note: String,
}

/// What a search is about: a small part of [`SearchSummary`]; never changes once it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchAim {
    /// What it maximizes.
    pub measure: Measure,
    /// The cost its front is drawn against; known once it runs.
    pub objective: Option<CostKind>,
}

/// Part of a list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SearchPage {
    /// How many the whole list has.
    pub total: u64,
    pub searches: Vec<SearchSummary>,
}

impl Store {
    pub async fn searches(&self, query: &SearchQuery) -> Result<SearchPage, StoreError> {
        // Which ones first, then all about those alone: most columns are not worth asking of all.
        let Found { total, page } = self.found(query).await?;
        let kept: Vec<_> = page.iter().map(|listed| self.inner.completed.get(listed)).collect();
        let is_new = page.iter().zip(&kept).filter(|(_, kept)| kept.is_none());
        let new: Vec<RunId> = is_new.map(|(listed, _)| listed.search).collect();
        let mut described: HashMap<RunId, SearchSummary> = HashMap::new();
        if !new.is_empty() {
            for search in self.described(&new).await? {
                self.inner.completed.keep(&search);
                described.insert(search.search, search);
            }
        }
        let searches = page.iter().zip(kept);
        // One that was deleted meanwhile is in neither.
        let searches =
            searches.filter_map(|(listed, kept)| kept.or_else(|| described.remove(&listed.search)));
        Ok(SearchPage { total, searches: searches.collect() })
    }

    /// # Errors
    /// [`StoreError::UnknownRun`] where there is neither a job nor a run of this number.
    pub async fn search(&self, search: RunId) -> Result<SearchSummary, StoreError> {
        let described = self.described(&[search]).await?.pop();
        described
            .ok_or_else(|| StoreError::UnknownRun { path: self.path().to_owned(), run: search })
    }

    /// # Errors
    /// [`StoreError::UnknownRun`] where there is neither a job nor a run of this number.
    pub async fn aim(&self, search: RunId) -> Result<SearchAim, StoreError> {
        let path = self.path();
        let row = sqlx::query(
            "SELECT measure, objective FROM runs WHERE id = ?1
             UNION ALL SELECT measure, NULL FROM jobs WHERE id = ?1 LIMIT 1",
        )
        .bind(search)
        .fetch_optional(&self.inner.readers)
        .await
        .at(path)?
        .ok_or_else(|| StoreError::UnknownRun { path: path.to_owned(), run: search })?;
        Ok(SearchAim {
            measure: word(&row, "measure", Measure::ALL, Measure::word).at(path)?,
            objective: objective(&row).at(path)?,
        })
    }

    async fn found(&self, query: &SearchQuery) -> Result<Found, StoreError> {
        let path = self.path();
        let mut select = if query.is_plain() {
            every_number(query.descending)
        } else {
            let abandoned = match query.state {
                Some(JobState::Running | JobState::Paused) => self.abandoned().await?,
                _ => Vec::new(),
            };
            narrowed(query, to_json(&abandoned).at(path)?)
        };
        // SQLite looks at numbers that stand alone here, and plans anew for every other one.
        select.push(" LIMIT 0 + ").push_bind(query.limit);
        select.push(" OFFSET 0 + ").push_bind(query.offset).push(")) AS page");
        let row = select.build().fetch_one(&self.inner.readers).await.at(path)?;
        let total: i64 = row.try_get("total").at(path)?;
        Ok(Found { total: total.unsigned_abs(), page: json(&row, "page").at(path)? })
    }

    /// Those of these searches that there are, in no order.
    async fn described(&self, searches: &[RunId]) -> Result<Vec<SearchSummary>, StoreError> {
        let path = self.path();
        let rows = sqlx::query(
            "SELECT *, (SELECT note FROM search_notes WHERE search_id = search) AS note,
                 (SELECT json_group_array(tag) FROM search_tags WHERE search_id = search) AS tags,
                 episodes - (SELECT count(*) FROM episodes AS reference
                     WHERE reference.run_id = search AND reference.kind = 'reference') AS proposals
             FROM searches WHERE search IN (SELECT value FROM json_each(?))",
        )
        .bind(to_json(&searches).at(path)?)
        .fetch_all(&self.inner.readers)
        .await
        .at(path)?;
        let summaries = rows.iter().map(summary).collect::<SqlxResult<Vec<_>>>().at(path)?;
        self.with_abandoned_paused(summaries).await
    }

    /// Runs of killed processes shown as what they are.
    async fn with_abandoned_paused(
        &self,
        mut searches: Vec<SearchSummary>,
    ) -> Result<Vec<SearchSummary>, StoreError> {
        let may_be = |search: &SearchSummary| !search.is_job && search.state == JobState::Running;
        if searches.iter().any(may_be) {
            let abandoned = self.abandoned().await?;
            for search in searches.iter_mut().filter(|search| may_be(search)) {
                if abandoned.contains(&search.search) {
                    search.state = JobState::Paused;
                }
            }
        }
        Ok(searches)
    }

    /// Deletes a search that nobody works on: job, run, episodes, tags.
    ///
    /// # Errors
    /// [`StoreError::StillRunning`] while a process works on it, [`StoreError::UnknownRun`].
    pub async fn delete_search(&self, search: RunId) -> Result<(), StoreError> {
        let path = self.path();
        let mut transaction = self.begin().await?;
        let has_run: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM runs WHERE id = ?)")
            .bind(search)
            .fetch_one(&mut *transaction)
            .await
            .at(path)?;
        let state: Option<String> = sqlx::query_scalar("SELECT state FROM jobs WHERE id = ?")
            .bind(search)
            .fetch_optional(&mut *transaction)
            .await
            .at(path)?;
        if state.as_deref() == Some(JobState::Running.word()) {
            return Err(StoreError::JobRunning { job: search });
        }
        if has_run {
            self.idle_run(&mut transaction, search).await?;
            // Triggers take what belongs to it along.
            sqlx::query("DELETE FROM runs WHERE id = ?")
                .bind(search)
                .execute(&mut *transaction)
                .await
                .at(path)?;
        } else if state.is_some() {
            for statement in [
                "DELETE FROM jobs WHERE id = ?",
                "DELETE FROM search_tags WHERE search_id = ?",
                "DELETE FROM search_notes WHERE search_id = ?",
                "DELETE FROM events WHERE search_id = ?",
                "INSERT INTO events (search_id, kind) VALUES (?, 'deleted')",
            ] {
                sqlx::query(statement).bind(search).execute(&mut *transaction).await.at(path)?;
            }
        } else {
            return Err(StoreError::UnknownRun { path: path.to_owned(), run: search });
        }
        transaction.commit().await.at(path)
    }
}

/// What a query finds.
struct Found {
    total: u64,
    /// Those on its page, in its order.
    page: Vec<Listed>,
}

/// What of a search may change although it is completed, and whether it is.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    pub search: RunId,
    pub is_completed: bool,
    pub note: Option<String>,
    pub tags: Vec<String>,
}

/// `(SELECT … FROM (` of a page's searches, to go on with which ones.
const LISTED: &str = "(SELECT json_group_array(json_object('search', search,
         'is_completed', iif('completed' = coalesce(
             (SELECT state FROM jobs INDEXED BY jobs_listed WHERE id = search),
             (SELECT state FROM runs INDEXED BY runs_listed WHERE id = search)),
             json('true'), json('false')),
         'note', (SELECT note FROM search_notes WHERE search_id = search),
         'tags', json((SELECT json_group_array(tag) FROM search_tags WHERE search_id = search))
     )) FROM (";

impl SearchQuery {
    /// Whether it asks for all searches by their numbers.
    fn is_plain(&self) -> bool {
        let Self {
            state,
            profile,
            model,
            strategy,
            tag,
            text,
            sort,
            descending: _,
            limit: _,
            offset: _,
        } = self;
        (state, strategy, *sort) == (&None, &None, RunSort::Id)
            && [profile, model, tag, text].into_iter().all(Option::is_none)
    }
}

/// `SELECT total, (… ORDER BY`, to go on with `LIMIT`: straight from the keys.
fn every_number(descending: bool) -> QueryBuilder<Sqlite> {
    let mut select = QueryBuilder::new(
        "SELECT (SELECT count(*) FROM runs) + (SELECT count(*) FROM jobs WHERE NOT EXISTS
             (SELECT 1 FROM runs INDEXED BY runs_listed WHERE runs.id = jobs.id)) AS total, ",
    );
    select.push(LISTED);
    select.push("SELECT id AS search FROM runs UNION SELECT id FROM jobs ORDER BY search ");
    select.push(direction(descending));
    select
}

/// The same of what the query narrows and orders.
///
/// - `abandoned`: JSON array of runs that are stored as running and are not
fn narrowed(query: &SearchQuery, abandoned: String) -> QueryBuilder<Sqlite> {
    let sorted = match query.sort {
        RunSort::Id => "search",
        sort => sort.column(),
    };
    let direction = direction(query.descending);
    let mut select = QueryBuilder::new("WITH found AS MATERIALIZED (SELECT search, ");
    select.push(sorted).push(" AS sorted FROM search_keys WHERE true");
    narrow(&mut select, query, abandoned);
    select.push(") SELECT (SELECT count(*) FROM found) AS total, ").push(LISTED);
    select.push("SELECT search FROM found ORDER BY sorted ");
    select.push(direction).push(" NULLS LAST, search ").push(direction);
    select
}

fn narrow(select: &mut QueryBuilder<Sqlite>, query: &SearchQuery, abandoned: String) {
    if let Some(state) = query.state {
        select
            .push(" AND CASE WHEN NOT is_job AND state = 'running' AND search IN (SELECT value FROM json_each(")
            .push_bind(abandoned)
            .push(")) THEN 'paused' ELSE state END = ")
            .push_bind(state.word());
    }
    if let Some(profile) = &query.profile {
        select.push(" AND profile = ").push_bind(profile.clone());
    }
    if let Some(model) = &query.model {
        select.push(" AND instr(lower(model), lower(").push_bind(model.clone()).push(")) > 0");
    }
    if let Some(strategy) = query.strategy {
        select.push(" AND strategy = ").push_bind(strategy.word());
    }
    if let Some(tag) = &query.tag {
        select
            .push(" AND EXISTS (SELECT 1 FROM search_tags WHERE search_id = search AND tag = ")
            .push_bind(tag.clone())
            .push(")");
    }
    for word in query.text.iter().flat_map(|text| text.split_whitespace()) {
        select
            .push(
                " AND instr(lower(concat_ws(' ', model, data, profile, strategy, submitter,
                    (SELECT note FROM search_notes WHERE search_id = search),
                    (SELECT group_concat(tag, ' ') FROM search_tags WHERE search_id = search))), lower(",
            )
            .push_bind(word.to_owned())
            .push(")) > 0");
    }
}

/// None before there is a run.
fn objective(row: &SqliteRow) -> SqlxResult<Option<CostKind>> {
    match row.try_get::<Option<&str>, _>("objective")? {
        Some(_) => word(row, "objective", CostKind::ALL, CostKind::word).map(Some),
        None => Ok(None),
    }
}

fn summary(row: &SqliteRow) -> SqlxResult<SearchSummary> {
    let objective = objective(row)?;
    Ok(SearchSummary {
        search: row.try_get("search")?,
        created_at: row.try_get("created_at")?,
        state: word(row, "state", JobState::ALL, JobState::word)?,
        submitter: row.try_get("submitter")?,
        is_job: row.try_get("is_job")?,
        is_stopping: row.try_get::<Option<String>, _>("wanted")?.is_some(),
        model: row.try_get("model")?,
        data: row.try_get("data")?,
        profile: row.try_get("profile")?,
        strategy: word(row, "strategy", Strategy::ALL, Strategy::word)?,
        measure: word(row, "measure", Measure::ALL, Measure::word)?,
        objective,
        budget: budget_requests(row, "budget")?,
        seed: row.try_get::<i64, _>("seed")?.cast_unsigned(),
        episodes: row.try_get("episodes")?,
        proposals: row.try_get("proposals")?,
        episodes_planned: row.try_get("episodes_planned")?,
        evaluations: row.try_get("evaluations")?,
        wall_s: row.try_get("wall_s")?,
        float_quality: row.try_get("float_quality")?,
        float_test_quality: row.try_get("float_test_quality")?,
        eight_bit_cost: objective.map(|_| cost(row, "eight_bit_")).transpose()?,
        best: best_summary(row)?,
        error: row.try_get("error")?,
        tags: json(row, "tags")?,
        note: row.try_get::<Option<String>, _>("note")?.unwrap_or_default(),
    })
}
