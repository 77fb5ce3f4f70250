//! `haq fleet`.

use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::{
    cli::{
        args::{CleanArgs, FleetAction, FleetStateArgs, Global, LetterAction},
        blobs::Blobs,
        exit::{Ending, UsageError},
        output,
        queue::{Queue, runtime},
    },
    queue::{BlobStore, Cleaned, QueueDepth},
    runner::fleet::{FleetError, FleetKeeper, FleetState},
};

/// Characters of a task's name that are shown; enough to tell it from others.
const SHOWN: usize = 12;

pub fn run(global: &Global, args: &FleetStateArgs) -> anyhow::Result<Ending> {
    let letters = match &args.action {
        Some(FleetAction::Clean(clean)) => {
            return runtime()?.block_on(cleaned(global, args, clean));
        }
        Some(FleetAction::Letters(letters)) => Some(letters),
        None => None,
    };
    runtime()?.block_on(async {
        match open(args).await? {
            Queue::Local { queue, .. } => act(global, letters, &queue).await,
            Queue::JetStream(queue) => act(global, letters, &queue).await,
        }
    })
}

async fn open(args: &FleetStateArgs) -> anyhow::Result<Queue> {
    let needed = "--queue is needed: nats://HOST, or the database file of a search";
    let place = args.queue.place().ok_or_else(|| UsageError(needed.into()))?;
    Queue::open(place, &args.queue).await
}

/// Deletes what no search has sent for long; the queue is only asked for where it keeps the blobs.
async fn cleaned(
    global: &Global,
    args: &FleetStateArgs,
    clean: &CleanArgs,
) -> anyhow::Result<Ending> {
    let blobs = match Blobs::named(&args.queue).await? {
        Some(blobs) => blobs,
        None => Blobs::open(&args.queue, &open(args).await?).await?,
    };
    let age = Duration::from_secs(86_400 * u64::from(clean.older_than_days));
    // Clocks differ a little, and nothing is to be left.
    let slack = if age.is_zero() { Duration::from_secs(86_400) } else { Duration::ZERO };
    let before = SystemTime::now() - age + slack;
    let Cleaned { n_removed, removed_bytes, n_kept, kept_bytes } = blobs.clean(before).await?;
    if global.json {
        output::print_json(&json!({
            "schema": output::SCHEMA,
            "place": blobs.place(),
            "removed_parts": n_removed,
            "removed_bytes": removed_bytes,
            "kept_parts": n_kept,
            "kept_bytes": kept_bytes,
        }))?;
    } else {
        let place = blobs.place();
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        output::print(&format!(
            "{place}: {n_removed} parts deleted, {:.1} MB; {n_kept} parts kept, {:.1} MB\n",
            megabytes(removed_bytes),
            megabytes(kept_bytes)
        ))?;
    }
    Ok(Ending::Done)
}

async fn act(
    global: &Global,
    action: Option<&LetterAction>,
    fleet: &impl FleetKeeper,
) -> anyhow::Result<Ending> {
    let (done, word) = match action {
        None => {
            show(global, &fleet.state().await?)?;
            return Ok(Ending::Done);
        }
        Some(LetterAction::Retry(named)) => (fleet.retry(&named.tasks).await, "handed out again"),
        Some(LetterAction::Drop(named)) => (fleet.discard(&named.tasks).await, "forgotten"),
    };
    let n_done = match done {
        Err(error @ FleetError::NoSuchLetter { .. }) => {
            return Err(UsageError(error.to_string()).into());
        }
        done => done?,
    };
    if global.json {
        output::print_json(&json!({ "schema": output::SCHEMA, "tasks": n_done }))?;
    } else {
        output::print(&format!("{n_done} tasks {word}\n"))?;
    }
    Ok(Ending::Done)
}

fn show(global: &Global, state: &FleetState) -> anyhow::Result<()> {
    let FleetState { tasks, workers, dead_letters: letters } = state;
    if global.json {
        return output::print_json(&json!({
            "schema": output::SCHEMA,
            "tasks": tasks,
            "tasks_per_min": state.tasks_per_min(),
            "bytes_fetched": state.bytes_fetched(),
            "workers": workers,
            "dead_letters": letters,
        }));
    }
    let QueueDepth { waiting, leased, answers, dead_letters, redelivered } = tasks;
    let mut text = format!(
        "tasks: {waiting} wait, {leased} in work, {answers} answers not taken, {dead_letters} set aside, \
         {redelivered} handed out again\n"
    );
    if workers.is_empty() {
        text += "no worker was there in the last minute\n";
    } else {
        let (n_workers, rate) = (workers.len(), state.tasks_per_min());
        let megabytes = state.bytes_fetched() as f64 / 1e6;
        text += &format!(
            "workers: {n_workers}, {rate:.1} answers a minute, {megabytes:.1} MB of networks and images fetched\n"
        );
        let head = ["worker", "class", "device", "answered", "a minute", "MB", "works on"];
        let mut table = output::plain_table(&head, &[3, 4, 5]);
        for worker in workers {
            table.add_row([
                worker.name.clone(),
                worker.device_class.clone(),
                worker.device.clone(),
                worker.tasks_done.to_string(),
                format!("{:.1}", worker.tasks_per_min),
                format!("{:.1}", worker.bytes_fetched as f64 / 1e6),
                worker.task.as_deref().map_or("-".into(), short),
            ]);
        }
        text += &format!("\n{}\n", table.trim_fmt());
    }
    if !letters.is_empty() {
        let mut table = output::plain_table(&["set aside", "search", "tries", "last word"], &[2]);
        for letter in letters {
            table.add_row([
                short(&letter.task.id),
                letter.task.search.clone(),
                letter.attempts.to_string(),
                letter.reason.clone().unwrap_or_else(|| "its workers went silent".into()),
            ]);
        }
        text += &format!("\n{}\n", table.trim_fmt());
    }
    output::print(&text)
}

fn short(task: &str) -> String {
    task.chars().take(SHOWN).collect()
}
