//! What happened to searches, in order, for those who watch.

use sqlx::{Row, sqlite::SqliteRow};

use super::{
    Store, StoreError,
    error::At,
    rows::{SqlxResult, cost, word},
};
use crate::domain::{Cost, EpisodeKind, RunId};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Rises with time, over all searches.
    pub id: i64,
    pub search: RunId,
    pub kind: EventKind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    Episode {
        index: u32,
        kind: EpisodeKind,
        /// By the run's measure, more is better.
        quality: Option<f64>,
        cost: Cost,
        feasible: bool,
        /// Whether it was the best of the run when it came.
        is_best: bool,
        /// Whether no episode before it was at least as good for no more of the objective.
        on_front: bool,
        /// Up to this one without uniform references: of `episodes_planned`.
        proposals: u32,
        episodes_planned: u32,
    },
    /// The state that was entered, and why where it failed.
    State {
        state: String,
        error: Option<String>,
    },
    /// A line of the search's log, as JSON.
    Log {
        line: String,
    },
    Deleted,
}

/// Events after one that is known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Events {
    pub events: Vec<Event>,
    /// Whether some in between were dropped before they were read.
    pub missed: bool,
}

impl Store {
    /// The newest event's number; 0 where there was none.
    pub async fn newest_event(&self) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM events")
            .fetch_one(&self.inner.readers)
            .await
            .at(self.path())
    }

    /// At most `limit` events after the one numbered `after`, of one search or of all.
    pub async fn events_after(
        &self,
        after: i64,
        search: Option<RunId>,
        limit: u32,
    ) -> Result<Events, StoreError> {
        let path = self.path();
        // One transaction, so that none is dropped between the two questions.
        let mut connection = self.inner.readers.begin().await.at(path)?;
        let oldest: Option<i64> = sqlx::query_scalar("SELECT min(id) FROM events")
            .fetch_one(&mut *connection)
            .await
            .at(path)?;
        let rows = sqlx::query(
            "SELECT events.id AS event_id, events.search_id, events.kind AS event_kind, events.detail,
                 episodes.*, runs.episodes_planned,
                 events.episode_index + 1 - (SELECT count(*) FROM episodes AS reference
                     WHERE reference.run_id = runs.id
                         AND reference.episode_index <= min(events.episode_index, 63)
                         AND reference.kind = 'reference') AS proposals,
                 coalesce(jobs.error, runs.error) AS error,
                 NOT EXISTS (
                     SELECT 1 FROM episodes AS rival
                     WHERE rival.run_id = episodes.run_id AND rival.episode_index < episodes.episode_index
                         AND rival.meets_budgets = 1 AND rival.stopped_after_images IS NULL
                         AND rival.objective_cost <= episodes.objective_cost
                         AND rival.quality >= episodes.quality
                 ) AND episodes.quality IS NOT NULL AND episodes.meets_budgets = 1
                   AND episodes.stopped_after_images IS NULL AS on_front,
                 NOT EXISTS (
                     SELECT 1 FROM episodes AS rival
                     WHERE rival.run_id = episodes.run_id AND rival.episode_index < episodes.episode_index
                         AND rival.kind <> 'reference'
                         AND rival.meets_budgets = 1 AND rival.stopped_after_images IS NULL
                         AND (rival.quality > episodes.quality
                             OR rival.quality = episodes.quality
                                 AND rival.objective_cost <= episodes.objective_cost)
                 ) AND episodes.kind <> 'reference' AND episodes.quality IS NOT NULL
                   AND episodes.meets_budgets = 1 AND episodes.stopped_after_images IS NULL AS is_best
             FROM events
             LEFT JOIN episodes ON episodes.run_id = events.search_id
                 AND episodes.episode_index = events.episode_index
             LEFT JOIN runs ON runs.id = events.search_id
             LEFT JOIN jobs ON jobs.id = events.search_id
             WHERE events.id > ?1 AND (?2 IS NULL OR events.search_id = ?2)
             ORDER BY events.id LIMIT 0 + ?3",
        )
        .bind(after)
        .bind(search)
        .bind(limit)
        .fetch_all(&mut *connection)
        .await
        .at(path)?;
        let events = rows.iter().filter_map(|row| event(row).transpose());
        Ok(Events {
            events: events.collect::<SqlxResult<_>>().at(path)?,
            missed: after > 0 && oldest.is_some_and(|oldest| oldest > after + 1),
        })
    }

    /// The last lines of a search's log, oldest first.
    pub async fn last_log(&self, search: RunId, n_lines: u32) -> Result<Vec<String>, StoreError> {
        let mut lines: Vec<String> = sqlx::query_scalar(
            "SELECT detail FROM events WHERE search_id = ? AND kind = 'log' ORDER BY id DESC LIMIT ?",
        )
        .bind(search)
        .bind(n_lines)
        .fetch_all(&self.inner.readers)
        .await
        .at(self.path())?;
        lines.reverse();
        Ok(lines)
    }

    /// Keeps a line of a search's log for those who watch it, with the time: `time`, UTC, RFC 3339.
    ///
    /// - `line`: a JSON object
    pub async fn add_log(&self, search: RunId, line: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO events (search_id, kind, detail)
             VALUES (?, 'log', json_set(?, '$.time', strftime('%Y-%m-%dT%H:%M:%fZ', 'now')))",
        )
        .bind(search)
        .bind(line.to_owned())
        .execute(self.writer()?)
        .await
        .at(self.path())?;
        Ok(())
    }

    /// Drops all but the newest `n_kept` events.
    pub async fn trim_events(&self, n_kept: u64) -> Result<u64, StoreError> {
        let trimmed =
            sqlx::query("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?")
                .bind(i64::try_from(n_kept).unwrap_or(i64::MAX))
                .execute(self.writer()?)
                .await
                .at(self.path())?;
        Ok(trimmed.rows_affected())
    }
}

/// `None` for an episode whose run was deleted since.
fn event(row: &SqliteRow) -> SqlxResult<Option<Event>> {
    let kind: String = row.try_get("event_kind")?;
    let detail: Option<String> = row.try_get("detail")?;
    let kind = match kind.as_str() {
        "episode" => {
            if row.try_get::<Option<u32>, _>("episodes_planned")?.is_none() {
                return Ok(None);
            }
            let index: u32 = row.try_get("episode_index")?;
            EventKind::Episode {
                index,
                kind: word(row, "kind", EpisodeKind::ALL, EpisodeKind::word)?,
                quality: row.try_get("quality")?,
                cost: cost(row, "")?,
                feasible: row.try_get("meets_budgets")?,
                is_best: row.try_get("is_best")?,
                on_front: row.try_get("on_front")?,
                proposals: row.try_get("proposals")?,
                episodes_planned: row.try_get("episodes_planned")?,
            }
        }
        "state" => EventKind::State {
            error: if detail.as_deref() == Some("failed") { row.try_get("error")? } else { None },
            state: detail.unwrap_or_default(),
        },
        "log" => EventKind::Log { line: detail.unwrap_or_default() },
        _ => EventKind::Deleted,
    };
    Ok(Some(Event { id: row.try_get("event_id")?, search: row.try_get("search_id")?, kind }))
}
