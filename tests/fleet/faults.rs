//! What goes wrong in a fleet loses nothing and counts nothing twice.

use std::{process::Stdio, time::Duration};

use crate::{
    folder::{Folder, SEARCH, Worked, Worker, terminate, wait_until},
    nats_common::NatsServer,
};
use haq::{
    queue::{ATTEMPTS_MAX, Answer, EvalQueue as _, LeasedTask, QueueDepth},
    store::Store,
};

/// Kills whoever judges and whoever searches, over and over, until the search is done.
fn survives_kills(queue: &str) {
    let folder = Folder::new();
    folder.json(SEARCH);
    let expected = folder.episodes(1);
    let with_queue = [SEARCH, &["--queue", queue, "--quiet"]].concat();

    let mut workers = [folder.worker(queue, "one"), folder.worker(queue, "two")];
    let mut search = folder.start(&with_queue);
    wait_until("a first round", || folder.n_episodes("2") > 0);
    for number in 0..3 {
        if search.try_wait().unwrap().is_some() {
            break;
        }
        let name = if number % 2 == 0 { "one" } else { "two" };
        workers[number % 2].kill();
        search.kill().unwrap();
        search.wait().unwrap();
        let before = folder.n_episodes("2");
        workers[number % 2] = folder.worker(queue, name);
        search = folder.start(&["resume", "2", "--queue", queue, "--quiet", "--threads", "1"]);
        wait_until("the search going on", || {
            search.try_wait().unwrap().is_some() || folder.n_episodes("2") > before
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
    let mut workers = [folder.worker(&queue, "one"), folder.worker(&queue, "two")];
    let mut search = folder.start(&[SEARCH, &["--queue", &queue, "--quiet"]].concat());
    wait_until("a first round", || folder.n_episodes("2") > 0);
    server.restart_same_disk();
    let before = folder.n_episodes("2");
    wait_until("the search going on with the disk kept", || {
        search.try_wait().unwrap().is_some() || folder.n_episodes("2") > before
    });
    workers.iter_mut().for_each(Worker::kill);
    server.restart_empty();
    // Nothing of the network or the images is left on the server, and this one has none of it.
    let worker = folder.worker(&queue, "three");
    wait_until("the search ending with the disk lost", || search.try_wait().unwrap().is_some());
    assert!(search.wait().unwrap().success());
    assert_eq!(folder.episodes(2), folder.episodes(1));
    // Also without a server to say goodbye to.
    server.kill();
    worker.end();
}

/// Somebody who takes tasks and gives them back.
fn give_back(folder: &Folder, n_times: u32) {
    let class = haq::network::ComputeDevice::of(tch::Device::Cpu).class;
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = Store::open(folder.path().join("haq.db")).await.unwrap();
        let queue = store.evaluations();
        for _ in 0..n_times {
            let leased = queue.lease(&class, "weak", Duration::from_secs(60)).await.unwrap();
            let leased = leased.expect("the search waits");
            queue.fail(&leased.ticket, "it was too much for me").await.unwrap();
        }
        store.close().await;
    });
}

#[test]
fn a_task_that_everybody_gives_back_ends_the_search_which_goes_on_once_it_is_handed_out_again() {
    let folder = Folder::new();
    folder.json(SEARCH);
    let with_queue = [SEARCH, &["--queue", "haq.db"]].concat();
    let search = folder.haq(&with_queue).stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
    give_back(&folder, 2 * ATTEMPTS_MAX);
    let output = search.unwrap().wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("too much for me") && said.contains("haq fleet retry"), "{said}");

    let fleet = ["fleet", "--queue", "haq.db"];
    let (state, _) = folder.json(&fleet);
    assert_eq!(state["tasks"]["dead_letters"], 2, "{state}");
    assert_eq!(state["dead_letters"][0]["reason"], "it was too much for me");
    assert_eq!(state["dead_letters"][0]["attempts"], ATTEMPTS_MAX);
    let output = folder.haq(&[&fleet[..], &["retry", "nothing"]].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let name = state["dead_letters"][0]["task"]["id"].as_str().unwrap();
    let (one, _) = folder.json(&[&fleet[..], &["retry", &name[..12]]].concat());
    assert_eq!(one["tasks"], 1);
    let (other, _) = folder.json(&[&fleet[..], &["retry"]].concat());
    assert_eq!(other["tasks"], 1);

    let _worker = folder.worker("haq.db", "strong");
    let resume = ["resume", "2", "--queue", "haq.db", "--threads", "1"];
    folder.json(&resume);
    assert_eq!(folder.episodes(2), folder.episodes(1));
}

/// Starts one worker after the other, and kills each as soon as it has a task.
fn kill_whoever_works(folder: &Folder, n_workers: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(Store::open(folder.path().join("haq.db"))).unwrap();
    let queue = store.evaluations();
    for n_before in 0..n_workers {
        let mut worker = folder.worker("haq.db", "doomed");
        wait_until("a task in work", || {
            let QueueDepth { leased, redelivered, .. } = runtime.block_on(queue.depth()).unwrap();
            leased > 0 && redelivered == u64::from(n_before)
        });
        worker.kill();
    }
    runtime.block_on(store.close());
}

#[test]
fn a_policy_that_kills_every_worker_is_set_aside_and_one_that_survives_it_finds_the_same() {
    let folder = Folder::new();
    let mut search = SEARCH.to_vec();
    let round = search.iter().position(|word| *word == "--round").unwrap();
    // One task at a time: all of them die of the same.
    search[round + 1] = "1";
    folder.json(&search);
    search.extend(["--queue", "haq.db"]);
    let search = folder.haq(&search).stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
    kill_whoever_works(&folder, ATTEMPTS_MAX);
    let output = search.unwrap().wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("its workers went silent") && said.contains("haq fleet retry"), "{said}");
    let letters = &folder.fleet("haq.db")["dead_letters"];
    assert_eq!(letters.as_array().map(Vec::len), Some(1), "{letters}");
    assert_eq!(letters[0]["attempts"], ATTEMPTS_MAX);

    let (retried, _) = folder.json(&["fleet", "--queue", "haq.db", "retry"]);
    assert_eq!(retried["tasks"], 1);
    let _worker = folder.worker("haq.db", "strong");
    folder.json(&["resume", "2", "--queue", "haq.db", "--threads", "1"]);
    assert_eq!(folder.episodes(2), folder.episodes(1));
}

#[test]
fn answers_that_mean_nothing_are_asked_for_again() {
    let folder = Folder::new();
    folder.json(SEARCH);
    let with_queue = [SEARCH, &["--queue", "haq.db", "--quiet"]].concat();
    let mut search = folder.start(&with_queue);
    let class = haq::network::ComputeDevice::of(tch::Device::Cpu).class;
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = Store::open(folder.path().join("haq.db")).await.unwrap();
        let queue = store.evaluations();
        for _ in 0..3 {
            let leased = queue.lease(&class, "odd", Duration::from_secs(60)).await.unwrap();
            let LeasedTask { task, ticket, attempt } = leased.expect("the search waits");
            let (worker, payload) = ("odd".into(), serde_json::json!({ "quality": "fine" }));
            let answer = Answer { task: task.id, attempt, worker, payload };
            assert!(queue.complete(&ticket, &answer).await.unwrap());
        }
        store.close().await;
    });
    let _worker = folder.worker("haq.db", "plain");
    assert!(search.wait().unwrap().success());
    assert_eq!(folder.episodes(2), folder.episodes(1));
}

#[test]
fn a_worker_refuses_files_that_are_not_what_they_are_said_to_be() {
    let folder = Folder::new();
    let with_queue = [SEARCH, &["--queue", "haq.db"]].concat();
    let search = folder.haq(&with_queue).stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
    let blobs = folder.path().join("haq.db.blobs");
    let n_waiting = || folder.fleet("haq.db")["tasks"]["waiting"].as_u64();
    wait_until("a task that waits", || n_waiting() > Some(0));
    for file in std::fs::read_dir(&blobs).unwrap().flatten() {
        if file.path().is_file() {
            let mut bytes = std::fs::read(file.path()).unwrap();
            bytes[0] ^= 1;
            std::fs::write(file.path(), bytes).unwrap();
        }
    }
    let _worker = folder.worker("haq.db", "careful");
    let output = search.unwrap().wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("digest"), "{said}");
}

#[test]
fn what_waits_for_others_ends_when_it_is_told_to() {
    let Some(mut server) = NatsServer::start() else { return };
    let (folder, queue) = (Folder::new(), server.fleet("lab"));
    let mut search = folder.start(&[SEARCH, &["--queue", &queue]].concat());
    wait_until("a task that nobody takes", || {
        folder.fleet(&queue)["tasks"]["waiting"].as_u64() > Some(0)
    });
    terminate(&search);
    let mut ending = None;
    wait_until("its end", || {
        ending = search.try_wait().unwrap();
        ending.is_some()
    });
    assert_eq!(ending.unwrap().code(), Some(130), "interrupted, and not failed");

    let worker = folder.worker(&queue, "one");
    folder.json(&["resume", "1", "--queue", &queue, "--threads", "1"]);
    server.kill();
    let said = worker.end();
    assert_eq!(Worked::parse(&said).n_late, 0, "{said}");
}
