//! The contract, and what a server of its own adds: it may be killed, and lose its disk.

use std::{collections::BTreeSet, time::Duration};

use async_nats::jetstream::stream::Config;

use super::{Connection, JetStreamQueue, QueueError, leases::settle, streams};
use crate::queue::{
    ATTEMPTS_MAX, BlobCache, BlobStore, EvalQueue, WorkerRegistry,
    blobs::tests::{check_store, content},
    evaluation_contract::{self, answer, check_registry, leased, nothing_waits, task},
};

#[path = "../../../tests/nats_common/mod.rs"]
pub(super) mod nats_common;

pub(super) use nats_common::NatsServer;

const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn queue(server: &NatsServer, fleet: &str) -> JetStreamQueue {
    JetStreamQueue::connect(&Connection::new(server.fleet(fleet))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_jetstream_is_a_queue_of_evaluations() {
    let Some(server) = NatsServer::start() else { return };
    let mut n_fleets = 0;
    evaluation_contract::check(async |lease| {
        n_fleets += 1;
        queue(&server, &format!("fleet-{n_fleets}")).await.with_lease(lease)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_knows_its_workers() {
    let Some(server) = NatsServer::start() else { return };
    check_registry(&queue(&server, "lab").await).await;
    assert!(queue(&server, "other").await.workers().await.unwrap().is_empty());
}

/// Answers every task, until there has been none for a while.
async fn work(queue: JetStreamQueue, worker: &str) {
    while let Some(lease) = queue.lease("cpu", worker, Duration::from_secs(8)).await.unwrap() {
        queue.complete(&lease.ticket, &answer(&lease, worker)).await.unwrap();
    }
}

/// Which tasks were answered, once there is an answer to `n_tasks` of them.
async fn answered(queue: &JetStreamQueue, n_tasks: usize) -> BTreeSet<String> {
    let mut tasks = BTreeSet::new();
    while tasks.len() < n_tasks {
        let answers = queue.answers("s1", PATIENCE).await.unwrap();
        assert!(!answers.is_empty(), "{} of {n_tasks}", tasks.len());
        for arrived in answers {
            queue.take(&arrived.receipt).await.unwrap();
            tasks.insert(arrived.answer.task);
        }
    }
    tasks
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_comes_back_with_everything() {
    const N_TASKS: u32 = 60;
    let Some(mut server) = NatsServer::start() else { return };
    let coordinator = queue(&server, "lab").await;
    for index in 0..N_TASKS {
        assert!(coordinator.publish(&task("s1", index)).await.unwrap());
    }
    let slow = leased(&coordinator, "slow").await;
    let early = leased(&coordinator, "early").await;
    assert!(coordinator.complete(&early.ticket, &answer(&early, "early")).await.unwrap());
    // Works on while the server goes down, is away and comes back.
    let workers: Vec<_> = ["ann", "bob"]
        .map(|name| tokio::spawn(work(coordinator.clone(), name)))
        .into_iter()
        .collect();
    tokio::time::sleep(Duration::from_millis(5)).await;
    server.kill();
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.restart_same_disk();
    assert!(coordinator.is_kept(&slow.task).await.unwrap());
    assert!(coordinator.extend(&slow.ticket).await.unwrap());
    coordinator.complete(&slow.ticket, &answer(&slow, "slow")).await.unwrap();
    let expected: BTreeSet<String> = (0..N_TASKS).map(|index| task("s1", index).id).collect();
    assert_eq!(answered(&coordinator, N_TASKS as usize).await, expected);
    for worker in workers {
        worker.await.unwrap();
    }
    // Whoever waits for work gets it over the new connection as over the old one.
    assert!(coordinator.publish(&task("s1", N_TASKS)).await.unwrap());
    assert_eq!(leased(&coordinator, "ann").await.task, task("s1", N_TASKS));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_work_waits_through_a_restart() {
    let Some(mut server) = NatsServer::start() else { return };
    let coordinator = queue(&server, "lab").await;
    for restart in 0..3 {
        let waiting = coordinator.clone();
        let worker = tokio::spawn(async move { leased(&waiting, "ann").await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        if restart % 2 == 0 {
            server.restart_same_disk();
        } else {
            server.restart_empty();
        }
        coordinator.publish(&task("s1", restart)).await.unwrap();
        let lease = worker.await.unwrap();
        assert_eq!(lease.task, task("s1", restart));
        assert!(coordinator.complete(&lease.ticket, &answer(&lease, "ann")).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_disk_is_filled_again() {
    let Some(mut server) = NatsServer::start() else { return };
    let coordinator = queue(&server, "lab").await;
    for index in 0..3 {
        coordinator.publish(&task("s1", index)).await.unwrap();
    }
    let held = leased(&coordinator, "ann").await;
    let answered_before = leased(&coordinator, "ann").await;
    let given = answer(&answered_before, "ann");
    coordinator.complete(&answered_before.ticket, &given).await.unwrap();
    server.restart_empty();
    for index in 0..3 {
        assert!(!coordinator.is_kept(&task("s1", index)).await.unwrap());
    }
    assert!(coordinator.dead_letters().await.unwrap().is_empty());
    assert_eq!(coordinator.depth().await.unwrap(), Default::default());
    for index in [2, 1, 0] {
        assert!(coordinator.publish(&task("s1", index)).await.unwrap());
    }
    // A ticket of the lost stream ends nothing in the new one, and its answer counts.
    assert!(coordinator.complete(&held.ticket, &answer(&held, "ann")).await.unwrap());
    let mut handed_out = BTreeSet::new();
    for _ in 0..3 {
        let lease = leased(&coordinator, "bob").await;
        assert_eq!(lease.attempt, 1);
        coordinator.complete(&lease.ticket, &answer(&lease, "bob")).await.unwrap();
        handed_out.insert(lease.task.id);
    }
    assert_eq!(handed_out.len(), 3);
    nothing_waits(&coordinator).await;
    assert_eq!(answered(&coordinator, 3).await, handed_out);
}

/// Streams that somebody made so that an acknowledgement removes nothing: to a consumer its message
/// is done, as to that of a cluster whose leader was killed.
async fn queue_that_forgets_to_remove(server: &NatsServer) -> JetStreamQueue {
    let queue = queue(server, "lab").await;
    for (what, n_words) in [(streams::TASKS, 3), (streams::ANSWERS, 2)] {
        let name = queue.server.fleet.stream(what);
        queue.server.context.delete_stream(&name).await.unwrap();
        let subjects = vec![queue.server.fleet.subjects(what, n_words)];
        let config = Config { name, subjects, allow_direct: true, ..Config::default() };
        queue.server.context.create_stream(config).await.unwrap();
    }
    queue
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_passed_over_is_handed_out_once_somebody_asks_for_it() {
    let Some(server) = NatsServer::start() else { return };
    let queue = queue_that_forgets_to_remove(&server).await;
    let (lost, other) = (task("s1", 1), task("s1", 2));
    queue.publish_all(&[lost.clone(), other.clone()]).await.unwrap();
    let first = leased(&queue, "ann").await;
    settle(&queue.server, &first.ticket.delivery.acknowledge, "+ACK").await.unwrap();
    // While another works on another.
    let held = leased(&queue, "bob").await;
    nothing_waits(&queue).await;
    assert!(queue.is_kept(&lost).await.unwrap() && queue.is_kept(&other).await.unwrap());
    let second = leased(&queue, "ann").await;
    assert_eq!((&second.task, second.attempt), (&lost, 1));
    nothing_waits(&queue).await;
    for lease in [held, second] {
        assert!(queue.complete(&lease.ticket, &answer(&lease, "ann")).await.unwrap());
    }
    let expected = BTreeSet::from([lost.id.clone(), other.id.clone()]);
    assert_eq!(answered(&queue, 2).await, expected);
    // The same of answers.
    assert!(queue.answers("s1", Duration::from_millis(500)).await.unwrap().is_empty());
    assert!(queue.is_kept(&lost).await.unwrap());
    let again = queue.answers("s1", PATIENCE).await.unwrap();
    assert_eq!(again.iter().map(|a| &a.answer.task).collect::<Vec<_>>(), [&lost.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_not_taken_for_passed_over() {
    let Some(server) = NatsServer::start() else { return };
    let queue = queue(&server, "lab").await;
    let poison = task("s1", 1);
    queue.publish(&poison).await.unwrap();
    for _ in 0..ATTEMPTS_MAX {
        let lease = leased(&queue, "ann").await;
        queue.fail(&lease.ticket, "no").await.unwrap();
    }
    nothing_waits(&queue).await;
    assert!(queue.is_kept(&poison).await.unwrap());
    nothing_waits(&queue).await;
    assert_eq!(queue.dead_letters().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fleets_on_one_server_do_not_see_each_other() {
    let Some(server) = NatsServer::start() else { return };
    let (lab, other) = (queue(&server, "lab").await, queue(&server, "lab-2").await);
    lab.publish(&task("s1", 1)).await.unwrap();
    nothing_waits(&other).await;
    assert!(!other.is_kept(&task("s1", 1)).await.unwrap());
    other.withdraw("s1").await.unwrap();
    assert!(lab.is_kept(&task("s1", 1)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_name_or_too_large_is_refused() {
    let Some(server) = NatsServer::start() else { return };
    let queue = queue(&server, "lab").await;
    for bad in ["a.b", "*", ""] {
        let bad_task = crate::queue::Task { search: bad.into(), ..task("s1", 1) };
        let error = queue.publish(&bad_task).await.unwrap_err();
        assert!(matches!(error, QueueError::Name { .. }), "{error}");
    }
    let large = serde_json::Value::String("x".repeat(2 << 20));
    let large = crate::queue::Task { payload: large, ..task("s1", 1) };
    let error = queue.publish(&large).await.unwrap_err();
    assert!(matches!(error, QueueError::TooLarge { .. }), "{error}");
    assert!(error.to_string().contains("max_payload"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_serve_is_told_at_the_start() {
    let connect =
        async |url: String| JetStreamQueue::connect(&Connection::new(url)).await.unwrap_err();
    let error = connect("nats://127.0.0.1:9/lab".into()).await;
    assert!(matches!(error, QueueError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("nats-server -js"), "{error}");

    let Some(bare) = NatsServer::start_with(&[]) else { return };
    let error = connect(bare.fleet("lab")).await;
    assert!(matches!(error, QueueError::NoJetStream { .. }), "{error}");

    let login = ["-js", "--user", "ann", "--pass", "p@ss"];
    let Some(guarded) = NatsServer::start_with(&login) else { return };
    let at = |login: &str| format!("nats://{login}127.0.0.1:{}/lab", guarded.port());
    for wrong in ["", "ann:secret@"] {
        let error = connect(at(wrong)).await;
        assert!(matches!(error, QueueError::Login { .. }), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let right = JetStreamQueue::connect(&Connection::new(at("ann:p%40ss@"))).await.unwrap();
    assert!(right.publish(&task("s1", 1)).await.unwrap());
    assert!(!format!("{right:?}").contains("p@ss") && !right.address().contains("ann"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_jetstream_is_a_store_of_blobs() {
    let Some(server) = NatsServer::start() else { return };
    let store = queue(&server, "lab").await;
    check_store(store, async |store, digest, bytes| store.put_part(digest, bytes).await.unwrap())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_where_a_killed_server_left_it() {
    let Some(mut server) = NatsServer::start() else { return };
    let store = queue(&server, "lab").await;
    let folder = tempfile::tempdir().unwrap();
    let cache = BlobCache::new(folder.path(), 1 << 30).unwrap();
    let bytes = content(3, 40 << 20);
    let blob = store.put(&bytes).await.unwrap();
    let fetching = {
        let (cache, store, blob) = (cache.clone(), store.clone(), blob.clone());
        tokio::spawn(async move { cache.fetch(&store, &blob).await })
    };
    while cache.moved_bytes() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.restart_same_disk();
    let found = fetching.await.unwrap().unwrap();
    assert!(std::fs::read(&*found).unwrap() == bytes, "other bytes");
    assert_eq!(cache.moved_bytes(), 40 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_machines_move_a_blob_once_each_though_the_server_is_killed_meanwhile() {
    let Some(mut server) = NatsServer::start() else { return };
    let store = queue(&server, "lab").await;
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::sync::Arc::new(content(4, 100_000_000));
    let blob = store.put(&bytes).await.unwrap();
    let (mut caches, mut fetching) = (Vec::new(), Vec::new());
    for index in 0..8 {
        let cache = BlobCache::new(folder.path().join(format!("{index}")), 1 << 30).unwrap();
        caches.push(cache.clone());
        let (store, blob, bytes) = (queue(&server, "lab").await, blob.clone(), bytes.clone());
        fetching.push(tokio::spawn(async move {
            let found = cache.fetch(&store, &blob).await.unwrap();
            assert!(std::fs::read(&*found).unwrap() == *bytes, "other bytes");
        }));
    }
    while caches.iter().all(|cache| cache.moved_bytes() == 0) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.restart_same_disk();
    for fetched in fetching {
        fetched.await.unwrap();
    }
    let moved: Vec<u64> = caches.iter().map(BlobCache::moved_bytes).collect();
    assert_eq!(moved, [100_000_000; 8]);
}
