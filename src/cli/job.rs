//! `haq job`: one search of `haq serve`, in a process of its own, so that whatever it does to
//! memory or to libtorch ends there. Stops when its standard input closes: the service is gone.

use std::{
    io::Read as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;

use crate::{
    cli::{
        args::{Global, JobArgs},
        exit::{self, Ending},
        plan_text,
        queue::Reached,
        session::{evaluation_settings, stop_flag},
    },
    domain::JobTicket,
    runner::{self, JobOutcome, RunnerError, load_model, work_on_job},
    search::{SearchRequest, Verdict},
    store::BlockingStore,
};

/// How long an episode in flight may take to end once the service is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(30);

pub fn run(global: &Global, args: &JobArgs) -> anyhow::Result<Ending> {
    if let Some(file) = &args.check {
        return check(file);
    }
    let (job, fence) = args.job.zip(args.fence).expect("clap asks for both");
    let ticket = JobTicket { job, fence };
    // Answers of the service go before: what people wait for is short.
    lower_priority();
    let stop = stop_flag(global, "stopping after this episode; everything so far is kept")?;
    stop_with_the_service(stop.clone());
    let settings = evaluation_settings(&args.machine)?;
    let worked = BlockingStore::open_for_job(&global.db, ticket).map_err(RunnerError::from);
    let mut fleet = None;
    let worked = worked.and_then(|store| {
        let queue = Reached::new(&args.fleet, settings.device).map_err(elsewhere)?;
        let outcome = work_on_job(
            &store,
            ticket,
            settings,
            |runner| {
                tracing::info!("{}", plan_text::opening(&runner).replace('\n', " · "));
                let Some(queue) = queue else { return Ok(runner) };
                let (runner, judges) = queue.judge_for(runner, &stop).map_err(elsewhere)?;
                fleet = Some(judges);
                Ok(runner)
            },
            &mut |_, _| if stop.load(Ordering::SeqCst) { Verdict::Stop } else { Verdict::GoOn },
        )?;
        if let (JobOutcome::Completed, Some(fleet)) = (outcome, &fleet) {
            fleet.finish().map_err(elsewhere)?;
        }
        Ok(outcome)
    });
    match worked {
        Ok(JobOutcome::Completed) => Ok(Ending::Done),
        Ok(JobOutcome::Stopped) => Ok(Ending::Interrupted),
        Err(error) if error.is_storage_trouble() => {
            Err(anyhow::Error::new(error).context(exit::StorageTrouble))
        }
        Err(error) => Err(error.into()),
    }
}

fn elsewhere(error: anyhow::Error) -> RunnerError {
    RunnerError::Fleet(format!("{error:#}"))
}

/// Plans what was asked without doing it.
fn check(file: &std::path::Path) -> anyhow::Result<Ending> {
    let text = std::fs::read(file).with_context(|| file.display().to_string())?;
    let request: SearchRequest = serde_json::from_slice(&text)?;
    let model = load_model((&request).into())?;
    let plan = runner::plan(request, model)?;
    runner::load_dataset(&plan.request, &plan.model)?;
    Ok(Ending::Done)
}

/// A service that was killed leaves its end of the pipe closed.
fn stop_with_the_service(stop: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let mut rest = [0; 64];
        while std::io::stdin().read(&mut rest).is_ok_and(|n_read| n_read > 0) {}
        stop.store(true, Ordering::SeqCst);
        std::thread::sleep(ORPHAN_GRACE);
        std::process::exit(exit::INTERRUPTED.into());
    });
}

fn lower_priority() {
    // SAFETY: changes a number of this process only; that it may fail does not matter.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
}
