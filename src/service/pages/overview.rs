//! All searches.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension,
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};

use super::{Choice, Count, Frame, page, problem::PageProblem};
use crate::{
    domain::{CostKind, JobState, show_cost},
    service::{access::Caller, searches::ListQuery, state::App},
    store::{RunSort, SearchQuery, SearchSummary},
};

/// Searches of one page.
const N_ROWS: u32 = 50;

#[derive(Template)]
#[template(path = "service/overview.html")]
struct Overview {
    frame: Frame,
    filter: Filter,
    table: Table,
}

struct Filter {
    q: String,
    tag: String,
    states: Vec<Choice>,
    sorts: Vec<Choice>,
    orders: Vec<Choice>,
}

struct Table {
    query: String,
    count: String,
    previous: Option<String>,
    next: Option<String>,
    by_number: SortLink,
    by_quality: SortLink,
    rows: Vec<Row>,
}

struct SortLink {
    query: String,
    direction: &'static str,
}

struct Row {
    id: i64,
    state: String,
    model: String,
    profile: String,
    strategy: String,
    budget: String,
    error: Option<String>,
    quality: String,
    cost: String,
    ratio: String,
    done: Count,
    planned: Count,
    tags: Vec<String>,
    can_pause: bool,
    can_resume: bool,
    can_cancel: bool,
}

pub async fn show(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    asked: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, PageProblem> {
    let Query(asked) = asked?;
    let query = SearchQuery { limit: asked.limit.unwrap_or(N_ROWS), ..asked.query()? };
    let found = app.store.searches(&query).await?;
    let words = |text: &Option<String>| text.clone().unwrap_or_default();
    let state = query.state.map_or("", JobState::word);
    let mut states = Choice::among(JobState::ALL.map(JobState::word), state);
    states.insert(
        0,
        Choice { value: String::new(), label: "any".into(), selected: state.is_empty() },
    );
    let sort = query.sort.to_string();
    let sorts = ["id", "created", "accuracy", "latency", "energy", "size", "memory"];
    let order = |value: &str, label: &str, selected| Choice {
        value: value.into(),
        label: label.into(),
        selected,
    };
    let filter = Filter {
        q: words(&asked.q),
        tag: words(&asked.tag),
        states,
        sorts: sorts
            .map(|word| Choice {
                value: word.into(),
                label: match word {
                    "id" => "number".into(),
                    "accuracy" => "best quality".into(),
                    word => word.into(),
                },
                selected: sort == word,
            })
            .into(),
        orders: vec![
            order("desc", "falling", query.descending),
            order("asc", "rising", !query.descending),
        ],
    };
    let overview = Overview {
        frame: Frame::new("searches", &caller, &app),
        filter,
        table: table(&query, found),
    };
    Ok(page(&overview)?)
}

fn table(query: &SearchQuery, found: crate::store::SearchPage) -> Table {
    let (total, n_rows) = (found.total, found.searches.len() as u64);
    let offset = u64::from(query.offset);
    let count = match (total, n_rows) {
        (1, 1) => "1 search".into(),
        (total, n_rows) if n_rows == total => format!("{} searches", Count(total)),
        (total, 0) => format!("{} searches, none of them here", Count(total)),
        _ => {
            let (first, last) = (Count(offset + 1), Count(offset + n_rows));
            format!("{} searches, {first} to {last} shown", Count(total))
        }
    };
    let at = |offset: u64| {
        text_of(&SearchQuery { offset: u32::try_from(offset).unwrap_or(u32::MAX), ..query.clone() })
    };
    let sorted_by = |sort: RunSort| {
        let is_it = query.sort == sort;
        let turned = SearchQuery {
            sort,
            descending: !is_it || !query.descending,
            offset: 0,
            ..query.clone()
        };
        let direction = match (is_it, query.descending) {
            (false, _) => "none",
            (true, true) => "descending",
            (true, false) => "ascending",
        };
        SortLink { query: text_of(&turned), direction }
    };
    let limit = u64::from(query.limit);
    Table {
        query: text_of(query),
        count,
        previous: (offset > 0).then(|| at(offset.saturating_sub(limit))),
        next: (offset + n_rows < total && n_rows > 0).then(|| at(offset + limit)),
        by_number: sorted_by(RunSort::Id),
        by_quality: sorted_by(RunSort::Quality),
        rows: found.searches.into_iter().map(row).collect(),
    }
}

fn row(search: SearchSummary) -> Row {
    let best = search.best.as_ref();
    let objective = search.objective.unwrap_or(CostKind::Latency);
    let cost = best.map(|best| best.cost.get(objective));
    let whole = search.eight_bit_cost.map(|cost| cost.get(objective));
    let ratio = cost.zip(whole).map(|(cost, whole)| cost / whole).filter(|ratio| ratio.is_finite());
    let actions = Actions::of(&search);
    Row {
        id: search.search,
        state: if search.is_stopping { "stopping".into() } else { search.state.to_string() },
        quality: best
            .and_then(|best| best.quality)
            .map_or(String::new(), |quality| search.measure.show(quality)),
        cost: cost.map_or(String::new(), |cost| show_cost(objective, cost)),
        ratio: ratio.map_or(String::new(), |ratio| format!("{ratio:.2} of 8/8")),
        done: search.proposals.into(),
        planned: search.episodes_planned.into(),
        model: search.model,
        profile: search.profile,
        strategy: search.strategy.to_string(),
        budget: search.budget.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        error: search.error,
        tags: search.tags,
        can_pause: actions.can_pause,
        can_resume: actions.can_resume,
        can_cancel: actions.can_cancel,
    }
}

/// What can be done to a search.
pub struct Actions {
    pub can_pause: bool,
    pub can_resume: bool,
    pub can_cancel: bool,
    pub can_delete: bool,
}

impl Actions {
    pub fn of(search: &SearchSummary) -> Self {
        let is_open = search.is_job && search.state.is_open();
        Self {
            can_pause: is_open && !search.is_stopping,
            can_resume: search.state.can_resume(),
            can_cancel: is_open || (search.is_job && search.state == JobState::Paused),
            can_delete: search.state != JobState::Running,
        }
    }
}

/// The part of an address that asks for it.
fn text_of(query: &SearchQuery) -> String {
    let mut parts = Vec::new();
    let mut part = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            parts.push(format!("{name}={}", percent_encoded(&value)));
        }
    };
    part("q", query.text.clone());
    part("state", query.state.map(|state| state.to_string()));
    part("tag", query.tag.clone());
    part("profile", query.profile.clone());
    part("model", query.model.clone());
    part("strategy", query.strategy.map(|strategy| strategy.to_string()));
    part("sort", (query.sort != RunSort::Id).then(|| query.sort.to_string()));
    part("order", (!query.descending).then(|| "asc".into()));
    part("limit", (query.limit != N_ROWS).then(|| query.limit.to_string()));
    part("offset", (query.offset > 0).then(|| query.offset.to_string()));
    parts.join("&")
}

pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            byte => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}
