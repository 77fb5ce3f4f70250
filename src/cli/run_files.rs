//! The files a run leaves: its policy, its plots, its page.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{
    export::{PolicyFile, PolicyMetrics},
    report::{self, BitsFigure, CostFigure, Figure as _, LearningFigure, ParetoFigure, RunView},
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
    pub costs_svg: Option<PathBuf>,
    pub costs_png: Option<PathBuf>,
    pub report_html: Option<PathBuf>,
}

/// Writes all files of a run into `folder/run-N` and notes them in the database.
///
/// # Errors
/// When a file cannot be written.
pub fn write(store: &BlockingStore, view: &RunView, folder: &Path) -> anyhow::Result<RunFiles> {
    let folder = folder.join(format!("run-{}", view.id));
    std::fs::create_dir_all(&folder)
        .map_err(|error| anyhow::anyhow!("{}: {error}", folder.display()))?;
    let mut files = RunFiles::default();
    let keep = |name: &str, kind: &str| -> anyhow::Result<PathBuf> {
        let path = folder.join(name);
        store.add_artifact(view.id, kind, &path)?;
        Ok(path)
    };
    if let Some(policy) = policy_file(view) {
        let path = folder.join("policy.json");
        policy.save(&path)?;
        files.policy = Some(keep("policy.json", "policy")?);
    }
    if let Ok(figure) = ParetoFigure::new(&[view], view.description.objective) {
        figure.write(&folder.join("pareto.svg"))?;
        figure.write(&folder.join("pareto.png"))?;
        files.pareto_svg = Some(keep("pareto.svg", "pareto-svg")?);
        files.pareto_png = Some(keep("pareto.png", "pareto-png")?);
    }
    if let Ok(figure) = BitsFigure::of_best(view) {
        figure.write(&folder.join("bits.svg"))?;
        figure.write(&folder.join("bits.png"))?;
        files.bits_svg = Some(keep("bits.svg", "bits-svg")?);
        files.bits_png = Some(keep("bits.png", "bits-png")?);
    }
    if let Ok(figure) = LearningFigure::new(view) {
        figure.write(&folder.join("learning.svg"))?;
        figure.write(&folder.join("learning.png"))?;
        files.learning_svg = Some(keep("learning.svg", "learning-svg")?);
        files.learning_png = Some(keep("learning.png", "learning-png")?);
    }
    if let Ok(figure) = CostFigure::of_best(view) {
        figure.write(&folder.join("costs.svg"))?;
        figure.write(&folder.join("costs.png"))?;
        files.costs_svg = Some(keep("costs.svg", "costs-svg")?);
        files.costs_png = Some(keep("costs.png", "costs-png")?);
    }
    report::write_page(view, &folder.join("report.html"))?;
    files.report_html = Some(keep("report.html", "report-html")?);
    Ok(files)
}

/// The best policy of a run, with what it reached.
pub fn policy_file(view: &RunView) -> Option<PolicyFile> {
    let best = view.best()?;
    let description = &view.description;
    let names: Vec<&str> = description.layers.iter().map(|layer| layer.name.as_str()).collect();
    let metrics = PolicyMetrics {
        modelled_cost: best.cost,
        quality_search: best.quality,
        quality_test: view.result.best_test,
    };
    Some(PolicyFile {
        run: Some(view.id),
        model: Some(description.model.clone()),
        model_digest: Some(description.model_digest.clone()),
        profile: Some(description.profile.clone()),
        budgets: description.budget_requests.clone(),
        metrics: Some(metrics),
        ..PolicyFile::new(&names, &best.policy)
    })
}
