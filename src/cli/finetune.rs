//! `haq finetune`.

mod files;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use serde_json::{Value, json};

use self::files::TunedFiles;
use crate::{
    cli::{
        args::{FinetuneArgs, Global},
        exit::{Ending, UsageError},
        output, progress,
        session::{absolute, open_store, policy, preprocessing_request, stop_flag},
    },
    domain::{Measure, Quality, RunState, TuningEpoch, TuningRecord},
    quantization::{BatchNormTraining, EvaluationSettings, TrainingSettings},
    runner::{RunConfig, Tuner, TuningEvent, TuningRequest, load_model, tuning_request},
    search::Model,
    store::BlockingStore,
};

pub fn run(global: &Global, args: &FinetuneArgs) -> anyhow::Result<Ending> {
    let mut settings = EvaluationSettings::default();
    if let Some(threads) = args.threads {
        settings.threads = threads.into();
    }
    let start = Instant::now();
    let store;
    let tuner = match args.resume {
        Some(id) => {
            store = open_store(global)?;
            let id = match id {
                Some(id) => id,
                None => store.newest_open_tuning()?.ok_or_else(|| {
                    UsageError("no tuning is interrupted; name one: --resume TUNING".into())
                })?,
            };
            let record = store.tuning(id)?;
            if record.state == RunState::Completed {
                output::note(global, format!("tuning {id} is completed; its files are written"));
                return finish(global, args, &store, &record, start);
            }
            Tuner::resume(&store, id, settings)?
        }
        None => {
            // What was typed is understood before a database is made.
            let request = match args.run {
                Some(_) => None,
                None => Some(request(args)?),
            };
            store = open_store(global)?;
            let request = match (request, args.run) {
                (Some(request), _) => request,
                (None, run) => request_of_run(args, &store, run.expect("clap asks for one"))?,
            };
            Tuner::begin(&store, request, settings)?
        }
    };
    output::note(global, opening(&tuner));
    let stop = stop_flag(global, "stopping; finished epochs are kept (again: stop now)")?;
    let record = train(global, tuner, &stop)?;
    finish(global, args, &store, &record, start)
}

/// What was typed, for a network and images that were named.
fn request(args: &FinetuneArgs) -> anyhow::Result<TuningRequest> {
    if args.input.model.is_some() && args.input.feed.data.is_none() {
        return Err(UsageError("--model needs --data: images to train and judge on".into()).into());
    }
    let model = load_model(args.input.model_source())?;
    Ok(TuningRequest {
        run: None,
        model: args.input.model.as_deref().map(absolute).transpose()?,
        weights: args.input.weights.as_deref().map(absolute).transpose()?,
        data: args.input.feed.data.as_deref().map(absolute).transpose()?,
        preprocessing: preprocessing_request(&args.input.feed),
        policy: policy(&model, args.policy.as_deref(), args.bits, args.pin.as_ref())?,
        measure: args.measure.unwrap_or_default(),
        split_seed: args.seed,
        calibration_images: args.input.calibration,
        search_images: args.search_images,
        test_images: args.images,
        settings: training_settings(args, &model)?,
    })
}

/// The best policy of a run, on the run's own network and splits.
fn request_of_run(
    args: &FinetuneArgs,
    store: &BlockingStore,
    id: i64,
) -> anyhow::Result<TuningRequest> {
    let run = store.run(id)?;
    let best = run.result.best_episode.ok_or_else(|| {
        UsageError(format!("run {id} has no policy that meets its budgets; there is none to train"))
    })?;
    let RunConfig { request, .. } = RunConfig::of(id, &run.description)?;
    let split_seed = request.images_seed();
    let settings = training_settings(args, &load_model((&request).into())?)?;
    Ok(TuningRequest {
        run: Some(id),
        model: request.model,
        weights: request.weights,
        data: request.data,
        preprocessing: request.preprocessing,
        policy: store.episode(id, best)?.policy,
        measure: args.measure.unwrap_or(request.measure),
        split_seed,
        calibration_images: request.calibration_images,
        search_images: args.search_images.or(request.search_images),
        test_images: args.images.or(request.test_images),
        settings,
    })
}

fn training_settings(args: &FinetuneArgs, model: &Model) -> anyhow::Result<TrainingSettings> {
    let settings = TrainingSettings {
        epochs: args.epochs,
        learning_rate: args.lr,
        momentum: args.momentum,
        weight_decay: args.weight_decay,
        batch: args.batch,
        seed: args.seed,
        ranges: args.ranges,
        delay_steps: args.delay_steps,
        distillation: args.distill,
        batch_norm: args.batch_norm.unwrap_or(BatchNormTraining::usual(&model.norms)),
        augmentation: args.augment,
    };
    settings.check().map_err(UsageError)?;
    Ok(settings)
}

fn opening(tuner: &Tuner<'_>) -> String {
    let (id, request) = (tuner.id(), tuner.request());
    let settings = &request.settings;
    let (images, judged) = (tuner.n_training_images(), tuner.n_search_images());
    let planned = settings.epochs;
    match tuner.epochs_done() {
        0 => format!("tuning {id}: {planned} epochs on {images} images, judged on {judged} others"),
        done => format!("tuning {id} goes on after {done} of {planned} epochs"),
    }
}

/// Trains what is left, showing how it goes on.
fn train(global: &Global, tuner: Tuner<'_>, stop: &AtomicBool) -> anyhow::Result<TuningRecord> {
    let bar = progress::bar(global, None, "steps · {msg} · {eta} left");
    let measure = tuner.request().measure;
    let record = tuner.execute(&mut |event| {
        match event {
            TuningEvent::Step(step) => {
                bar.set_length(step.n_steps as u64);
                bar.set_position(step.step as u64 + 1);
                bar.set_message(format!("loss {:.4}", step.loss));
            }
            TuningEvent::Epoch { epoch, is_best } => {
                let line = epoch_line(epoch, measure, is_best);
                bar.suspend(|| output::note(global, line));
                bar.reset();
            }
        }
        !stop.load(Ordering::SeqCst)
    });
    bar.finish_and_clear();
    Ok(record?)
}

fn epoch_line(epoch: &TuningEpoch, measure: Measure, is_best: bool) -> String {
    let quality = shown(measure, &epoch.quality);
    let best = if is_best { " · best so far" } else { "" };
    match epoch.training_loss {
        None => format!("start: {measure} {quality}"),
        Some(loss) => format!(
            "epoch {}: loss {loss:.4} · {measure} {quality} · {:.1} s{best}",
            epoch.epoch, epoch.wall_s
        ),
    }
}

fn shown(measure: Measure, quality: &Quality) -> String {
    measure.of(quality).map_or("not measured".into(), |value| measure.show(value))
}

/// Writes the files, prints the figures and says how it ended.
fn finish(
    global: &Global,
    args: &FinetuneArgs,
    store: &BlockingStore,
    record: &TuningRecord,
    start: Instant,
) -> anyhow::Result<Ending> {
    let files = match record.best_epoch {
        Some(_) => files::write(store, record, &tuning_request(record)?, &args.out)?,
        None => TunedFiles::default(),
    };
    if global.json {
        output::print_json(&json_of(record, &files, start.elapsed().as_secs_f64()))?;
    } else {
        output::print(&text_of(record))?;
        if let (Some(network), Some(onnx)) = (&files.network, &files.onnx) {
            let (network, onnx) = (network.display(), onnx.display());
            output::note(global, format!("network {network} · weights as ONNX {onnx}"));
        }
    }
    if let Some(start) = better_start(record) {
        output::note(
            global,
            format!(
                "the start was better on the search images ({start}); fewer bits gain more, and a smaller --lr keeps nearer to it"
            ),
        );
    }
    if record.state == RunState::Completed {
        return Ok(Ending::Done);
    }
    let id = record.id;
    output::note(
        global,
        format!("tuning {id} was interrupted; go on with: haq finetune --resume {id}"),
    );
    Ok(Ending::Interrupted)
}

/// The start's quality on the search split, where no epoch came up to it.
fn better_start(record: &TuningRecord) -> Option<String> {
    let measure = record.description.measure;
    let (start, trained) = record.epochs.split_first()?;
    let start = measure.of(&start.quality)?;
    let reached = |epoch: &TuningEpoch| measure.of(&epoch.quality).is_some_and(|q| q >= start);
    (!trained.is_empty() && !trained.iter().any(reached)).then(|| measure.show(start))
}

fn text_of(record: &TuningRecord) -> String {
    let measure = record.description.measure;
    let header = ["epoch", "loss", "learning rate", &format!("search {measure}"), ""];
    let mut table = output::plain_table(&header, &[0, 1, 2, 3]);
    for epoch in &record.epochs {
        let number = |value: Option<f64>, digits| {
            value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
        };
        table.add_row([
            epoch.epoch.to_string(),
            number(epoch.training_loss, 4),
            number(epoch.learning_rate, 5),
            shown(measure, &epoch.quality),
            if record.best_epoch == Some(epoch.epoch) { "kept".into() } else { String::new() },
        ]);
    }
    let Some(test) = &record.test else { return table.to_string() };
    let line = |name: &str, quality| format!("{name:<14} {}", shown(measure, quality));
    format!(
        "{table}\n\non the test images, {measure}:\n{}\n{}\n{}",
        line("float", &test.float),
        line("post-training", &test.start),
        line("tuned", &test.tuned)
    )
}

/// The object that `haq finetune --json` prints.
fn json_of(record: &TuningRecord, files: &TunedFiles, wall_s: f64) -> Value {
    let description = &record.description;
    let measure = description.measure;
    let epochs = record.epochs.iter().map(|epoch| {
        json!({
            "epoch": epoch.epoch,
            "loss": epoch.training_loss,
            "learning_rate": epoch.learning_rate,
            "quality_search": measure.of(&epoch.quality),
            "quality": epoch.quality,
            "wall_s": epoch.wall_s,
        })
    });
    let test = |quality: fn(&crate::domain::TuningTest) -> &Quality| {
        record.test.as_ref().map(|test| {
            let quality = quality(test);
            json!({ "quality_test": measure.of(quality), "quality": quality })
        })
    };
    json!({
        "schema": output::SCHEMA,
        "tuning": record.id,
        "run": description.run,
        "model": description.model,
        "data": description.data,
        "state": record.state,
        "measure": measure,
        "seed": description.seed,
        "epochs": epochs.collect::<Vec<_>>(),
        "best_epoch": record.best_epoch,
        "float": test(|test| &test.float),
        "post_training": test(|test| &test.start),
        "tuned": test(|test| &test.tuned),
        "wall_s": wall_s,
        "files": files,
    })
}
