//! Whoever judges, a search in rounds finds the same.

use serde_json::{Value, json};

use crate::{
    folder::{Folder, SEARCH, Worked, wait_until},
    nats_common::NatsServer,
};

/// A search with two workers on this queue, beside one without.
fn is_the_same_as_without(queue: &str) {
    let folder = Folder::new();
    let (alone, _) = folder.json(SEARCH);
    let workers = [folder.worker(queue, "one"), folder.worker(queue, "two")];
    let with_queue = [SEARCH, &["--queue", queue]].concat();
    let (shared, said) = folder.json(&with_queue);
    assert_eq!(shared["best"], alone["best"]);
    assert_eq!(shared["front"], alone["front"]);
    assert_eq!(shared["evaluations"], alone["evaluations"]);
    let runs = [&alone, &shared].map(|run| folder.episodes(run["run"].as_i64().unwrap()));
    assert_eq!(runs[0], runs[1]);
    assert!(said.contains("one ") && said.contains("two "), "both worked: {said}");
    let answered: u64 = workers.map(|worker| Worked::parse(&worker.end()).n_answered).iter().sum();
    assert_eq!(answered, shared["evaluations"].as_u64().unwrap(), "each policy once: {said}");
}

#[test]
fn on_the_table_of_the_database() {
    is_the_same_as_without("haq.db");
}

#[test]
fn on_a_nats_server() {
    let Some(server) = NatsServer::start() else { return };
    is_the_same_as_without(&server.fleet("lab"));
}

#[test]
fn a_service_with_a_queue_has_its_searches_judged_by_workers() {
    let folder = Folder::new();
    let (alone, _) = folder.json(SEARCH);
    let worker = folder.worker("haq.db", "one");
    let service = folder.service(&["--queue", "haq.db", "--threads", "1"]);
    let ask = |path: &str| {
        let mut answer = ureq::get(format!("{}{path}", service.url)).call().unwrap();
        answer.body_mut().read_to_string().unwrap()
    };
    let fleet = || serde_json::from_str::<Value>(&ask("/api/v1/fleet")).unwrap();
    wait_until("the worker being listed", || fleet()["workers"][0]["name"] == "one");
    assert_eq!(fleet()["set_aside"], json!([]));
    assert!(ask("/fleet").contains(">one<"));
    assert!(ask("/metrics").contains("\nhaq_fleet_workers 1\n"));
    let (search, threads) = SEARCH.split_at(SEARCH.len() - 2);
    assert_eq!(threads[0], "--threads");
    let (remote, _) = folder.json(&[search, &["--server", &service.url]].concat());
    assert_eq!(remote["best"]["layers"], alone["best"]["layers"]);
    assert_eq!(folder.episodes(2), folder.episodes(1));
    let said = worker.end();
    let n_answered = format!("answered {} tasks", alone["evaluations"]);
    assert!(said.contains(&n_answered), "{said}");
}

#[test]
fn a_worker_may_join_a_class_that_is_not_its_own() {
    let folder = Folder::new();
    folder.json(SEARCH);
    let own = folder.worker("haq.db", "own");
    let joined =
        folder.start_worker(folder.haq(&[]), "haq.db", "joined", &["--device-class", "lab"]);
    let class = ["--queue", "haq.db", "--device-class", "lab"];
    let (found, _) = folder.json(&[SEARCH, &class].concat());
    assert_eq!(folder.episodes(2), folder.episodes(1));
    assert_eq!(Worked::parse(&own.end()).n_answered, 0);
    let n_answered = Worked::parse(&joined.end()).n_answered;
    assert_eq!(Some(n_answered), found["evaluations"].as_u64());
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_computed() {
    let folder = Folder::new();
    for (arguments, expected) in [
        (&["--queue", "nats://127.0.0.1:1"][..], "127.0.0.1:1"),
        (&["--queue", "nats://"], "nats://"),
        (&["--queue", "haq.db", "--repeats", "2"], "one seed"),
        (&["--queue", "."], "folder"),
        (&["--queue", "elsewhere.db"], "no such database"),
    ] {
        let output = folder.haq(&[SEARCH, arguments].concat()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(expected), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    let output = folder.haq(&["worker"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
