//! `haq search --server URL`: the work is done by a service, and shown here as if it were local.

mod client;
mod submission;

use std::{path::Path, sync::atomic::Ordering, time::Duration, time::Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    cli::{
        args::{Global, RemoteArgs, ResumeArgs, SearchArgs},
        exit::{Ending, UsageError},
        output,
        progress::Progress,
        remote::client::Client,
        search,
        session::stop_flag,
    },
    domain::{Budget, Cost, CostKind, JobState, Measure},
    report::RunView,
};

/// How often the service is asked.
const LOOK: Duration = Duration::from_millis(300);

/// How long it may be silent, as while it starts again, before that is an error.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn search(global: &Global, args: &SearchArgs, server: &str) -> anyhow::Result<Ending> {
    if args.strategy.strategies.len() > 1 || args.repeats > 1 {
        let told =
            "--server takes one strategy and one seed at a time; hand in one after the other";
        return Err(UsageError(told.into()).into());
    }
    if args.hw.len() > 1 && !args.one_policy {
        let told = "--server takes one --hw at a time, or several with --one-policy";
        return Err(UsageError(told.into()).into());
    }
    if args.machine.threads.is_some() || args.machine.device != "cpu" {
        let told = "with --server the service decides over --threads and --device";
        return Err(UsageError(told.into()).into());
    }
    let start = Instant::now();
    let client = client(&args.remote, server)?;
    let submission = submission::of(&client, args)?;
    let answer = client.post("searches", &serde_json::to_value(submission)?)?;
    let id = answer["id"].as_i64().context("the service named no search")?;
    output::note(global, format!("search {id} at {server}/searches/{id}"));
    watch(global, &client, server, id, &args.out, start)
}

pub fn resume(global: &Global, args: &ResumeArgs, server: &str) -> anyhow::Result<Ending> {
    let id = args.run.ok_or_else(|| {
        UsageError("with --server name the search: haq resume 12 --server URL".into())
    })?;
    let start = Instant::now();
    let client = client(&args.remote, server)?;
    client.post(&format!("searches/{id}/resume"), &json!({}))?;
    watch(global, &client, server, id, &args.out, start)
}

fn client(remote: &RemoteArgs, server: &str) -> anyhow::Result<Client> {
    Client::new(server, remote.token.clone())
}

/// Shows how a search goes on until it ends, and then what it found.
fn watch(
    global: &Global,
    client: &Client,
    server: &str,
    id: i64,
    out: &Path,
    start: Instant,
) -> anyhow::Result<Ending> {
    let stop = stop_flag(global, "asking the service to pause the search (again: leave it alone)")?;
    let mut progress: Option<Progress> = None;
    let (mut asked_to_pause, mut last_heard) = (false, Instant::now());
    let mut best_episode = None;
    let state = loop {
        if stop.load(Ordering::SeqCst) && !asked_to_pause {
            asked_to_pause = true;
            client.post(&format!("searches/{id}/pause"), &json!({}))?;
        }
        let found = match client.get(&format!("searches/{id}")) {
            Ok(found) => found,
            // A service that starts again goes on with its searches.
            Err(error) if error.is_passing() && last_heard.elapsed() < PATIENCE => {
                std::thread::sleep(LOOK);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        last_heard = Instant::now();
        if progress.is_none() {
            progress = started(global, &found);
        }
        if let Some(progress) = &mut progress {
            let episode = found["best"]["episode"].as_u64();
            let is_new = episode.is_some() && episode != best_episode;
            best_episode = episode;
            let best = is_new.then(|| best_of(&found)).flatten();
            progress.advance(found["proposals"].as_u64().unwrap_or(0), best);
        }
        let word = found["state"].as_str().unwrap_or_default();
        let state: JobState = word.parse().map_err(anyhow::Error::msg)?;
        if !state.is_open() {
            if let (JobState::Failed, Some(error)) = (state, found["error"].as_str()) {
                anyhow::bail!("search {id} failed: {error}");
            }
            break state;
        }
        std::thread::sleep(LOOK);
    };
    if let Some(progress) = progress {
        progress.finish();
    }
    if state != JobState::Completed {
        let next = format!("haq resume {id} --server {server}");
        output::note(global, format!("search {id} is {state}; go on with: {next}"));
        return Ok(Ending::Interrupted);
    }
    let record = client.get(&format!("searches/{id}/record"))?;
    let view: RunView = serde_json::from_value(record)
        .context("the service tells of searches in another form; it may be of another version")?;
    search::show(global, None, &view, out, start)?;
    Ok(Ending::Done)
}

/// The bar, once the search runs.
fn started(global: &Global, found: &Value) -> Option<Progress> {
    let objective = objective(found)?;
    let measure: Measure = found["measure"].as_str()?.parse().ok()?;
    let done = found["proposals"].as_u64()?;
    let limits = found["limits"].as_array()?.iter();
    let budget = limits.filter_map(|limit| serde_json::from_value::<Budget>(limit.clone()).ok());
    let planned = found["episodes_planned"].as_u64()?;
    Some(Progress::new(global, planned, done, (measure, objective), budget.into_iter().next()))
}

fn objective(found: &Value) -> Option<CostKind> {
    found["objective"].as_str()?.parse().ok()
}

fn best_of(found: &Value) -> Option<(f64, f64)> {
    let best = &found["best"];
    let cost: Cost = serde_json::from_value(best["cost"].clone()).ok()?;
    Some((best["quality"].as_f64()?, cost.get(objective(found)?)))
}
