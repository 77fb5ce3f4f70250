//! One search: where it stands, what it found, what can be done with it.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};

use super::{Count, Frame, overview::Actions, page, problem::PageProblem};
use crate::{
    domain::{Budget, CostKind, Measure, RunId, show_cost},
    service::{access::Caller, problem::or_none_yet, state::App},
    store::{BestSummary, SearchSummary},
};

#[derive(Template)]
#[template(path = "service/search.html")]
struct SearchPage {
    frame: Frame,
    search: Head,
    tags_text: String,
    exports: Vec<Export>,
    plots: [Plot; 5],
}

struct Head {
    id: RunId,
    state: String,
    model: String,
    profile: String,
    strategy: String,
    data: String,
    /// Its file or folder.
    data_name: String,
    measure: Measure,
    budget: String,
    created: String,
    created_at: String,
    submitter: String,
    seed: u64,
    evaluations: Count,
    wall: String,
    done: Count,
    planned: Count,
    float_quality: String,
    float_test_quality: String,
    error: Option<String>,
    best: Option<Best>,
    tags: Vec<String>,
    note: String,
    actions: Actions,
}

struct Best {
    episode: u32,
    quality: String,
    to_float: String,
    test_quality: Option<String>,
    costs: Vec<CostRow>,
}

struct CostRow {
    name: &'static str,
    value: String,
    eight_bit: String,
    ratio: String,
    limit: String,
}

struct Export {
    href: String,
    label: &'static str,
    detail: &'static str,
}

struct Plot {
    name: &'static str,
    label: &'static str,
}

pub async fn show(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<RunId>, PathRejection>,
) -> Result<Response, PageProblem> {
    let Path(id) = id?;
    let search = app.store.search(id).await?;
    let limits = or_none_yet(app.store.outline(id).await)?.budgets;
    let plot = |name, label| Plot { name, label };
    let page_of = SearchPage {
        frame: Frame::new("searches", &caller, &app),
        tags_text: search.tags.join(", "),
        exports: exports(id),
        plots: [
            plot("pareto", "Quality against cost"),
            plot("bits", "Bits of each layer"),
            plot("costs", "Cost of each layer"),
            plot("learning", "How the search goes"),
            plot("convergence", "Quality against evaluations and seconds"),
        ],
        search: head(search, &limits),
    };
    Ok(page(&page_of)?)
}

fn exports(id: RunId) -> Vec<Export> {
    let form = |form: &str, label, detail| Export {
        href: format!("/api/v1/searches/{id}/exports/{form}"),
        label,
        detail,
    };
    vec![
        Export {
            href: format!("/api/v1/searches/{id}/policy"),
            label: "Policy",
            detail: "JSON: the bits of each layer, as haq reads them",
        },
        form("onnx", "ONNX", "Quantized network for ONNX Runtime and others (QDQ)"),
        form("qonnx", "QONNX", "For FINN and hls4ml"),
        form("aimet", "AIMET encodings", "Version 1.0.0, for Qualcomm's tools"),
        form("aimet-2", "AIMET encodings 2", "Version 2.0.0"),
        form("aimet-network", "Float network", "What the encodings are for"),
        form("policy", "Policy with levels", "JSON: scale and zero point of every tensor too"),
    ]
}

fn head(search: SearchSummary, limits: &[Budget]) -> Head {
    let measure = search.measure;
    let shown =
        |quality: Option<f64>| quality.map_or(String::new(), |quality| measure.show(quality));
    Head {
        id: search.search,
        state: if search.is_stopping { "stopping".into() } else { search.state.to_string() },
        actions: Actions::of(&search),
        best: search.best.as_ref().map(|best| best_of(best, &search, limits)),
        measure,
        budget: search.budget.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        created: search.created_at.replace('T', " ").chars().take(16).collect::<String>() + " UTC",
        wall: duration(search.wall_s),
        done: search.proposals.into(),
        planned: search.episodes_planned.into(),
        float_quality: shown(search.float_quality),
        float_test_quality: shown(search.float_test_quality),
        strategy: search.strategy.to_string(),
        created_at: search.created_at,
        model: search.model,
        profile: search.profile,
        data_name: search.data.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default().into(),
        data: search.data,
        submitter: search.submitter,
        seed: search.seed,
        evaluations: search.evaluations.into(),
        error: search.error,
        tags: search.tags,
        note: search.note,
    }
}

fn best_of(best: &BestSummary, search: &SearchSummary, limits: &[Budget]) -> Best {
    let measure = search.measure;
    let is_share = matches!(measure, Measure::Top1 | Measure::Top5 | Measure::Agreement);
    let to_float = best.quality.zip(search.float_quality).map(|(best, float)| best - float);
    let to_float = match to_float {
        Some(change) if is_share => format!("{:+.2} points", change * 100.0).replace('-', "−"),
        Some(change) => format!("{:+.4}", -change).replace('-', "−"),
        None => "not compared".into(),
    };
    let row = |kind: CostKind| {
        let (value, whole) =
            (best.cost.get(kind), search.eight_bit_cost.map_or(f64::NAN, |cost| cost.get(kind)));
        let ratio = value / whole;
        let limits = limits.iter().filter(|budget| budget.kind == kind);
        let limit = limits.map(|budget| budget.limit).reduce(f64::min);
        CostRow {
            name: match kind {
                CostKind::Latency => "latency",
                CostKind::Energy => "energy",
                CostKind::Size => "weight size",
                CostKind::Memory => "peak memory",
            },
            value: show_cost(kind, value),
            eight_bit: if whole.is_finite() { show_cost(kind, whole) } else { "–".into() },
            ratio: if ratio.is_finite() { format!("{ratio:.2}") } else { "–".into() },
            limit: limit.map_or(String::new(), |limit| show_cost(kind, limit)),
        }
    };
    Best {
        episode: best.episode,
        quality: best.quality.map_or("–".into(), |quality| measure.show(quality)),
        to_float,
        test_quality: best.test_quality.map(|quality| measure.show(quality)),
        costs: CostKind::ALL.map(row).into(),
    }
}

/// `1 h 12 min`, `3 min 5 s`, `4.2 s`
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}
