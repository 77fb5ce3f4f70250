//! `haq search` with several strategies or seeds: each an ordinary run, a table and a plot at the
//! end.

use std::{
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use serde_json::json;

use crate::{
    cli::{
        args::{Global, SearchArgs},
        exit::Ending,
        output,
        progress::Progress,
        session::{open_store, stop_flag},
    },
    domain::RunId,
    quantization::EvaluationSettings,
    report::{self, ConvergenceFigure, Figure as _, ReportError, RunView},
    runner::{self, Contest, ContestEvent, ContestRequest, Place},
    search::{SearchRequest, Verdict},
    store::BlockingStore,
};

pub fn run(
    global: &Global,
    args: &SearchArgs,
    search: SearchRequest,
    settings: EvaluationSettings,
) -> anyhow::Result<Ending> {
    let store = open_store(global)?;
    let request = ContestRequest {
        search,
        strategies: args.strategy.0.clone(),
        repeats: args.repeats,
        again: args.again,
    };
    let mut contest = Contest::begin(&store, request, settings)?;
    let n_runs = contest.n_runs();
    let prepare_s = contest.prepared().prepare_s;
    output::note(
        global,
        format!("{n_runs} runs on one calibrated network, made ready in {prepare_s:.1} s"),
    );
    let stop = stop_flag(
        global,
        "stopping after this episode; everything so far is kept (again: stop now)",
    )?;
    let mut progress: Option<Progress> = None;
    let finished = contest.execute(&mut |event| {
        match event {
            ContestEvent::Known { place, run } => {
                output::note(global, format!("{} · run {run} is known", place_words(place)));
            }
            ContestEvent::Starts { place, runner } => {
                let plan = runner.plan();
                let (strategy, seed) = (plan.request.strategy, plan.request.seed);
                let place = place_words(place);
                let id = runner.id();
                output::note(global, format!("{place} · {strategy}, seed {seed} · run {id}"));
                let planned = plan.references().len() as u64 + u64::from(plan.request.episodes);
                progress = Some(Progress::start(
                    global,
                    planned,
                    runner.n_done() as u64,
                    plan.request.measure,
                    plan.objective,
                    plan.budgets.first().copied(),
                ));
            }
            ContestEvent::Episode { record, is_new_best } => {
                if let Some(progress) = &mut progress {
                    progress.episode(record, is_new_best);
                }
            }
            ContestEvent::Ends { .. } => {
                if let Some(progress) = progress.take() {
                    progress.finish();
                }
            }
        }
        if stop.load(Ordering::SeqCst) { Verdict::Stop } else { Verdict::GoOn }
    })?;
    let views = views(&store, &finished.runs)?;
    let borrowed: Vec<&RunView> = views.iter().collect();
    let files = draw(&borrowed, &args.out)?;
    if global.json {
        output::print_json(&json!({
            "schema": output::SCHEMA,
            "runs": finished.runs,
            "is_complete": finished.is_complete,
            "n_runs": n_runs,
            "prepare_s": prepare_s,
            "sensitivities_s": contest.sensitivities_s(),
            "strategies": report::standings(&borrowed),
            "files": files,
        }))?;
    } else {
        output::print(&report::standings_table(&borrowed, output::look()))?;
        for file in &files {
            output::note(global, format!("drawn in {}", file.display()));
        }
    }
    if finished.is_complete {
        return Ok(Ending::Done);
    }
    let done = finished.runs.len();
    output::note(
        global,
        format!(
            "interrupted in run {done} of {n_runs}; the same command goes on where it was{}",
            if args.again { ", without --again" } else { "" }
        ),
    );
    Ok(Ending::Interrupted)
}

fn place_words(place: Place) -> String {
    format!("{} of {}", place.number, place.of)
}

fn views(store: &BlockingStore, runs: &[RunId]) -> anyhow::Result<Vec<RunView>> {
    Ok(runs.iter().map(|&run| runner::view(store, run)).collect::<Result<_, _>>()?)
}

/// Convergence as SVG and PNG, in a folder named by the first run; nothing where no run has a
/// policy of its own yet.
fn draw(views: &[&RunView], out: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let figure = match ConvergenceFigure::new(views) {
        Ok(figure) => figure,
        Err(ReportError::Empty(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let folder = out.join(format!("contest-{}", views[0].id));
    std::fs::create_dir_all(&folder)
        .map_err(|error| anyhow::anyhow!("{}: {error}", folder.display()))?;
    let files = ["convergence.svg", "convergence.png"].map(|name| folder.join(name));
    for file in &files {
        figure.write(file)?;
    }
    Ok(files.into())
}
