//! A cluster that keeps each message on three servers goes on without any one of them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Connection, JetStreamQueue, JetStreamTicket, streams};
use crate::queue::{
    Answer, BlobCache, BlobStore, EvalQueue, LeasedTask, QueueDepth,
    blobs::tests::content,
    evaluation_contract::{answer, task},
    jetstream::tests::{NatsServer, nats_common::free_port},
};

/// Elections and redeliveries on a busy machine included.
const PATIENCE: Duration = Duration::from_secs(90);

/// What was lost on its way to a worker is handed out again after this.
const LEASE: Duration = Duration::from_secs(5);

struct Cluster {
    servers: Vec<NatsServer>,
}

impl Cluster {
    fn start() -> Option<Self> {
        let ports = [(); 3].map(|()| free_port());
        let routes = ports.map(|port| format!("nats://127.0.0.1:{port}")).join(",");
        let start = |(index, port): (usize, &u16)| {
            let (name, own) = (Self::name(index), format!("nats://127.0.0.1:{port}"));
            let cluster = ["--cluster_name", "lab", "--cluster", &own, "--routes", &routes];
            NatsServer::start_with(&[&["-js", "-n", &name], &cluster[..]].concat())
        };
        let servers: Option<Vec<_>> = ports.iter().enumerate().map(start).collect();
        Some(Self { servers: servers? })
    }

    fn name(index: usize) -> String {
        format!("server-{index}")
    }

    /// A queue that knows all servers, once they have found each other.
    async fn queue(&self) -> JetStreamQueue {
        let urls: Vec<String> = self.servers.iter().map(|server| server.fleet("lab")).collect();
        let connection = Connection { replicas: 3, ..Connection::new(urls.join(",")) };
        let started = Instant::now();
        loop {
            match JetStreamQueue::connect(&connection).await {
                Ok(queue) => return queue.with_lease(LEASE),
                Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The server that decides on the tasks.
async fn leader(queue: &JetStreamQueue) -> usize {
    let info = queue.server.insist(|| streams::stream_info(&queue.server, streams::TASKS));
    let leader = info.await.unwrap().cluster.unwrap().leader.unwrap();
    (0..3).find(|index| Cluster::name(*index) == leader).unwrap()
}

/// Whether all servers have all that is kept.
async fn is_whole(queue: &JetStreamQueue) -> bool {
    for what in [streams::TASKS, streams::ANSWERS] {
        let Ok(info) = streams::stream_info(&queue.server, what).await else { return false };
        let Some(cluster) = info.cluster else { return false };
        let is_current =
            |peer: &async_nats::jetstream::stream::PeerInfo| peer.current && !peer.offline;
        if cluster.leader.is_none() || cluster.replicas.iter().filter(|p| is_current(p)).count() < 2
        {
            return false;
        }
    }
    true
}

async fn leased_after_elections(
    queue: &JetStreamQueue,
    worker: &str,
) -> LeasedTask<JetStreamTicket> {
    queue.lease("cpu", worker, PATIENCE).await.unwrap().expect("a task waits")
}

/// Answers tasks until told to stop.
async fn work(queue: JetStreamQueue, worker: &str, stop: tokio::sync::watch::Receiver<bool>) {
    while !*stop.borrow() {
        let leased = queue.lease("cpu", worker, Duration::from_secs(1)).await.unwrap();
        if let Some(lease) = leased {
            tokio::time::sleep(Duration::from_millis(20)).await;
            queue.complete(&lease.ticket, &answer(&lease, worker)).await.unwrap();
        }
    }
}

/// Takes answers until there is one to each of so many tasks; what else there is to a task says the
/// same.
async fn take(queue: &JetStreamQueue, n_tasks: u32, found: &mut BTreeMap<String, Answer>) {
    let started = Instant::now();
    while found.len() < n_tasks as usize {
        assert!(started.elapsed() < PATIENCE, "{} of {n_tasks}", found.len());
        let answers = queue.answers("s1", Duration::from_secs(2)).await.unwrap();
        if answers.is_empty() {
            look_after(queue, n_tasks, found).await;
        }
        for arrived in answers {
            queue.take(&arrived.receipt).await.unwrap();
            let answer = arrived.answer;
            let first = found.entry(answer.task.clone()).or_insert_with(|| answer.clone());
            assert_eq!(*first, answer, "two answers to one task");
        }
    }
}

/// As a search does for what it waits for: the tasks are kept, and not passed over.
async fn look_after(queue: &JetStreamQueue, n_tasks: u32, found: &BTreeMap<String, Answer>) {
    for task in (0..n_tasks).map(|index| task("s1", index)) {
        if !found.contains_key(&task.id) {
            assert!(queue.is_kept(&task).await.unwrap(), "{} is lost", task.id);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_on_three_servers_goes_on_without_any_one_of_them() {
    const N_TASKS: u32 = 60;
    let Some(mut cluster) = Cluster::start() else { return };
    let coordinator = cluster.queue().await;
    let bytes = content(5, 20 << 20);
    let blob = coordinator.put(&bytes).await.unwrap();
    let (halt, stop) = tokio::sync::watch::channel(false);
    let mut workers = Vec::new();
    for name in ["ann", "bob"] {
        workers.push(tokio::spawn(work(cluster.queue().await, name, stop.clone())));
    }
    let (mut found, mut n_tasks) = (BTreeMap::new(), 0);
    // First whoever decides on the tasks, then whoever does so then, and so on.
    for _ in 0..3 {
        let tasks: Vec<_> = (n_tasks..n_tasks + N_TASKS).map(|index| task("s1", index)).collect();
        assert_eq!(coordinator.publish_all(&tasks).await.unwrap(), u64::from(N_TASKS));
        n_tasks += N_TASKS;
        take(&coordinator, n_tasks - 40, &mut found).await;
        let victim = leader(&coordinator).await;
        cluster.servers[victim].kill();
        take(&coordinator, n_tasks, &mut found).await;
        let folder = tempfile::tempdir().unwrap();
        let cache = BlobCache::new(folder.path(), 1 << 30).unwrap();
        let fetched = cache.fetch(&coordinator, &blob).await.unwrap();
        assert!(std::fs::read(&*fetched).unwrap() == bytes, "other bytes");
        cluster.servers[victim].restart_same_disk();
        let started = Instant::now();
        while !is_whole(&coordinator).await {
            assert!(started.elapsed() < PATIENCE, "server {victim} does not catch up");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    halt.send(true).unwrap();
    for worker in workers {
        worker.await.unwrap();
    }
    let expected: Vec<String> = (0..n_tasks).map(|index| task("s1", index).id).collect();
    assert_eq!(found.into_keys().collect::<Vec<_>>(), expected);
    // A server that was killed may have brought back what was taken; with its search it goes.
    coordinator.withdraw("s1").await.unwrap();
    let QueueDepth { waiting, leased, answers, dead_letters, .. } =
        coordinator.depth().await.unwrap();
    assert_eq!((waiting, leased, answers, dead_letters), (0, 0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_two_of_three_servers_everybody_waits_and_then_goes_on() {
    let Some(mut cluster) = Cluster::start() else { return };
    let coordinator = cluster.queue().await;
    coordinator.publish(&task("s1", 0)).await.unwrap();
    let held = leased_after_elections(&coordinator, "ann").await;
    cluster.servers[..2].iter_mut().for_each(NatsServer::kill);
    let queue = coordinator.clone();
    let waiting = tokio::spawn(async move {
        // Both are tried until they are kept, so that the last try may have found them there.
        queue.complete(&held.ticket, &answer(&held, "ann")).await.unwrap();
        queue.publish(&task("s1", 1)).await.unwrap();
    });
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!waiting.is_finished(), "one server of three cannot keep anything");
    cluster.servers[..2].iter_mut().for_each(NatsServer::restart_same_disk);
    waiting.await.unwrap();
    assert_eq!(leased_after_elections(&coordinator, "bob").await.task, task("s1", 1));
    let mut found = BTreeMap::new();
    take(&coordinator, 1, &mut found).await;
    assert!(found.contains_key(&task("s1", 0).id));
}
