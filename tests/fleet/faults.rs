//! What goes wrong in a fleet loses nothing and counts nothing twice.

use std::{
    process::{Child, Stdio},
    time::Duration,
};

use haq::{
    queue::{ATTEMPTS_MAX, EvalQueue as _},
    store::Store,
};
use serde_json::Value;

use crate::{
    folder::{Folder, SEARCH, wait_until},
    nats_common::NatsServer,
};

fn started(folder: &Folder, arguments: &[&str]) -> Child {
    folder.haq(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// How many episodes a run has, 0 before there is one.
fn n_episodes(folder: &Folder, run: &str) -> u64 {
    let output = folder.haq(&["runs", "show", run, "--json"]).output().unwrap();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    shown["episodes"].as_array().map_or(0, |episodes| episodes.len() as u64)
}

/// Kills whoever judges and whoever searches, over and over, until the search is done.
fn survives_kills(queue: &str) {
    let folder = Folder::new();
    folder.json(SEARCH);
    let expected = folder.episodes(1);
    let with_queue = [SEARCH, &["--queue", queue, "--quiet"]].concat();

    let mut workers = [folder.worker(queue, "one"), folder.worker(queue, "two")];
    let mut search = started(&folder, &with_queue);
    wait_until("a first round", || n_episodes(&folder, "2") > 0);
    for number in 0..3 {
        if search.try_wait().unwrap().is_some() {
            break;
        }
        let name = if number % 2 == 0 { "one" } else { "two" };
        workers[number % 2].kill();
        search.kill().unwrap();
        search.wait().unwrap();
        let before = n_episodes(&folder, "2");
        workers[number % 2] = folder.worker(queue, name);
        search = started(&folder, &["resume", "2", "--queue", queue, "--quiet", "--threads", "1"]);
        wait_until("the search going on", || {
            search.try_wait().unwrap().is_some() || n_episodes(&folder, "2") > before
        });
    }
    assert!(search.wait().unwrap().success());
    assert_eq!(folder.episodes(2), expected);
}

#[test]
fn workers_and_search_killed_over_a_table() {
    survives_kills("haq.db");
}

#[test]
fn workers_and_search_killed_over_a_nats_server() {
    let Some(server) = NatsServer::start() else { return };
    survives_kills(&server.fleet("lab"));
}

#[test]
fn the_nats_server_killed_with_its_disk_kept_and_with_it_lost() {
    let Some(mut server) = NatsServer::start() else { return };
    let folder = Folder::new();
    folder.json(SEARCH);
    let queue = server.fleet("lab");
    let _workers = [folder.worker(&queue, "one"), folder.worker(&queue, "two")];
    let mut search = started(&folder, &[SEARCH, &["--queue", &queue, "--quiet"]].concat());
    wait_until("a first round", || n_episodes(&folder, "2") > 0);
    server.restart_same_disk();
    let before = n_episodes(&folder, "2");
    wait_until("the search going on with the disk kept", || {
        search.try_wait().unwrap().is_some() || n_episodes(&folder, "2") > before
    });
    server.restart_empty();
    wait_until("the search ending with the disk lost", || search.try_wait().unwrap().is_some());
    assert!(search.wait().unwrap().success());
    assert_eq!(folder.episodes(2), folder.episodes(1));
}

/// Somebody who takes tasks and gives them back, as if each killed its worker.
#[test]
fn a_task_that_nobody_survives_ends_the_search_which_goes_on_once_it_is_handed_out_again() {
    let folder = Folder::new();
    folder.json(SEARCH);
    let with_queue = [SEARCH, &["--queue", "haq.db", "--device-class", "any"]].concat();
    let search =
        folder.haq(&with_queue).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let path = folder.path().join("haq.db");
        let queue = Store::open(&path).await.unwrap().evaluations();
        let mut n_given_back = 0;
        while n_given_back < ATTEMPTS_MAX * 4 {
            let leased = queue.lease("any", "weak", Duration::from_secs(60)).await.unwrap();
            let leased = leased.expect("the search waits");
            queue.fail(&leased.ticket, "it was too much for me").await.unwrap();
            n_given_back += 1;
        }
    });
    let output = search.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("too much for me") && said.contains("haq fleet retry"), "{said}");
}
