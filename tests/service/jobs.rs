//! Searches in work: paused, cancelled, failed, crashed, killed, gone on with.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::common::{Server, small_search};

/// Long enough to be stopped in the middle.
fn long_search(seed: u64) -> Value {
    let mut submission = small_search(seed);
    submission["episodes"] = json!(400);
    submission
}

fn act(server: &Server, id: i64, what: &str, status: u16) -> Value {
    server.post(&format!("/api/v1/searches/{id}/{what}"), &json!({})).expect(status)
}

fn is_ok(server: &Server) {
    let python = "import sqlite3,sys; print(sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check').fetchone()[0])";
    let output =
        Command::new("python3").args(["-c", python]).arg(server.path().join("haq.db")).output();
    assert_eq!(String::from_utf8_lossy(&output.expect("python3 is there").stdout).trim(), "ok");
}

/// A number that is another each time, from the clock.
fn some_ms(below: u64) -> Duration {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Duration::from_millis(u64::from(now.subsec_nanos()) / 1000 % below)
}

#[test]
fn a_paused_search_goes_on_where_it_was() {
    let server = Server::start(&[]);
    let undisturbed = server.submit(&small_search(5));
    server.wait_for(undisturbed, "completed");

    let id = server.submit(&small_search(5));
    server.wait_until(id, |found| found["episodes"].as_u64() > Some(9));
    act(&server, id, "pause", 202);
    let paused = server.wait_until(id, |found| found["state"] != "running");
    if paused["state"] == "paused" {
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(server.search(id)["episodes"], paused["episodes"]);
        act(&server, id, "pause", 202);
        act(&server, id, "resume", 202);
        server.wait_for(id, "completed");
    }
    assert_eq!(server.episodes(id), server.episodes(undisturbed));
    act(&server, id, "pause", 409);
    act(&server, id, "resume", 409);
    act(&server, 99, "cancel", 404);
}

#[test]
fn a_cancelled_search_ends_soon_and_keeps_what_it_found() {
    let server = Server::start(&[]);
    let running = server.submit(&long_search(0));
    let waiting = server.submit(&long_search(1));
    server.wait_until(running, |found| found["episodes"].as_u64() > Some(9));
    assert_eq!(server.search(waiting)["state"], "queued");
    assert_eq!(act(&server, waiting, "cancel", 202)["state"], "cancelled");
    server.send("DELETE", &format!("/api/v1/searches/{running}"), &[], b"").expect(409);
    act(&server, running, "cancel", 202);
    let cancelled = server.wait_for(running, "cancelled");
    assert!(cancelled["best"].is_object());
    assert_eq!(server.episodes(running).len() as u64, cancelled["episodes"].as_u64().unwrap());
    for id in [running, waiting] {
        server.send("DELETE", &format!("/api/v1/searches/{id}"), &[], b"").expect(204);
    }
    assert_eq!(server.get("/api/v1/searches").expect(200)["total"], 0);
}

#[test]
fn a_search_that_cannot_go_on_says_why_and_the_service_stays() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let assets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let digits = data.join("digits.csv.gz");
    std::fs::copy(assets.join("digits.csv.gz"), &digits).unwrap();
    let data = data.canonicalize().unwrap().display().to_string();
    let assets = assets.display().to_string();
    let server = Server::start(&["--model-folders", &assets, "--data-folders", &data]);
    let mut submission = long_search(0);
    submission["model"] = json!("digits_net.onnx");
    submission["data"] = json!("digits.csv.gz");
    let id = server.submit(&submission);
    server.wait_until(id, |found| found["episodes"].as_u64() > Some(5));
    act(&server, id, "pause", 202);
    server.wait_for(id, "paused");
    let kept = std::fs::read(&digits).unwrap();
    std::fs::remove_file(&digits).unwrap();
    act(&server, id, "resume", 202);
    let failed = server.wait_until(id, |found| found["state"] == "failed");
    assert!(failed["error"].as_str().unwrap().contains("digits.csv.gz"), "{failed}");
    assert!(failed["episodes"].as_u64() > Some(5), "what was found before stays");
    std::fs::write(&digits, kept).unwrap();
    act(&server, id, "resume", 202);
    server.wait_until(id, |found| found["episodes"].as_u64() > failed["episodes"].as_u64());
    act(&server, id, "cancel", 202);
    server.wait_for(id, "cancelled");
}

#[test]
fn a_search_that_kills_its_process_is_set_aside() {
    let server = Server::start(&["--crash-limit", "2"]);
    let id = server.submit(&long_search(0));
    let healthy = server.submit(&small_search(0));
    // Killed before it finishes an episode, again and again: as if the network were too large.
    let killer = std::thread::spawn({
        let folder = server.path().to_owned();
        move || {
            let pattern = format!("haq job {id} .*{}", folder.display());
            for _ in 0..4000 {
                let _ = Command::new("pkill").args(["-KILL", "-f", &pattern]).status();
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
    let failed = server.wait_until(id, |found| found["state"] == "failed");
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("killed 2 times in a row") && error.contains("signal 9"), "{error}");
    server.wait_for(healthy, "completed");
    drop(killer);
}

#[test]
fn a_run_of_the_terminal_can_be_gone_on_with() {
    let server = Server::start(&[]);
    let mut arguments = crate::common::small_search_arguments("4");
    let mut child = server.haq(&arguments).stdout(Stdio::null()).spawn().unwrap();
    server.wait_until_listed(1, 12);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(server.search(1)["state"], "paused");
    act(&server, 1, "cancel", 409);
    act(&server, 1, "resume", 202);
    server.wait_for(1, "completed");
    arguments.extend(["--threads", "1"]);
    assert!(server.haq(&arguments).output().unwrap().status.success());
    assert_eq!(server.episodes(1), server.episodes(2));
}

#[test]
fn searches_survive_kills_of_the_service_at_any_moment() {
    let mut server = Server::start(&["--searches", "3"]);
    let undisturbed: Vec<Vec<Value>> = (0..3)
        .map(|seed| {
            let id = server.submit(&long_kill_search(seed));
            server.wait_for(id, "completed");
            server.episodes(id)
        })
        .collect();
    let ids: Vec<i64> = (0..3).map(|seed| server.submit(&long_kill_search(seed))).collect();
    for round in 0..20 {
        std::thread::sleep(Duration::from_millis(150) + some_ms(900));
        server.kill();
        if round % 2 == 0 {
            // With all its children, as when a machine is reset.
            let pattern = format!("haq job .*{}", server.path().display());
            let _ = Command::new("pkill").args(["-KILL", "-f", &pattern]).status();
        }
        server.restart();
    }
    for (id, expected) in ids.iter().zip(&undisturbed) {
        server.wait_for(*id, "completed");
        assert_eq!(&server.episodes(*id), expected, "search {id}");
    }
    is_ok(&server);
}

fn long_kill_search(seed: u64) -> Value {
    let mut submission = small_search(seed);
    submission["episodes"] = json!(80);
    submission
}

#[test]
fn a_service_that_is_asked_to_end_leaves_its_searches_where_they_go_on() {
    let mut server = Server::start(&["--grace-s", "10"]);
    let undisturbed = server.submit(&small_search(9));
    server.wait_for(undisturbed, "completed");
    let expected = server.episodes(undisturbed);
    let id = server.submit(&small_search(9));
    server.wait_until(id, |found| found["episodes"].as_u64() > Some(9));
    let began = std::time::Instant::now();
    assert_eq!(server.terminate(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(30), "it ends within its grace");
    server.restart();
    server.wait_for(id, "completed");
    assert_eq!(server.episodes(id), expected);
    is_ok(&server);
}
