//! `haq worker`.

use std::{path::PathBuf, process, time::Duration};

use tokio::sync::watch;

use crate::{
    cli::{
        args::{Global, WorkerArgs},
        blobs::Blobs,
        exit::{Ending, UsageError},
        output,
        queue::{Queue, runtime},
        session::{evaluation_settings, wait_for_signal},
    },
    network::{ComputeDevice, LIBTORCH_VERSION},
    queue::{BlobCache, BlobStore, EvalQueue, WorkerCard, WorkerRegistry},
    runner::fleet::{Bench, Worked, Worker},
};

pub fn run(global: &Global, args: &WorkerArgs) -> anyhow::Result<Ending> {
    let Some(place) = args.queue.place() else {
        return Err(UsageError(
            "--queue is needed: nats://HOST, or the database file of a search".into(),
        )
        .into());
    };
    let settings = evaluation_settings(&args.machine)?;
    let device = ComputeDevice::of(settings.device);
    let cache = BlobCache::new(cache_folder(args), args.cache_mb.saturating_mul(1_000_000))?;
    let card = card(args, &device);
    let (name, class) = (card.name.clone(), card.device_class.clone());
    let bench = Bench::start(settings, device);
    let worked = runtime()?.block_on(async {
        let queue = Queue::open(place, &args.queue).await?;
        let blobs = Blobs::open(&args.queue, &queue).await?;
        let files = blobs.place();
        output::note(global, format!("worker {name} takes work for {class}, files from {files}"));
        match &queue {
            Queue::Local { queue, .. } => {
                work(global, args, queue, &blobs, &cache, bench, card).await
            }
            Queue::JetStream(queue) => work(global, args, queue, &blobs, &cache, bench, card).await,
        }
    })?;
    let Worked { n_answered, n_late, n_failed } = worked;
    let megabytes = cache.moved_bytes() as f64 / 1e6;
    output::note(
        global,
        format!(
            "worker {name} answered {n_answered} tasks; {n_late} late, {n_failed} given back; {megabytes:.1} MB moved"
        ),
    );
    Ok(Ending::Done)
}

async fn work<Q: EvalQueue + WorkerRegistry>(
    global: &Global,
    args: &WorkerArgs,
    queue: &Q,
    blobs: &Blobs,
    cache: &BlobCache,
    bench: Bench,
    card: WorkerCard,
) -> anyhow::Result<Worked> {
    let (raise, stop) = watch::channel(false);
    let quiet = global.quiet;
    tokio::spawn(async move {
        if wait_for_signal().await.is_ok() {
            if !quiet {
                output::print_line_to_stderr("ending after the task in work (again: stop now)");
            }
            let _ = raise.send(true);
            if wait_for_signal().await.is_ok() {
                process::exit(crate::cli::exit::INTERRUPTED.into());
            }
        }
        // The receiver would take a sender that is gone for a word to stop.
        std::future::pending::<()>().await;
    });
    let idle_limit = args.idle_s.map(Duration::from_secs);
    Ok(Worker { queue, blobs, cache, bench, card, idle_limit }.work(stop).await?)
}

fn card(args: &WorkerArgs, device: &ComputeDevice) -> WorkerCard {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unnamed-host".into(), |name| name.trim().to_owned());
    let name = args.name.clone().unwrap_or_else(|| format!("{host}-{}", process::id()));
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    WorkerCard {
        name: name.chars().map(plain).collect(),
        host,
        device: device.name.clone(),
        device_class: args.device_class.clone().unwrap_or_else(|| device.class.clone()),
        libtorch_version: LIBTORCH_VERSION.into(),
        haq_version: env!("CARGO_PKG_VERSION").into(),
        started_unix_ms: now.map_or(0, |since| since.as_millis() as i64),
        tasks_done: 0,
        tasks_per_min: 0.0,
        bytes_fetched: 0,
        task: None,
    }
}

/// By the base directory specification of freedesktop.org.
fn cache_folder(args: &WorkerArgs) -> PathBuf {
    if let Some(folder) = &args.cache {
        return folder.clone();
    }
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("haq")
}
