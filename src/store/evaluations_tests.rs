//! The table under the contract of queues, and what only a table has to do.

use super::*;
use crate::{
    queue::evaluation_contract::{self, answer, check_registry, collect, task},
    store::lease::now_unix_ms,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_table_is_a_queue_of_evaluations() {
    let folder = tempfile::tempdir().unwrap();
    let mut n_stores = 0;
    evaluation_contract::check(async |lease| {
        n_stores += 1;
        let store = Store::open(folder.path().join(format!("{n_stores}.db"))).await.unwrap();
        store.evaluations().with_lease(lease)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_knows_its_workers() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("haq.db")).await.unwrap();
    let queue = store.evaluations();
    check_registry(&queue).await;
    let long_ago = now_unix_ms() - 61_000;
    sqlx::query("UPDATE evaluation_workers SET seen_unix_ms = ?")
        .bind(long_ago)
        .execute(store.writer().unwrap())
        .await
        .unwrap();
    check_registry(&queue).await;
}

/// Stores of one file share nothing but the file, as processes do.
#[tokio::test(flavor = "multi_thread")]
async fn several_processes_share_one_file() {
    const N_TASKS: u32 = 200;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("haq.db");
    let coordinator = Store::open(&path).await.unwrap().evaluations();
    let mut workers = Vec::new();
    for name in ["ann", "bob", "cat"] {
        let queue = Store::open(&path).await.unwrap().evaluations();
        workers.push(tokio::spawn(async move {
            let patience = Duration::from_secs(2);
            while let Some(lease) = queue.lease("cpu", name, patience).await.unwrap() {
                assert_eq!(lease.attempt, 1);
                assert!(queue.complete(&lease.ticket, &answer(&lease, name)).await.unwrap());
            }
        }));
    }
    for index in 0..N_TASKS {
        coordinator.publish(&task("s1", index)).await.unwrap();
    }
    let found = collect(&coordinator, "s1", N_TASKS as usize).await;
    assert_eq!(found.len(), N_TASKS as usize);
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(coordinator.depth().await.unwrap(), QueueDepth::default());
}
