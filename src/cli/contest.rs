//! `haq search` with several strategies, seeds or devices: each an ordinary run, tables and plots
//! at the end.

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
        run_files,
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
    searches: Vec<SearchRequest>,
    settings: EvaluationSettings,
) -> anyhow::Result<Ending> {
    let store = open_store(global)?;
    let request = ContestRequest {
        searches,
        strategies: args.strategy.strategies.clone(),
        may_leave_out: args.strategy.is_all,
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
    for (strategy, reason) in contest.left_out() {
        output::note(global, format!("{strategy} is left out: {reason}"));
    }
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
                progress = Some(Progress::of(global, runner));
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
    let devices = by_device(&views);
    let mut files = Vec::new();
    let first = finished.runs.first().copied().unwrap_or_default();
    let folder = args.out.join(format!("contest-{first}"));
    for (profile, runs) in &devices {
        files.extend(draw(runs, profile, &folder)?);
    }
    if n_runs == args.hw.len() {
        // One strategy, one seed: each device's answer is wanted as after a search of its own.
        for view in &views {
            files.extend(run_files::write(Some(&store), view, &args.out)?.policy);
        }
    }
    let across = if devices.len() > 1 { runner::across_devices(&views)? } else { vec![] };
    if global.json {
        let strategies: Vec<_> =
            devices.iter().flat_map(|(_, runs)| report::standings(runs)).collect();
        output::print_json(&json!({
            "schema": output::SCHEMA,
            "runs": finished.runs,
            "is_complete": finished.is_complete,
            "n_runs": n_runs,
            "prepare_s": prepare_s,
            "sensitivities_s": contest.sensitivities_s(),
            "strategies": strategies,
            "left_out": contest.left_out(),
            "across_devices": across,
            "files": files,
        }))?;
    } else {
        for (profile, runs) in &devices {
            if devices.len() > 1 {
                output::print(profile)?;
            }
            output::print(&format!("{}\n", report::standings_table(runs, output::look())))?;
        }
        if !across.is_empty() {
            output::print(&report::across_devices_table(&across, output::look()))?;
        }
        for file in &files {
            output::note(global, format!("written: {}", file.display()));
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

/// The runs on each device, in the order of their first.
fn by_device(views: &[RunView]) -> Vec<(&str, Vec<&RunView>)> {
    let mut devices: Vec<(&str, Vec<&RunView>)> = Vec::new();
    for view in views {
        let profile = view.description.profile.as_str();
        match devices.iter_mut().find(|(known, _)| *known == profile) {
            Some((_, runs)) => runs.push(view),
            None => devices.push((profile, vec![view])),
        }
    }
    devices
}

/// Convergence on one device as SVG and PNG; nothing where no run has a policy of its own yet.
fn draw(runs: &[&RunView], profile: &str, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let figure = match ConvergenceFigure::new(runs) {
        Ok(figure) => figure,
        Err(ReportError::Empty(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    std::fs::create_dir_all(folder)
        .map_err(|error| anyhow::anyhow!("{}: {error}", folder.display()))?;
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let device: String = profile.chars().map(plain).collect();
    let files = ["svg", "png"].map(|end| folder.join(format!("convergence-{device}.{end}")));
    for file in &files {
        figure.write(file)?;
    }
    Ok(files.into())
}
