//! Plots, pages and files of a search: drawn when they are asked for.

use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{StatusCode, header},
    response::{Html, IntoResponse as _, Response},
};
use tokio_util::io::ReaderStream;

use crate::{
    domain::{JobState, RunId},
    report::{
        self, BitsFigure, ConvergenceFigure, CostFigure, Figure, LearningFigure, ParetoFigure,
        RunView,
    },
    runner,
    service::{
        helper::{self, Helped},
        problem::{Problem, unwritable},
        results::EpisodeChoice,
        state::App,
    },
};

/// How long making an export may take.
const EXPORT_LIMIT: Duration = Duration::from_secs(600);

/// A plot of a search
#[utoipa::path(get, path = "/api/v1/searches/{id}/plots/{file}", tag = "files",
    params(("id" = i64, Path, example = 1), ("file" = String, Path, description =
        "pareto, bits, learning, convergence or costs, with .svg or .png")),
    responses((status = 200, content_type = "image/svg+xml"), (status = 200, content_type = "image/png"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn plot(
    State(app): State<Arc<App>>,
    path: Result<Path<(RunId, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let Path((id, file)) = path?;
    let unknown = || {
        Problem::not_found(format!(
            "{file:?} is no plot; pareto, bits, learning, convergence and costs are, as .svg or .png"
        ))
    };
    let (name, ending) = file.rsplit_once('.').ok_or_else(unknown)?;
    if !["pareto", "bits", "learning", "convergence", "costs"].contains(&name)
        || !["svg", "png"].contains(&ending)
    {
        return Err(unknown());
    }
    let (name, is_svg) = (name.to_owned(), ending == "svg");
    let bytes = app
        .blocking(move |app| -> Result<Vec<u8>, Problem> {
            let view = runner::view(&app.views, id)?;
            draw(&view, &name, is_svg)
        })
        .await?;
    let kind = if is_svg { "image/svg+xml" } else { "image/png" };
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

fn draw(view: &RunView, name: &str, is_svg: bool) -> Result<Vec<u8>, Problem> {
    let as_file = |figure: &dyn AnyFigure| figure.bytes(is_svg);
    match name {
        "pareto" => as_file(&ParetoFigure::new(&[view], view.description.objective)?),
        "bits" => as_file(&BitsFigure::of_best(view)?),
        "learning" => as_file(&LearningFigure::new(view)?),
        "convergence" => as_file(&ConvergenceFigure::new(&[view])?),
        _ => as_file(&CostFigure::of_best(view)?),
    }
}

/// Any figure as a file.
trait AnyFigure {
    fn bytes(&self, is_svg: bool) -> Result<Vec<u8>, Problem>;
}

impl<F: Figure> AnyFigure for F {
    fn bytes(&self, is_svg: bool) -> Result<Vec<u8>, Problem> {
        Ok(if is_svg { self.svg()?.into_bytes() } else { self.png()? })
    }
}

/// One page with everything about a search, to keep or to send
#[utoipa::path(get, path = "/api/v1/searches/{id}/report", tag = "files", params(("id" = i64, Path, example = 1)),
    responses((status = 200, content_type = "text/html"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn report(
    State(app): State<Arc<App>>,
    id: Result<Path<RunId>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(id) = id?;
    let page = app
        .blocking(move |app| -> Result<String, Problem> {
            Ok(report::page(&runner::view(&app.views, id)?)?)
        })
        .await?;
    let disposition = format!("attachment; filename=\"haq-{id}-report.html\"");
    Ok(([(header::CONTENT_DISPOSITION, disposition)], Html(page)).into_response())
}

/// Everything about a search as one object: what `haq search --server` shows it from
#[utoipa::path(get, path = "/api/v1/searches/{id}/record", tag = "results", params(("id" = i64, Path, example = 1)),
    responses((status = 200, content_type = "application/json", body = serde_json::Value),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn record(
    State(app): State<Arc<App>>,
    id: Result<Path<RunId>, PathRejection>,
) -> Result<Json<serde_json::Value>, Problem> {
    let Path(id) = id?;
    let value = app
        .blocking(move |app| -> Result<serde_json::Value, Problem> {
            serde_json::to_value(runner::view(&app.views, id)?).map_err(Problem::internal)
        })
        .await?;
    Ok(Json(value))
}

/// A form that other programs read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExportForm {
    Onnx,
    Qonnx,
    /// Encodings of version 1.0.0 or 2.0.0.
    Aimet(&'static str),
    /// The float network that encodings are for.
    AimetNetwork,
    Policy,
}

impl ExportForm {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "onnx" => Self::Onnx,
            "qonnx" => Self::Qonnx,
            "aimet" => Self::Aimet("aimet"),
            "aimet-2" => Self::Aimet("aimet-2"),
            "aimet-network" => Self::AimetNetwork,
            "policy" => Self::Policy,
            _ => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Qonnx => "qonnx",
            Self::Aimet(word) => word,
            Self::AimetNetwork => "aimet-network",
            Self::Policy => "policy",
        }
    }

    /// As `haq export --format` takes it.
    fn format(self) -> &'static str {
        match self {
            Self::AimetNetwork => "aimet",
            form => form.word(),
        }
    }

    /// Which of the files that are written is handed out.
    fn key(self) -> &'static str {
        match self {
            Self::Onnx | Self::Qonnx | Self::AimetNetwork => "network",
            Self::Aimet(_) => "encodings",
            Self::Policy => "policy",
        }
    }

    /// The ending of the file that is handed out.
    fn ending(self) -> &'static str {
        match self {
            Self::Onnx | Self::Qonnx | Self::AimetNetwork => "onnx",
            Self::Aimet(_) => "encodings",
            Self::Policy => "json",
        }
    }
}

/// A policy as a file that other programs run
///
/// `aimet` and `aimet-2` give the encodings, `aimet-network` the float network they are for. Made when it is first asked for, which takes as long as calibrating the network.
#[utoipa::path(get, path = "/api/v1/searches/{id}/exports/{form}", tag = "files",
    params(("id" = i64, Path, example = 1), ("form" = String, Path, description = "onnx, qonnx, aimet, aimet-2, aimet-network or policy"),
        EpisodeChoice),
    responses((status = 200, content_type = "application/octet-stream"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn export(
    State(app): State<Arc<App>>,
    path: Result<Path<(RunId, String)>, PathRejection>,
    query: Result<Query<EpisodeChoice>, QueryRejection>,
) -> Result<Response, Problem> {
    let (Path((id, form)), Query(EpisodeChoice { episode })) = (path?, query?);
    let form = ExportForm::named(&form).ok_or_else(|| {
        Problem::not_found(format!(
            "{form:?} is no export; onnx, qonnx, aimet, aimet-2, aimet-network and policy are"
        ))
    })?;
    let search = app.store.search(id).await?;
    let best = search.best.as_ref().map(|best| best.episode);
    let index = episode.or(best).ok_or_else(|| {
        Problem::not_found(format!("search {id} has no policy that meets its budgets yet"))
    })?;
    // Asked here, so that a number that is none is told as one.
    app.store.episode(id, index).await?;
    let path = made(&app, id, index, form).await?;
    let is_final = search.state == JobState::Completed || Some(index) != best;
    let file = tokio::fs::File::open(&path).await.map_err(Problem::internal)?;
    let bytes = file.metadata().await.map_err(Problem::internal)?.len();
    let name = format!("haq-{id}-{index}-{}.{}", form.word(), form.ending());
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, bytes.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::CACHE_CONTROL, if is_final { "private, max-age=3600" } else { "no-store" }.into()),
    ];
    Ok((headers, Body::from_stream(ReaderStream::new(file))).into_response())
}

/// The file of an export; made in the work folder and moved once it is whole.
async fn made(
    app: &Arc<App>,
    id: RunId,
    episode: u32,
    form: ExportForm,
) -> Result<PathBuf, Problem> {
    // A number is used again in another database only: its digest would be another.
    let run = app.store.run(id).await?;
    let digest = run.description.model_digest.get(..12).unwrap_or("model").to_owned();
    let name = format!("{id}-{episode}-{}-{digest}.{}", form.word(), form.ending());
    let kept = app.files.exports_folder().join(&name);
    if tokio::fs::try_exists(&kept).await.unwrap_or(false) {
        return Ok(kept);
    }
    let folder = tempfile::tempdir_in(app.files.work_folder()).map_err(unwritable)?;
    let main = folder.path().join(match form {
        ExportForm::Policy => "export.json",
        _ => "export.onnx",
    });
    let mut arguments: Vec<OsString> = vec!["export".into(), id.to_string().into()];
    arguments.extend(["--episode".into(), episode.to_string().into()]);
    arguments.extend(["--format".into(), form.format().into(), "--out".into(), main.into()]);
    arguments.extend(["--db".into(), app.store.path().into(), "--threads".into()]);
    arguments.extend([app.settings.threads.to_string().into(), "--json".into()]);
    let said = match helper::run(app, arguments, EXPORT_LIMIT).await? {
        Some(Helped::Done { stdout }) => stdout,
        Some(Helped::Refused { reason }) => return Err(Problem::unprocessable(reason)),
        None => {
            let told = "making the export took too long";
            return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, told));
        }
    };
    let said: serde_json::Value = serde_json::from_slice(&said).map_err(Problem::internal)?;
    let made = said["files"][form.key()].as_str().map(PathBuf::from);
    let made = made.ok_or_else(|| Problem::internal("an export wrote no file"))?;
    tokio::fs::rename(&made, &kept).await.map_err(unwritable)?;
    Ok(kept)
}
