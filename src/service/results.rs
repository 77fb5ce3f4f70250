//! What a search found: episodes, points for plots, front, policy, layers.

use std::sync::Arc;

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::header,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    domain::{BitwidthPolicy, CostKind, LayerDescription, RunId},
    runner::{self, LayeredPolicy, RunnerError},
    service::{
        problem::{Problem, or_none_yet},
        state::App,
        wire::{
            Change, ComparedSearch, Comparison, Episode, EpisodeList, Front, FrontPoint,
            LayerWidths, PointColumns, Points, PolicyLayer, PolicyLayers, SCHEMA, Summary, unit,
        },
    },
};

/// Episodes of one answer at most.
const N_EPISODES_MAX: u32 = 1000;

/// Points of one plot at most.
const N_POINTS_MAX: u32 = 20_000;

/// Searches side by side at most.
const N_COMPARED_MAX: usize = 12;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EpisodeQuery {
    pub offset: Option<u32>,
    /// 1 to 1000
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// asc or desc
    pub order: Option<String>,
}

/// Episodes in the order they were judged
#[utoipa::path(get, path = "/api/v1/searches/{id}/episodes", tag = "results",
    params(("id" = i64, Path, example = 1), EpisodeQuery), responses((status = 200, body = EpisodeList),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn episodes(
    State(app): State<Arc<App>>,
    id: Result<Path<RunId>, PathRejection>,
    query: Result<Query<EpisodeQuery>, QueryRejection>,
) -> Result<Json<EpisodeList>, Problem> {
    let (Path(id), Query(query)) = (id?, query?);
    let limit = query.limit.unwrap_or(100);
    if !(1..=N_EPISODES_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("limit={limit} is not 1 to {N_EPISODES_MAX}")));
    }
    let descending = match query.order.as_deref() {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(other) => {
            return Err(Problem::bad_request(format!("order={other:?} is not asc or desc")));
        }
    };
    let aim = app.store.aim(id).await?;
    let found = app.store.episodes_from(id, query.offset.unwrap_or(0), limit, descending).await;
    let (total, records) = or_none_yet(found)?;
    let episodes = records.iter().map(|record| Episode::new(record, aim.measure)).collect();
    Ok(Json(EpisodeList { schema: SCHEMA, total: total.into(), episodes }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PointQuery {
    /// latency, energy, size or memory; the search's objective where absent
    pub cost: Option<String>,
    /// About how many, 1 to 20,000
    #[param(minimum = 1, maximum = 20_000)]
    pub max: Option<u32>,
}

fn cost_kind(text: &str) -> Result<CostKind, Problem> {
    text.parse().map_err(|told| Problem::bad_request(format!("cost={told}")))
}

/// Episodes for a plot of quality against a cost
#[utoipa::path(get, path = "/api/v1/searches/{id}/points", tag = "results",
    params(("id" = i64, Path, example = 1), PointQuery), responses((status = 200, body = Points),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn points(
    State(app): State<Arc<App>>,
    id: Result<Path<RunId>, PathRejection>,
    query: Result<Query<PointQuery>, QueryRejection>,
) -> Result<Json<Points>, Problem> {
    let (Path(id), Query(query)) = (id?, query?);
    let max = query.max.unwrap_or(2000);
    if !(1..=N_POINTS_MAX).contains(&max) {
        return Err(Problem::bad_request(format!("max={max} is not 1 to {N_POINTS_MAX}")));
    }
    let asked = query.cost.as_deref().map(cost_kind).transpose()?;
    let search = app.store.search(id).await?;
    let kind = asked.or(search.objective).unwrap_or(CostKind::Latency);
    let (total, found) = or_none_yet(app.store.points(id, kind, max).await)?;
    let outline = or_none_yet(app.store.outline(id).await)?;
    let limits = outline.budgets.iter().filter(|budget| budget.kind == kind);
    let limit = limits.map(|budget| budget.limit).reduce(f64::min);
    let mut points = PointColumns::default();
    let drawn = found.into_iter().filter(|point| point.cost.is_finite());
    for point in drawn {
        points.episode.push(point.episode);
        points.cost.push(point.cost);
        points.quality.push(point.quality);
        points.kind.push(point.kind.word());
        points.feasible.push(point.feasible);
        points.front.push(point.on_front);
        points.uniform.push(point.policy.and_then(|policy| uniform(&policy, &outline.layers)));
    }
    Ok(Json(Points {
        schema: SCHEMA,
        cost: kind.to_string(),
        unit: unit(kind),
        measure: search.measure.to_string(),
        total: total.into(),
        shown: points.episode.len(),
        limit,
        float_quality: search.float_quality,
        points,
    }))
}

/// The bits all layers share that are not pinned.
fn uniform(policy: &BitwidthPolicy, layers: &[LayerDescription]) -> Option<String> {
    let is_free = |index: usize| !layers.get(index).is_some_and(|layer| layer.pinned);
    let mut free = policy.layers().iter().enumerate().filter(|(index, _)| is_free(*index));
    let (_, first) = free.next()?;
    free.all(|(_, bits)| bits == first).then(|| first.to_string())
}

/// The policies that no other beats in both quality and cost
#[utoipa::path(get, path = "/api/v1/searches/{id}/front", tag = "results", params(("id" = i64, Path, example = 1)),
    responses((status = 200, body = Front),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn front(
    State(app): State<Arc<App>>,
    id: Result<Path<RunId>, PathRejection>,
) -> Result<Json<Front>, Problem> {
    let Path(id) = id?;
    let aim = app.store.aim(id).await?;
    let records = or_none_yet(app.store.front(id).await)?;
    Ok(Json(Front {
        schema: SCHEMA,
        id,
        objective: aim.objective.map(|kind| kind.to_string()),
        measure: aim.measure.to_string(),
        front: records.iter().map(|record| Episode::new(record, aim.measure)).collect(),
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EpisodeChoice {
    /// An episode of the search; its best where absent
    pub episode: Option<u32>,
}

/// A policy as a file, such as `haq export --policy` and `haq evaluate --policy` read
#[utoipa::path(get, path = "/api/v1/searches/{id}/policy", tag = "results",
    params(("id" = i64, Path, example = 1), EpisodeChoice),
    responses((status = 200, content_type = "application/json", body = serde_json::Value),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn policy(
    State(app): State<Arc<App>>,
    id: Result<Path<RunId>, PathRejection>,
    query: Result<Query<EpisodeChoice>, QueryRejection>,
) -> Result<Response, Problem> {
    let (Path(id), Query(EpisodeChoice { episode })) = (id?, query?);
    let file = app.blocking(move |app| runner::policy_file(&app.views, id, episode)).await?;
    let disposition = format!("attachment; filename=\"haq-{id}-policy.json\"");
    Ok(([(header::CONTENT_DISPOSITION, disposition)], Json(file)).into_response())
}

/// The layers of a policy: bits, cost, sensitivity, and why
#[utoipa::path(get, path = "/api/v1/searches/{id}/layers", tag = "results",
    params(("id" = i64, Path, example = 1), EpisodeChoice), responses((status = 200, body = PolicyLayers),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn layers(
    State(app): State<Arc<App>>,
    id: Result<Path<RunId>, PathRejection>,
    query: Result<Query<EpisodeChoice>, QueryRejection>,
) -> Result<Json<PolicyLayers>, Problem> {
    let (Path(id), Query(EpisodeChoice { episode })) = (id?, query?);
    let search = app.store.search(id).await?;
    let found = app
        .blocking(move |app| -> Result<LayeredPolicy, RunnerError> {
            runner::layered_policy(&app.views, id, episode)
        })
        .await?;
    Ok(Json(PolicyLayers {
        schema: SCHEMA,
        episode: found.record.index,
        quality: search.measure.of(&found.record.quality).filter(|quality| quality.is_finite()),
        cost: found.record.cost.into(),
        layers: (0..found.layers.len()).map(|index| layer(&found, index)).collect(),
    }))
}

fn layer(found: &LayeredPolicy, index: usize) -> PolicyLayer {
    let (shape, cost) = (&found.layers[index], &found.costs[index]);
    let bits = found.record.policy.layers()[index];
    let why = found.explanation.get(index);
    let changes = why.iter().flat_map(|layer| &layer.changes).map(|change| Change {
        operand: change.operand.to_string(),
        to_bits: change.to.get(),
        predicted_kl_change: change.predicted_kl_change,
        predicted_cost_change: change.predicted_cost_change,
        breaks_a_budget: change.breaks_a_budget,
    });
    PolicyLayer {
        name: shape.name.clone(),
        kind: shape.kind.clone(),
        macs: shape.macs,
        weights: shape.weights,
        pinned: shape.pinned,
        weight_bits: bits.weight.get(),
        activation_bits: bits.activation.get(),
        latency_s: cost.latency_s,
        energy_j: cost.energy_j,
        size_bytes: cost.size_bytes,
        utilization: cost.utilization,
        bound: match cost.bound {
            crate::domain::Bound::Compute => "compute",
            crate::domain::Bound::Memory => "memory",
        },
        share: found.shares.get(index).copied(),
        why: found.reasons.get(index).cloned(),
        weight_kl: why.and_then(|layer| layer.weight_kl),
        activation_kl: why.and_then(|layer| layer.activation_kl),
        changes: changes.collect(),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CompareQuery {
    /// Numbers of searches, with commas: 12,15
    pub ids: String,
}

/// # Errors
/// 400 where the numbers are none, or too many.
pub fn numbers(text: &str) -> Result<Vec<RunId>, Problem> {
    let mut ids = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let id = part.parse().map_err(|_| {
            Problem::bad_request(format!("ids={part:?} is not the number of a search"))
        })?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    if ids.is_empty() || ids.len() > N_COMPARED_MAX {
        let told = format!("ids: 1 to {N_COMPARED_MAX} numbers of searches, with commas");
        return Err(Problem::bad_request(told));
    }
    Ok(ids)
}

/// Searches side by side: their fronts and best policies
#[utoipa::path(get, path = "/api/v1/compare", tag = "results", params(CompareQuery),
    responses((status = 200, body = Comparison),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn compare(
    State(app): State<Arc<App>>,
    query: Result<Query<CompareQuery>, QueryRejection>,
) -> Result<Json<Comparison>, Problem> {
    let Query(CompareQuery { ids }) = query?;
    let mut searches = Vec::new();
    for id in numbers(&ids)? {
        let search = app.store.search(id).await?;
        let front = or_none_yet(app.store.front(id).await)?;
        let point = |record: &crate::domain::EpisodeRecord| FrontPoint {
            episode: record.index,
            quality: search.measure.of(&record.quality),
            cost: record.cost.into(),
        };
        let mut layers = Vec::new();
        if let Some(best) = &search.best {
            let names = app.store.outline(id).await?.layers;
            let record = app.store.episode(id, best.episode).await?;
            layers.extend(names.into_iter().zip(record.policy.layers()).map(|(layer, bits)| {
                let (weight, activation) = (bits.weight.get(), bits.activation.get());
                LayerWidths { name: layer.name, weight_bits: weight, activation_bits: activation }
            }));
        }
        let front = front.iter().map(point).collect();
        searches.push(ComparedSearch { summary: Summary::from(search), front, layers });
    }
    Ok(Json(Comparison { schema: SCHEMA, searches }))
}
