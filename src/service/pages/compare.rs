//! Several searches beside each other.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension,
    extract::{RawQuery, State},
    response::Response,
};

use super::{Frame, page, problem::PageProblem};
use crate::{
    domain::{BitwidthPolicy, CostKind, LayerBits, LayerDescription, RunId, show_cost},
    service::{access::Caller, problem::Problem, results::numbers, state::App},
    store::SearchSummary,
};

#[derive(Template)]
#[template(path = "service/compare.html")]
struct ComparePage {
    frame: Frame,
    /// As asked for, `1,2`.
    ids: String,
    problem: Option<String>,
    searches: Vec<Compared>,
    layers: Vec<LayerRow>,
    differing: String,
}

/// One search in words; `–` where there is none.
struct Compared {
    id: RunId,
    state: String,
    model: String,
    profile: String,
    strategy: String,
    budget: String,
    seed: u64,
    measure: String,
    quality: String,
    test_quality: String,
    float_quality: String,
    cost: String,
    ratio: String,
    mean_bits: String,
    episodes: u32,
}

struct LayerRow {
    name: String,
    differs: bool,
    /// One for each search.
    bits: Vec<Option<BitsCell>>,
}

struct BitsCell {
    weight_bits: u8,
    activation_bits: u8,
    weight_differs: bool,
    activation_differs: bool,
}

/// A search with the policy it found.
struct Found {
    search: SearchSummary,
    layers: Vec<LayerDescription>,
    policy: Option<BitwidthPolicy>,
}

pub async fn show(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, PageProblem> {
    let ids = ids_of(query.as_deref().unwrap_or_default());
    let mut page_of = ComparePage {
        frame: Frame::new("compare", &caller, &app),
        problem: None,
        searches: Vec::new(),
        layers: Vec::new(),
        differing: String::new(),
        ids: ids.clone(),
    };
    if !ids.is_empty() {
        match gather(&app, &ids).await {
            Ok(found) => fill(&mut page_of, &found),
            Err(problem) if problem.status().is_client_error() => {
                page_of.problem = Some(problem.detail().to_owned());
            }
            Err(problem) => return Err(problem.into()),
        }
    }
    Ok(page(&page_of)?)
}

/// `ids=1,2` as the script asks, and `ids=1&ids=2` as a form does without it.
fn ids_of(query: &str) -> String {
    let values = query.split('&').filter_map(|pair| pair.strip_prefix("ids="));
    let plain = values.map(|value| value.replace("%2C", ",").replace("%2c", ",").replace('+', " "));
    plain.filter(|value| !value.trim().is_empty()).collect::<Vec<_>>().join(",")
}

async fn gather(app: &App, ids: &str) -> Result<Vec<Found>, Problem> {
    let mut found = Vec::new();
    for id in numbers(ids)? {
        let search = app.store.search(id).await?;
        let (mut layers, mut policy) = (Vec::new(), None);
        if let Some(best) = &search.best {
            layers = app.store.outline(id).await?.layers;
            policy = Some(app.store.episode(id, best.episode).await?.policy);
        }
        found.push(Found { search, layers, policy });
    }
    Ok(found)
}

fn fill(page: &mut ComparePage, found: &[Found]) {
    page.searches = found.iter().map(compared).collect();
    let mut names: Vec<&str> = Vec::new();
    for layer in found.iter().flat_map(|one| &one.layers) {
        if !names.contains(&layer.name.as_str()) {
            names.push(&layer.name);
        }
    }
    page.layers = names.into_iter().map(|name| layer_row(name, found)).collect();
    let n_differing = page.layers.iter().filter(|layer| layer.differs).count();
    page.differing = match page.layers.len() {
        0 => "There is no policy yet".into(),
        1 => format!("{n_differing} of 1 layer differs"),
        n_layers => format!("{n_differing} of {n_layers} layers differ"),
    };
}

fn layer_row(name: &str, found: &[Found]) -> LayerRow {
    let bits_in = |one: &Found| -> Option<LayerBits> {
        let index = one.layers.iter().position(|layer| layer.name == name)?;
        one.policy.as_ref()?.layers().get(index).copied()
    };
    let all: Vec<Option<LayerBits>> = found.iter().map(bits_in).collect();
    let first = all.first().copied().flatten();
    let cell = |bits: LayerBits| BitsCell {
        weight_bits: bits.weight.get(),
        activation_bits: bits.activation.get(),
        weight_differs: first.is_some_and(|first| first.weight != bits.weight),
        activation_differs: first.is_some_and(|first| first.activation != bits.activation),
    };
    LayerRow {
        name: name.to_owned(),
        differs: all.iter().any(|bits| *bits != first),
        bits: all.iter().map(|bits| bits.map(cell)).collect(),
    }
}

fn compared(one: &Found) -> Compared {
    let search = &one.search;
    let measure = search.measure;
    let shown = |quality: Option<f64>| quality.map_or("–".into(), |value| measure.show(value));
    let best = search.best.as_ref();
    let objective = search.objective.unwrap_or(CostKind::Latency);
    let cost = best.map(|best| best.cost.get(objective));
    let whole = search.eight_bit_cost.map(|cost| cost.get(objective));
    let ratio = cost.zip(whole).map(|(cost, whole)| cost / whole).filter(|ratio| ratio.is_finite());
    Compared {
        id: search.search,
        state: search.state.to_string(),
        model: search.model.clone(),
        profile: search.profile.clone(),
        strategy: search.strategy.to_string(),
        budget: match search.budget.as_slice() {
            [] => "–".into(),
            some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        },
        seed: search.seed,
        measure: measure.to_string(),
        quality: shown(best.and_then(|best| best.quality)),
        test_quality: shown(best.and_then(|best| best.test_quality)),
        float_quality: shown(search.float_quality),
        cost: cost.map_or("–".into(), |cost| show_cost(objective, cost)),
        ratio: ratio.map_or(String::new(), |ratio| format!("{ratio:.2} of 8/8")),
        mean_bits: mean_bits(one).unwrap_or_else(|| "–".into()),
        episodes: search.episodes,
    }
}

/// Weights each counted once, and inputs of layers.
fn mean_bits(one: &Found) -> Option<String> {
    let policy = one.policy.as_ref()?.layers();
    let (mut bits, mut weights) = (0.0, 0.0);
    for (layer, width) in one.layers.iter().zip(policy) {
        bits += layer.weights as f64 * f64::from(width.weight.get());
        weights += layer.weights as f64;
    }
    let inputs: f64 = policy.iter().map(|width| f64::from(width.activation.get())).sum();
    (weights > 0.0).then(|| format!("{:.2} / {:.2}", bits / weights, inputs / policy.len() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_both_forms() {
        for (query, expected) in [
            ("", ""),
            ("ids=1,2", "1,2"),
            ("ids=1%2C2", "1,2"),
            ("ids=1&ids=2&x=3", "1,2"),
            ("ids=", ""),
        ] {
            assert_eq!(ids_of(query), expected, "{query}");
        }
    }
}
