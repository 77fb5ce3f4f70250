//! `haq resume`.

use std::time::Instant;

use crate::{
    cli::{
        args::{Global, ResumeArgs},
        exit::{Ending, UsageError},
        output, plan_text,
        queue::Reached,
        remote, search,
        session::{evaluation_settings, open_store},
    },
    domain::RunState,
    runner::Runner,
    store::{BlockingStore, RunQuery},
};

pub fn run(global: &Global, args: &ResumeArgs) -> anyhow::Result<Ending> {
    if let Some(server) = &args.remote.server {
        return remote::resume(global, args, server);
    }
    let settings = evaluation_settings(&args.machine)?;
    let store = open_store(global)?;
    let id = match args.run {
        Some(id) => id,
        None => newest_interrupted(&store)?,
    };
    let queue = Reached::new(&args.fleet, settings.device)?;
    let start = Instant::now();
    let runner = Runner::resume(&store, id, settings)?;
    output::note(
        global,
        format!(
            "run {id} goes on after {} episodes\n{}",
            runner.n_done(),
            plan_text::opening(&runner)
        ),
    );
    search::drive(global, &store, runner, queue, &args.out, start)
}

fn newest_interrupted(store: &BlockingStore) -> anyhow::Result<i64> {
    let query = RunQuery {
        state: Some(RunState::Interrupted),
        descending: true,
        limit: Some(1),
        ..RunQuery::default()
    };
    match store.list(&query)?.first() {
        Some(summary) => Ok(summary.run),
        None => Err(UsageError("no run is interrupted; name one: haq resume RUN".into()).into()),
    }
}
