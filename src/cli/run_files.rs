//! The files a run leaves: its policy, its plots, its page.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{
    export::PolicyFile,
    report::{
        self, BitsFigure, ConvergenceFigure, CostFigure, Figure, LearningFigure, ParetoFigure,
        ReportError, RunView,
    },
    runner::policy_file_of,
    store::BlockingStore,
};

/// Where everything went; absent where there was nothing to draw.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RunFiles {
    pub policy: Option<PathBuf>,
    pub pareto_svg: Option<PathBuf>,
    pub pareto_png: Option<PathBuf>,
    pub bits_svg: Option<PathBuf>,
    pub bits_png: Option<PathBuf>,
    pub learning_svg: Option<PathBuf>,
    pub learning_png: Option<PathBuf>,
    pub convergence_svg: Option<PathBuf>,
    pub convergence_png: Option<PathBuf>,
    pub costs_svg: Option<PathBuf>,
    pub costs_png: Option<PathBuf>,
    pub report_html: Option<PathBuf>,
}

/// Writes all files of a run into `folder/run-N`, and notes them in the database where there is one.
///
/// # Errors
/// When a file cannot be written.
pub fn write(
    store: Option<&BlockingStore>,
    view: &RunView,
    folder: &Path,
) -> anyhow::Result<RunFiles> {
    let folder = folder.join(format!("run-{}", view.id));
    std::fs::create_dir_all(&folder)
        .map_err(|error| anyhow::anyhow!("{}: {error}", folder.display()))?;
    let mut files = RunFiles::default();
    let keep = |name: &str, kind: &str| -> anyhow::Result<PathBuf> {
        let path = folder.join(name);
        if let Some(store) = store {
            store.add_artifact(view.id, kind, &path)?;
        }
        Ok(path)
    };
    if let Some(policy) = policy_file(view) {
        let path = folder.join("policy.json");
        policy.save(&path)?;
        files.policy = Some(keep("policy.json", "policy")?);
    }
    let objective = view.description.objective;
    let drawn = draw(ParetoFigure::new(&[view], objective), "pareto", &folder, &keep)?;
    (files.pareto_svg, files.pareto_png) = drawn;
    let drawn = draw(BitsFigure::of_best(view), "bits", &folder, &keep)?;
    (files.bits_svg, files.bits_png) = drawn;
    let drawn = draw(LearningFigure::new(view), "learning", &folder, &keep)?;
    (files.learning_svg, files.learning_png) = drawn;
    let drawn = draw(ConvergenceFigure::new(&[view]), "convergence", &folder, &keep)?;
    (files.convergence_svg, files.convergence_png) = drawn;
    let drawn = draw(CostFigure::of_best(view), "costs", &folder, &keep)?;
    (files.costs_svg, files.costs_png) = drawn;
    report::write_page(view, &folder.join("report.html"))?;
    files.report_html = Some(keep("report.html", "report-html")?);
    Ok(files)
}

/// Writes a figure as SVG and PNG; neither where there is nothing to draw.
fn draw(
    figure: Result<impl Figure, ReportError>,
    name: &str,
    folder: &Path,
    keep: &dyn Fn(&str, &str) -> anyhow::Result<PathBuf>,
) -> anyhow::Result<(Option<PathBuf>, Option<PathBuf>)> {
    let figure = match figure {
        Ok(figure) => figure,
        Err(ReportError::Empty(_)) => return Ok((None, None)),
        Err(error) => return Err(error.into()),
    };
    let write = |ending: &str| -> anyhow::Result<PathBuf> {
        let file = format!("{name}.{ending}");
        figure.write(&folder.join(&file))?;
        keep(&file, &format!("{name}-{ending}"))
    };
    Ok((Some(write("svg")?), Some(write("png")?)))
}

/// The best policy of a run, with what it reached.
pub fn policy_file(view: &RunView) -> Option<PolicyFile> {
    let best = view.best()?;
    Some(policy_file_of(view.id, &view.description, &view.result, best))
}
