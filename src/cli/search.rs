//! `haq search`.

use std::{path::Path, sync::atomic::Ordering, time::Instant};

use serde_json::{Value, json};

use crate::{
    cli::{
        args::{Global, SearchArgs},
        contest,
        exit::{Ending, UsageError},
        output, plan_text,
        progress::Progress,
        queue::Reached,
        remote,
        run_files::{self, RunFiles},
        session::{absolute, evaluation_settings, open_store, preprocessing_request, stop_flag},
    },
    domain::{EpisodeRecord, Measure, RunState},
    report::{self, RunView},
    runner::{self, FoundProfile, Runner, find_profile, fleet::FleetReport, load_model},
    search::{Plan, ProfileText, SearchRequest, Verdict},
    store::BlockingStore,
};

pub fn run(global: &Global, args: &SearchArgs) -> anyhow::Result<Ending> {
    if let Some(server) = &args.remote.server
        && !args.dry_run
    {
        return remote::search(global, args, server);
    }
    let mut requests = requests(args)?;
    let competes = args.strategy.strategies.len() > 1 || args.repeats > 1 || requests.len() > 1;
    if args.input.model.is_none() {
        let images = if args.input.feed.data.is_none() { " and its images" } else { "" };
        output::note(
            global,
            format!("no --model given: searching the embedded digits network{images}"),
        );
    }
    if args.dry_run {
        return plan_text::print(global, &plan(requests.swap_remove(0))?);
    }
    let settings = evaluation_settings(&args.machine)?;
    if competes && args.fleet.queue.place().is_some() {
        return Err(UsageError(
            "--queue takes one strategy, one seed and one device (or --one-policy) at a time"
                .into(),
        )
        .into());
    }
    if competes {
        return contest::run(global, args, requests, settings);
    }
    let plan = plan(requests.swap_remove(0))?;
    if args.fleet.queue.place().is_some() && plan.request.pace().width() == 1 {
        let told =
            "one policy at a time: --in-flight N, or --round N, gives N workers something to do";
        output::note(global, told);
    }
    let store = open_store(global)?;
    // Who does not answer is known before anything is computed.
    let queue = Reached::new(&args.fleet, settings.device)?;
    let start = Instant::now();
    let runner = Runner::begin(&store, plan, settings)?;
    output::note(global, plan_text::opening(&runner));
    drive(global, &store, runner, queue, &args.out, start)
}

/// What was asked, understood for this network and device.
fn plan(request: SearchRequest) -> anyhow::Result<Plan> {
    let model = load_model((&request).into())?;
    Ok(runner::plan(request, model)?)
}

/// A request for each device, or one for all of them.
fn requests(args: &SearchArgs) -> anyhow::Result<Vec<SearchRequest>> {
    if !args.one_policy {
        return args.hw.iter().map(|hw| request(args, hw)).collect();
    }
    let (first, others) = args.hw.split_first().expect("clap asks for one");
    if others.is_empty() {
        return Err(UsageError(
            "--one-policy is for several devices; give --hw more than once, or leave it out".into(),
        )
        .into());
    }
    let mut joint = request(args, first)?;
    for hw in others {
        let FoundProfile { text, origin, .. } = find_profile(hw)?;
        joint.more_profiles.push(ProfileText { toml: text, origin });
    }
    Ok(vec![joint])
}

/// What was typed, for one device; of several strategies the first.
fn request(args: &SearchArgs, hw: &str) -> anyhow::Result<SearchRequest> {
    if args.input.model.is_some() && args.input.feed.data.is_none() {
        return Err(
            UsageError("--model needs --data: images to calibrate and judge with".into()).into()
        );
    }
    let profile = find_profile(hw)?;
    let strategy = args.strategy.strategies.first().copied().unwrap_or_default();
    Ok(SearchRequest {
        model: args.input.model.as_deref().map(absolute).transpose()?,
        weights: args.input.weights.as_deref().map(absolute).transpose()?,
        data: args.input.feed.data.as_deref().map(absolute).transpose()?,
        profile_toml: profile.text,
        profile_origin: profile.origin,
        more_profiles: Vec::new(),
        strategy,
        measure: args.measure,
        budgets: args.budget.clone(),
        episodes: args.episodes.unwrap_or(args.strategy.usual_episodes()),
        seed: args.seed,
        split_seed: args.split_seed,
        weight_bits: args.weight_bits.clone(),
        activation_bits: args.activation_bits.clone(),
        pins: args.pin.clone(),
        method: args.recipe.method,
        weight_losses: args.weight_losses,
        episode_finetune: args.episode_finetune,
        round: args.round().unwrap_or(1),
        in_flight: args.arrivals(),
        batch: args.batch,
        calibration_images: args.input.calibration,
        search_images: args.search_images,
        test_images: args.images,
        preprocessing: preprocessing_request(&args.input.feed),
    })
}

/// Runs what is left of a run, shows how it goes on, writes its files and prints what was found.
pub fn drive(
    global: &Global,
    store: &BlockingStore,
    runner: Runner<'_>,
    queue: Option<Reached>,
    out: &Path,
    start: Instant,
) -> anyhow::Result<Ending> {
    let id = runner.id();
    let stop = stop_flag(
        global,
        "stopping after this episode; everything so far is kept (again: stop now)",
    )?;
    let (runner, fleet) = match queue {
        Some(queue) => {
            let (runner, fleet) = queue.judge_for(runner, &stop)?;
            (runner, Some(fleet))
        }
        None => (runner, None),
    };
    let mut progress = Progress::of(global, &runner);
    let finished = runner.execute(&mut |record, is_new_best| {
        progress.episode(record, is_new_best);
        if stop.load(Ordering::SeqCst) { Verdict::Stop } else { Verdict::GoOn }
    });
    progress.finish();
    let result = finished?;
    if let Some(fleet) = &fleet {
        output::note(global, fleet_sentence(&fleet.report()));
        // What is interrupted finds its answers again.
        if result.state == RunState::Completed {
            fleet.finish()?;
        }
    }
    let view = runner::view(store, id)?;
    show(global, Some(store), &view, out, start)?;
    if result.state == RunState::Completed {
        return Ok(Ending::Done);
    }
    output::note(global, format!("run {id} was interrupted; go on with: haq resume {id}"));
    Ok(Ending::Interrupted)
}

fn fleet_sentence(report: &FleetReport) -> String {
    let FleetReport { n_answers, n_late, n_republished, by_worker, evaluations_s } = report;
    let each = by_worker.iter().map(|(worker, n)| format!("{worker} {n}"));
    let each = each.collect::<Vec<_>>().join(", ");
    format!(
        "{n_answers} policies judged by the fleet in {evaluations_s:.1} s of work ({each}); \
         {n_late} late answers left out, {n_republished} tasks handed out again"
    )
}

/// Writes the files of a run and prints what was found.
pub fn show(
    global: &Global,
    store: Option<&BlockingStore>,
    view: &RunView,
    out: &Path,
    start: Instant,
) -> anyhow::Result<()> {
    let files = run_files::write(store, view, out)?;
    if global.json {
        output::print_json(&result_json(view, &files, start.elapsed().as_secs_f64()))
    } else {
        print_result(global, view, &files)
    }
}

fn print_result(global: &Global, view: &RunView, files: &RunFiles) -> anyhow::Result<()> {
    let look = output::look();
    output::print(&report::layer_table(view, look))?;
    if !view.explanation.is_empty() {
        output::print(&format!("\n{}\n", report::explanation_table(view, look)))?;
    }
    if view.description.budgets.is_empty() {
        output::print(&report::front_table(view, view.description.objective, look))?;
    }
    output::print(&report::summary_sentence(view))?;
    if let Some(table) = report::own_devices_table(view, look) {
        output::print(&format!("\n{table}"))?;
    }
    if let (Some(policy), Some(pareto), Some(page)) =
        (&files.policy, &files.pareto_svg, &files.report_html)
    {
        output::note(
            global,
            format!(
                "run {} · policy {} · front {} · everything {}",
                view.id,
                policy.display(),
                pareto.display(),
                page.display()
            ),
        );
    }
    Ok(())
}

/// The object that `haq search --json` prints.
fn result_json(view: &RunView, files: &RunFiles, wall_s: f64) -> Value {
    let (description, result) = (&view.description, &view.result);
    let measure = description.measure;
    json!({
        "schema": output::SCHEMA,
        "run": view.id,
        "model": description.model,
        "data": description.data,
        "profile": description.profile,
        "strategy": description.strategy,
        "seed": description.seed,
        "state": result.state,
        "measure": measure,
        "objective": description.objective,
        "episodes": result.episodes,
        "evaluations": result.evaluations,
        "wall_s": wall_s,
        "float": {
            "quality": measure.of(&description.float_quality),
            "quality_test": result.float_test.as_ref().and_then(|quality| measure.of(quality)),
        },
        "eight_bit": description.eight_bit_cost,
        "best": view.best().map(|best| best_json(view, best)),
        "on_devices": view.on_devices,
        "explanation": view.explanation,
        "front": view.front(description.objective).iter()
            .map(|record| point_json(view, record)).collect::<Vec<_>>(),
        "files": files,
    })
}

fn best_json(view: &RunView, best: &EpisodeRecord) -> Value {
    let mut object = point_json(view, best);
    let measure = view.description.measure;
    let test = view.result.best_test.as_ref().and_then(|quality| measure.of(quality));
    object["quality_test"] = json!(test);
    object["budget"] = json!(view.description.budgets);
    object
}

fn point_json(view: &RunView, record: &EpisodeRecord) -> Value {
    let measure: Measure = view.description.measure;
    let layers: Vec<Value> = view
        .description
        .layers
        .iter()
        .zip(record.policy.layers())
        .map(|(layer, bits)| {
            json!({
                "name": layer.name,
                "weight_bits": bits.weight,
                "activation_bits": bits.activation,
            })
        })
        .collect();
    json!({
        "episode": record.index,
        "quality_search": measure.of(&record.quality),
        "latency_s": record.cost.latency_s,
        "energy_j": record.cost.energy_j,
        "size_bytes": record.cost.size_bytes,
        "peak_memory_bytes": record.cost.peak_memory_bytes,
        "layers": layers,
    })
}
