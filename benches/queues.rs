//! Both queues of evaluations through the whole path: published, leased, answered, and the answer
//! taken. Tasks a second with evaluations that take no time, and the share of ideal throughput with
//! evaluations that sleep for 200 ms. Last, a blob of 100 MB: put, and fetched by several caches at
//! once.
//!
//! `cargo bench --bench queues [N_TASKS]`; the server runs on this machine too and takes its share.

#![allow(clippy::print_stdout, reason = "figures are what it is for")]

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use haq::{
    queue::{Answer, BlobCache, BlobStore, Connection, EvalQueue, JetStreamQueue, Task},
    store::Store,
};

#[path = "../tests/nats_common/mod.rs"]
mod nats_common;

const PATIENCE: Duration = Duration::from_secs(2);

fn task(index: usize) -> Task {
    Task {
        id: format!("{index:064x}"),
        search: "run-1".into(),
        device_class: "cpu".into(),
        payload: serde_json::json!({ "bits": vec![[4, 8]; 20] }),
    }
}

async fn work<Q: EvalQueue>(queue: Q, worker: String, evaluation: Duration) {
    while let Some(lease) = queue.lease("cpu", &worker, PATIENCE).await.unwrap() {
        if !evaluation.is_zero() {
            tokio::time::sleep(evaluation).await;
        }
        let answer = Answer {
            task: lease.task.id,
            attempt: lease.attempt,
            worker: worker.clone(),
            payload: serde_json::json!({ "top1": 0.75 }),
        };
        queue.complete(&lease.ticket, &answer).await.unwrap();
    }
}

async fn collect<Q: EvalQueue>(queue: &Q, n_tasks: usize) {
    let mut n_taken = 0;
    while n_taken < n_tasks {
        let answers = queue.answers("run-1", PATIENCE).await.unwrap();
        let receipts: Vec<Q::Receipt> =
            answers.into_iter().map(|arrived| arrived.receipt).collect();
        queue.take_all(&receipts).await.unwrap();
        n_taken += receipts.len();
    }
}

/// Publishes while workers work and answers are taken.
async fn measure<Q: EvalQueue + Clone + 'static>(
    name: &str,
    queue: Q,
    workers: Vec<Q>,
    evaluation: Duration,
    n_tasks: usize,
) {
    let n_workers = workers.len();
    let started = Instant::now();
    for (index, queue) in workers.into_iter().enumerate() {
        tokio::spawn(work(queue, format!("worker-{index}"), evaluation));
    }
    let coordinator = queue.clone();
    let publishing = tokio::spawn(async move {
        let tasks: Vec<Task> = (0..n_tasks).map(task).collect();
        assert_eq!(coordinator.publish_all(&tasks).await.unwrap(), n_tasks as u64);
    });
    collect(&queue, n_tasks).await;
    publishing.await.unwrap();
    let per_second = n_tasks as f64 / started.elapsed().as_secs_f64();
    if evaluation.is_zero() {
        println!("{name}, {n_workers} workers: {per_second:.0} tasks/s");
    } else {
        let ideal = n_workers as f64 / evaluation.as_secs_f64();
        let share = 100.0 * per_second / ideal;
        println!("{name}, {n_workers} workers that sleep {evaluation:?}: {share:.1} % of ideal");
    }
}

/// A blob on its way to the server and from there to several machines.
async fn measure_blob(server: &nats_common::NatsServer, n_caches: usize) {
    const N_BYTES: usize = 100_000_000;
    let bytes: Vec<u8> = (0..N_BYTES as u64 / 8)
        .flat_map(|at| (at ^ n_caches as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect();
    let connect = || async {
        JetStreamQueue::connect(&Connection::new(server.fleet("bench"))).await.unwrap()
    };
    let started = Instant::now();
    let blob = connect().await.put(&bytes).await.unwrap();
    let megabytes = N_BYTES as f64 / 1e6;
    let put = megabytes / started.elapsed().as_secs_f64();
    let folder = tempfile::tempdir().unwrap();
    let mut fetching = Vec::new();
    for index in 0..n_caches {
        let cache = BlobCache::new(folder.path().join(index.to_string()), 1 << 30).unwrap();
        let (store, blob) = (connect().await, blob.clone());
        fetching.push(async move {
            cache.fetch(&store, &blob).await.unwrap();
            assert_eq!(cache.moved_bytes(), blob.bytes);
        });
    }
    let started = Instant::now();
    let fetched = fetching.into_iter().map(tokio::spawn).collect::<Vec<_>>();
    for fetched in fetched {
        fetched.await.unwrap();
    }
    let all = megabytes * n_caches as f64 / started.elapsed().as_secs_f64();
    println!(
        "JetStream, {megabytes:.0} MB put at {put:.0} MB/s, fetched by {n_caches} at once at {all:.0} MB/s in all"
    );
}

/// Workers, what one evaluation takes, and tasks.
fn cases(n_tasks: usize) -> impl Iterator<Item = (usize, Duration, usize)> {
    let empty = [1, 8, 32].map(|n_workers| (n_workers, Duration::ZERO, n_tasks));
    let sleep = Duration::from_millis(200);
    empty.into_iter().chain([2, 4, 8, 16].map(|n_workers| (n_workers, sleep, 50 * n_workers)))
}

#[tokio::main]
async fn main() {
    let n_tasks = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(20_000);
    for (n_workers, evaluation, n_tasks) in cases(n_tasks) {
        let folder = tempfile::tempdir().unwrap();
        let queue = Store::open(folder.path().join("haq.db")).await.unwrap().evaluations();
        let workers = vec![queue.clone(); n_workers];
        measure("local table", queue, workers, evaluation, n_tasks).await;
    }
    for (n_workers, evaluation, n_tasks) in cases(n_tasks) {
        let Some(server) = nats_common::NatsServer::start() else { return };
        let connect = || async {
            JetStreamQueue::connect(&Connection::new(server.fleet("bench"))).await.unwrap()
        };
        // A connection each, as worker processes have.
        let workers = stream::iter(0..n_workers).then(|_| connect()).collect().await;
        measure("JetStream", connect().await, workers, evaluation, n_tasks).await;
    }
    for n_caches in [1, 8] {
        let Some(server) = nats_common::NatsServer::start() else { return };
        measure_blob(&server, n_caches).await;
    }
}
