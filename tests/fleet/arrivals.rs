//! Searches that learn from each policy as it is judged, in whatever order.

use std::{collections::BTreeSet, process::Stdio};

use serde_json::Value;

use crate::{
    folder::{Folder, SEARCH, Worker, wait_until},
    nats_common::NatsServer,
};

/// [`SEARCH`] with four policies in flight instead of rounds.
fn search_in_flight() -> Vec<&'static str> {
    let round = SEARCH.iter().position(|word| *word == "--round").unwrap();
    [&SEARCH[..round], &["--in-flight", "4"], &SEARCH[round + 2..]].concat()
}

fn episodes(folder: &Folder, run: &str) -> Vec<Value> {
    let output = folder.haq(&["runs", "show", run, "--json"]).output().unwrap();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    shown["episodes"].as_array().cloned().unwrap_or_default()
}

/// What a worker says at its end that it answered.
fn n_answered(worker: Worker) -> usize {
    let said = worker.end();
    said.split(" answered ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// Each of the 24 proposals became one episode; those that nobody knew before were judged by one of
/// these workers.
fn is_whole(episodes: &[Value], workers: &[&str]) {
    let proposals: Vec<u64> =
        episodes.iter().filter_map(|episode| episode["proposal_index"].as_u64()).collect();
    let each_once: BTreeSet<u64> = proposals.iter().copied().collect();
    assert_eq!((proposals.len(), each_once), (24, (0..24).collect()));
    for episode in episodes {
        let by = episode["judged_by"]["worker"].as_str();
        let is_known = episode["from_cache"].as_bool().unwrap();
        assert_eq!(by.is_none(), is_known, "{episode}");
        assert!(by.is_none_or(|by| workers.contains(&by)), "{episode}");
        assert!(is_known || episode["judged_by"]["evaluation_s"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn two_workers_are_kept_busy_over_a_nats_server() {
    let Some(server) = NatsServer::start() else { return };
    let (folder, queue) = (Folder::new(), server.fleet("lab"));
    let workers = [folder.worker(&queue, "one"), folder.worker(&queue, "two")];
    let (found, _) = folder.json(&[&search_in_flight()[..], &["--queue", &queue]].concat());
    let episodes = episodes(&folder, "1");
    is_whole(&episodes, &["one", "two"]);
    let judges: BTreeSet<_> =
        episodes.iter().filter_map(|episode| episode["judged_by"]["worker"].as_str()).collect();
    assert_eq!(judges.len(), 2, "both worked");
    let n_answered: usize = workers.map(n_answered).iter().sum();
    assert_eq!(n_answered as u64, found["evaluations"].as_u64().unwrap(), "each policy once");
}

#[test]
fn one_that_is_killed_takes_what_was_judged_meanwhile() {
    let folder = Folder::new();
    // A worker wants the database to be there.
    folder.json(&["search", "--hw", "bismo-edge", "--episodes", "1", "--strategy", "random"]);
    let worker = folder.worker("haq.db", "one");
    let with_queue = [&search_in_flight()[..], &["--queue", "haq.db", "--quiet"]].concat();
    let mut command = folder.haq(&with_queue);
    let mut search = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("some episodes", || episodes(&folder, "2").len() > 6);
    search.kill().unwrap();
    search.wait().unwrap();
    // The worker goes on with what is in flight.
    wait_until("nothing left to do", || {
        let (fleet, _) = folder.json(&["fleet", "--queue", "haq.db"]);
        fleet["tasks"]["waiting"] == 0 && fleet["tasks"]["leased"] == 0
    });
    let (resumed, _) = folder.json(&["resume", "2", "--queue", "haq.db", "--threads", "1"]);
    is_whole(&episodes(&folder, "2"), &["one"]);
    assert_eq!(n_answered(worker) as u64, resumed["evaluations"].as_u64().unwrap());
}
