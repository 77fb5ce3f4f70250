//! `haq runs list|show|compare|delete`.

use serde_json::json;

use crate::{
    cli::{
        args::{Global, RunsCommand, RunsCompareArgs, RunsListArgs, RunsShowArgs},
        exit::{Ending, UsageError},
        output, plot_file,
        run_files::policy_file,
        session::{open_store, read_store},
    },
    domain::{EpisodeRecord, JudgedBy, RunState, show_cost},
    report::{self, ConvergenceFigure, Figure as _, RunView},
    runner,
    store::{RunQuery, RunSort, RunSummary},
};

pub fn run(global: &Global, command: &RunsCommand) -> anyhow::Result<Ending> {
    match command {
        RunsCommand::List(args) => list(global, args)?,
        RunsCommand::Show(args) => show(global, args)?,
        RunsCommand::Compare(args) => compare(global, args)?,
        RunsCommand::Delete(args) => {
            let store = open_store(global)?;
            for &run in &args.runs {
                store.delete_run(run)?;
                output::note(global, format!("run {run} is deleted"));
            }
        }
    }
    Ok(Ending::Done)
}

fn list(global: &Global, args: &RunsListArgs) -> anyhow::Result<()> {
    let runs = read_store(global)?.list(&query(args)?)?;
    if global.json {
        output::print_json(&json!({"schema": output::SCHEMA, "runs": runs}))
    } else if args.csv {
        output::print(&csv_of(SUMMARY_COLUMNS, runs.iter().map(summary_row))?)
    } else if runs.is_empty() {
        output::print("no runs")
    } else {
        output::print(&summary_table(&runs))
    }
}

fn query(args: &RunsListArgs) -> anyhow::Result<RunQuery> {
    let best_is_largest = !matches!(args.sort, RunSort::Cost(_));
    let state = args.state.as_deref().map(run_state).transpose()?;
    Ok(RunQuery {
        profile: args.hw.as_ref().map(|hw| profile_name(hw)),
        model: args.model.clone(),
        strategy: args.strategy,
        state,
        sort: args.sort,
        descending: best_is_largest != args.reverse,
        limit: args.limit,
        ..RunQuery::default()
    })
}

fn run_state(word: &str) -> Result<RunState, UsageError> {
    let found = RunState::ALL.into_iter().find(|state| state.word() == word);
    found.ok_or_else(|| {
        UsageError(format!("--state {word} is not running, completed, interrupted or failed"))
    })
}

/// `hw-profiles/edge-tpu.toml` and `edge-tpu.toml` mean the profile named `edge-tpu`.
fn profile_name(hw: &str) -> String {
    let name = std::path::Path::new(hw).file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_else(|| hw.to_owned());
    name.strip_suffix(".toml").map(ToOwned::to_owned).unwrap_or(name)
}

const SUMMARY_COLUMNS: &[&str] = &[
    "run",
    "created_at",
    "state",
    "model",
    "data",
    "profile",
    "strategy",
    "seed",
    "budget",
    "measure",
    "objective",
    "episodes",
    "episodes_planned",
    "evaluations",
    "wall_s",
    "float_quality_search",
    "float_quality_test",
    "best_quality_search",
    "best_quality_test",
    "latency_s",
    "energy_j",
    "size_bytes",
    "peak_memory_bytes",
];

fn summary_row(run: &RunSummary) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let best = run.best.as_ref();
    let budgets: Vec<String> = run.budget.iter().map(ToString::to_string).collect();
    vec![
        run.run.to_string(),
        run.created_at.clone(),
        run.state.to_string(),
        run.model.clone(),
        run.data.clone(),
        run.profile.clone(),
        run.strategy.to_string(),
        run.seed.to_string(),
        budgets.join(" "),
        run.measure.to_string(),
        run.objective.to_string(),
        run.episodes.to_string(),
        run.episodes_planned.to_string(),
        run.evaluations.to_string(),
        run.wall_s.to_string(),
        number(run.float_quality),
        number(run.float_test_quality),
        number(best.and_then(|best| best.quality)),
        number(best.and_then(|best| best.test_quality)),
        number(best.map(|best| best.cost.latency_s)),
        number(best.map(|best| best.cost.energy_j)),
        number(best.map(|best| best.cost.size_bytes as f64)),
        number(best.map(|best| best.cost.peak_memory_bytes as f64)),
    ]
}

fn summary_table(runs: &[RunSummary]) -> String {
    let mut table = output::plain_table(
        &[
            "run", "started", "state", "model", "profile", "strategy", "budget", "episodes",
            "search", "test", "float", "cost",
        ],
        &[0, 7, 8, 9, 10],
    );
    for run in runs {
        let show = |value: Option<f64>| value.map_or("–".into(), |value| run.measure.show(value));
        let best = run.best.as_ref();
        let budgets: Vec<String> = run.budget.iter().map(ToString::to_string).collect();
        let cost = best.map_or("–".into(), |best| {
            let ratio = best.cost.get(run.objective) / run.eight_bit_cost.get(run.objective);
            format!(
                "{} {} ({ratio:.2}×)",
                run.objective,
                show_cost(run.objective, best.cost.get(run.objective))
            )
        });
        table.add_row([
            run.run.to_string(),
            run.created_at.chars().take(16).collect::<String>().replace('T', " "),
            run.state.to_string(),
            run.model.clone(),
            run.profile.clone(),
            run.strategy.to_string(),
            if budgets.is_empty() { "range".into() } else { budgets.join(" ") },
            format!("{}/{}", run.episodes, run.episodes_planned),
            show(best.and_then(|best| best.quality)),
            show(best.and_then(|best| best.test_quality)),
            show(run.float_quality),
            cost,
        ]);
    }
    table.trim_fmt()
}

fn show(global: &Global, args: &RunsShowArgs) -> anyhow::Result<()> {
    let store = read_store(global)?;
    let view = runner::view(&store, args.run)?;
    if args.policy {
        let policy = policy_file(&view).ok_or_else(|| {
            UsageError(format!("run {} has no policy that meets its budgets", args.run))
        })?;
        return output::print(&policy.text());
    }
    if global.json {
        let artifacts: Vec<_> = store
            .artifacts(args.run)?
            .into_iter()
            .map(|artifact| json!({"kind": artifact.kind, "path": artifact.path}))
            .collect();
        return output::print_json(&json!({
            "schema": output::SCHEMA,
            "run": view.id,
            "description": view.description,
            "result": view.result,
            "on_devices": view.on_devices,
            "explanation": view.explanation,
            "episodes": view.episodes,
            "artifacts": artifacts,
        }));
    }
    if args.csv {
        let header = EPISODE_COLUMNS;
        return output::print(&csv_of(
            header,
            view.episodes.iter().map(|e| episode_row(&view, e)),
        )?);
    }
    let look = output::look();
    output::print(&summary_table(&[store.summary(args.run)?]))?;
    output::print("")?;
    output::print(&report::layer_table(&view, look))?;
    if !view.explanation.is_empty() {
        output::print("")?;
        output::print(&report::explanation_table(&view, look))?;
        output::print("")?;
    }
    output::print(&report::front_table(&view, view.description.objective, look))?;
    output::print(&report::summary_sentence(&view))?;
    match report::own_devices_table(&view, look) {
        Some(table) => output::print(&format!("\n{table}")),
        None => Ok(()),
    }
}

const EPISODE_COLUMNS: &[&str] = &[
    "episode",
    "kind",
    "policy",
    "quality",
    "top1",
    "top5",
    "loss",
    "agreement",
    "kl",
    "mse",
    "reward",
    "latency_s",
    "energy_j",
    "size_bytes",
    "peak_memory_bytes",
    "from_cache",
    "stopped_after_images",
    "wall_s",
    "proposal_index",
    "worker",
    "device",
    "libtorch_version",
    "evaluation_s",
];

fn episode_row(view: &RunView, episode: &EpisodeRecord) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let quality = &episode.quality;
    let by = episode.judged_by.as_ref();
    let word = |of: fn(&JudgedBy) -> &String| by.map_or(String::new(), |by| of(by).clone());
    vec![
        episode.index.to_string(),
        episode.kind.word().to_owned(),
        episode.policy.key(),
        number(view.quality(episode)),
        number(quality.top1),
        number(quality.top5),
        number(quality.loss),
        number(quality.agreement),
        number(quality.kl),
        number(quality.mse),
        episode.reward.to_string(),
        episode.cost.latency_s.to_string(),
        episode.cost.energy_j.to_string(),
        episode.cost.size_bytes.to_string(),
        episode.cost.peak_memory_bytes.to_string(),
        episode.from_cache.to_string(),
        episode.stopped_after_images.map_or(String::new(), |images| images.to_string()),
        episode.wall_s.to_string(),
        episode.proposal_index.map_or(String::new(), |index| index.to_string()),
        word(|by| &by.worker),
        word(|by| &by.device),
        word(|by| &by.libtorch_version),
        number(by.map(|by| by.evaluation_s)),
    ]
}

/// Runs whose layers are shown beside each other; more are compared as wholes.
const MOST_BESIDE_EACH_OTHER: usize = 4;

fn compare(global: &Global, args: &RunsCompareArgs) -> anyhow::Result<()> {
    plot_file::check(args.plot.as_deref())?;
    let store = read_store(global)?;
    let views = args
        .runs
        .iter()
        .map(|&run| runner::view(&store, run))
        .collect::<Result<Vec<RunView>, _>>()?;
    let summaries =
        args.runs.iter().map(|&run| store.summary(run)).collect::<Result<Vec<_>, _>>()?;
    let borrowed: Vec<&RunView> = views.iter().collect();
    let profile = |view: &RunView| view.description.profile.clone();
    let is_one_device = views.iter().all(|view| profile(view) == profile(&views[0]));
    let across = if is_one_device { vec![] } else { runner::across_devices(&views)? };
    if let Some(plot) = &args.plot {
        ConvergenceFigure::new(&borrowed)?.write(plot)?;
        output::note(global, format!("how they came along is drawn in {}", plot.display()));
    }
    if global.json {
        return output::print_json(&json!({
            "schema": output::SCHEMA,
            "runs": summaries,
            "differences": report::run_differences(&views),
            "standings": report::standings(&borrowed),
            "across_devices": across,
            "layers": report::layer_differences(&views),
        }));
    }
    if args.csv {
        return output::print(&csv_of(SUMMARY_COLUMNS, summaries.iter().map(summary_row))?);
    }
    let look = output::look();
    output::print(&summary_table(&summaries))?;
    output::print(&format!("\n{}", report::difference_table(&views, look)))?;
    if views.len() > MOST_BESIDE_EACH_OTHER {
        output::print(&format!("\n{}", report::standings_table(&borrowed, look)))?;
    } else {
        output::print(&format!("\n{}", report::layer_difference_table(&views, look)))?;
    }
    if !across.is_empty() {
        output::print(&format!("\n{}", report::across_devices_table(&across, look)))?;
    }
    Ok(())
}

fn csv_of(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header)?;
    for row in rows {
        writer.write_record(row)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}
