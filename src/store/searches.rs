//! Searches in overview, whether they wait, run or have ended, and who began them.

use sqlx::{QueryBuilder, Row, Sqlite, sqlite::SqliteRow};

use super::{
    BestSummary, RunSort, Store, StoreError,
    error::At,
    rows::{SqlxResult, cost, json, to_json, word},
    runs::budget_requests,
};
use crate::domain::{BudgetRequest, Cost, CostKind, JobState, Measure, RunId, Strategy};

/// Which searches to list, in which order, from where.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SearchQuery {
    pub search: Option<RunId>,
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

/// Part of a list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SearchPage {
    /// How many the whole list has.
    pub total: u64,
    pub searches: Vec<SearchSummary>,
}

impl Store {
    pub async fn searches(&self, query: &SearchQuery) -> Result<SearchPage, StoreError> {
        let path = self.path();
        let abandoned = to_json(&self.abandoned().await?).at(path)?;
        let mut connection = self.inner.readers.begin().await.at(path)?;
        let mut count = current(&abandoned, "count(*)");
        narrow(&mut count, query);
        let total: i64 = count.build_query_scalar().fetch_one(&mut *connection).await.at(path)?;

        // Which ones first, then all about those alone: most columns are not worth asking of all.
        let mut which = current(&abandoned, "search");
        narrow(&mut which, query);
        order(&mut which, query);
        which.push(" LIMIT ").push_bind(query.limit);
        which.push(" OFFSET ").push_bind(query.offset);
        let numbers: Vec<RunId> =
            which.build_query_scalar().fetch_all(&mut *connection).await.at(path)?;
        let mut select = current(
            &abandoned,
            "*, (SELECT json_group_array(tag) FROM search_tags WHERE search_id = search) AS tags,
             -- References come first, and are at most 64.
             episodes - (SELECT count(*) FROM episodes AS reference
                 WHERE reference.run_id = search AND reference.episode_index < 64
                     AND reference.kind = 'reference') AS proposals",
        );
        select.push(" AND search IN (SELECT value FROM json_each(");
        select.push_bind(to_json(&numbers).at(path)?).push("))");
        order(&mut select, query);
        let rows = select.build().fetch_all(&mut *connection).await.at(path)?;
        let searches = rows.iter().map(summary).collect::<SqlxResult<_>>().at(path)?;
        Ok(SearchPage { total: total.unsigned_abs(), searches })
    }

    /// # Errors
    /// [`StoreError::UnknownRun`] where there is neither a job nor a run of this number.
    pub async fn search(&self, search: RunId) -> Result<SearchSummary, StoreError> {
        let query = SearchQuery { search: Some(search), limit: 1, ..SearchQuery::default() };
        let mut page = self.searches(&query).await?;
        let path = self.path();
        page.searches
            .pop()
            .ok_or_else(|| StoreError::UnknownRun { path: path.to_owned(), run: search })
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

/// `SELECT … FROM searches WHERE true`, with runs of killed processes shown as what they are.
fn current(abandoned: &str, columns: &'static str) -> QueryBuilder<Sqlite> {
    let mut select = QueryBuilder::new("WITH abandoned AS (SELECT value AS run FROM json_each(");
    select.push_bind(abandoned.to_owned()).push(
        ")), current AS (
            SELECT searches.*, note, CASE WHEN NOT is_job AND state = 'running' AND search IN abandoned
                THEN 'paused' ELSE state END AS current_state
            FROM searches LEFT JOIN search_notes ON search_id = search)
         SELECT ",
    );
    select.push(columns).push(" FROM current WHERE true");
    select
}

fn order(select: &mut QueryBuilder<Sqlite>, query: &SearchQuery) {
    let column = match query.sort {
        RunSort::Id => "search",
        sort => sort.column(),
    };
    let direction = if query.descending { "DESC" } else { "ASC" };
    select.push(format_args!(" ORDER BY {column} {direction} NULLS LAST, search {direction}"));
}

fn narrow(select: &mut QueryBuilder<Sqlite>, query: &SearchQuery) {
    if let Some(search) = query.search {
        select.push(" AND search = ").push_bind(search);
    }
    if let Some(state) = query.state {
        select.push(" AND current_state = ").push_bind(state.word());
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
                " AND instr(lower(concat_ws(' ', model, data, profile, strategy, submitter, note,
                    (SELECT group_concat(tag, ' ') FROM search_tags WHERE search_id = search))), lower(",
            )
            .push_bind(word.to_owned())
            .push(")) > 0");
    }
}

fn summary(row: &SqliteRow) -> SqlxResult<SearchSummary> {
    let objective: Option<String> = row.try_get("objective")?;
    let has_run = objective.is_some();
    let best: Option<u32> = row.try_get("best_episode")?;
    let best = best.map(|episode| {
        Ok::<_, sqlx::Error>(BestSummary {
            episode,
            quality: row.try_get("quality")?,
            test_quality: row.try_get("test_quality")?,
            cost: cost(row, "")?,
        })
    });
    Ok(SearchSummary {
        search: row.try_get("search")?,
        created_at: row.try_get("created_at")?,
        state: word(row, "current_state", JobState::ALL, JobState::word)?,
        submitter: row.try_get("submitter")?,
        is_job: row.try_get("is_job")?,
        is_stopping: row.try_get::<Option<String>, _>("wanted")?.is_some(),
        model: row.try_get("model")?,
        data: row.try_get("data")?,
        profile: row.try_get("profile")?,
        strategy: word(row, "strategy", Strategy::ALL, Strategy::word)?,
        measure: word(row, "measure", Measure::ALL, Measure::word)?,
        objective: if has_run {
            Some(word(row, "objective", CostKind::ALL, CostKind::word)?)
        } else {
            None
        },
        budget: budget_requests(row, "budget")?,
        seed: row.try_get::<i64, _>("seed")?.cast_unsigned(),
        episodes: row.try_get("episodes")?,
        proposals: row.try_get("proposals")?,
        episodes_planned: row.try_get("episodes_planned")?,
        evaluations: row.try_get("evaluations")?,
        wall_s: row.try_get("wall_s")?,
        float_quality: row.try_get("float_quality")?,
        float_test_quality: row.try_get("float_test_quality")?,
        eight_bit_cost: if has_run { Some(cost(row, "eight_bit_")?) } else { None },
        best: best.transpose()?,
        error: row.try_get("error")?,
        tags: json(row, "tags")?,
        note: row.try_get::<Option<String>, _>("note")?.unwrap_or_default(),
    })
}
