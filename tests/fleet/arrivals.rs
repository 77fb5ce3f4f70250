//! Searches that learn from each policy as it is judged, in whatever order.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    folder::{Folder, SEARCH, Worked, wait_until},
    nats_common::NatsServer,
};

/// [`SEARCH`] with four policies in flight instead of rounds.
fn search_in_flight() -> Vec<&'static str> {
    let round = SEARCH.iter().position(|word| *word == "--round").unwrap();
    [&SEARCH[..round], &["--in-flight", "4"], &SEARCH[round + 2..]].concat()
}

fn episodes(folder: &Folder, run: &str) -> Vec<Value> {
    folder.json(&["runs", "show", run]).0["episodes"].as_array().unwrap().clone()
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
    let answered = workers.map(|worker| Worked::parse(&worker.end()).n_answered);
    let n_answered: u64 = answered.iter().sum();
    assert_eq!(Some(n_answered), found["evaluations"].as_u64(), "each policy once");
}

#[test]
fn one_that_is_killed_takes_what_was_judged_meanwhile() {
    let folder = Folder::new();
    // A worker wants the database to be there.
    folder.json(&["search", "--hw", "bismo-edge", "--episodes", "1", "--strategy", "random"]);
    let worker = folder.worker("haq.db", "one");
    let with_queue = [&search_in_flight()[..], &["--queue", "haq.db", "--quiet"]].concat();
    let mut search = folder.start(&with_queue);
    wait_until("some episodes", || folder.n_episodes("2") > 6);
    search.kill().unwrap();
    search.wait().unwrap();
    // The worker goes on with what is in flight.
    wait_until("nothing left to do", || {
        let fleet = folder.fleet("haq.db");
        fleet["tasks"]["waiting"] == 0 && fleet["tasks"]["leased"] == 0
    });
    let (resumed, _) = folder.json(&["resume", "2", "--queue", "haq.db", "--threads", "1"]);
    is_whole(&episodes(&folder, "2"), &["one"]);
    let n_answered = Worked::parse(&worker.end()).n_answered;
    assert_eq!(Some(n_answered), resumed["evaluations"].as_u64(), "none twice");
}
