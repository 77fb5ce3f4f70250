//! A run that was killed goes on as if it never was.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::common::{Folder, SMALL_SEARCH, episodes};

/// Starts a search and gives up on it once `n` episodes are in the database.
fn killed_after(folder: &Folder, arguments: &[&str], n: u64) {
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("haq"))
        .current_dir(folder.path())
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let patience = Instant::now() + Duration::from_secs(300);
    loop {
        assert!(Instant::now() < patience, "the search reached {n} episodes");
        if n_episodes(folder) >= n {
            break;
        }
        if child.try_wait().expect("the child can be asked").is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    child.wait().expect("the child can be waited for");
}

/// Episodes of the first run in the database; 0 while there is none.
fn n_episodes(folder: &Folder) -> u64 {
    let listed = folder.haq(&["runs", "list", "--json"]).output().expect("the program runs");
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
    listed["runs"][0]["episodes"].as_u64().unwrap_or(0)
}

#[test]
fn a_killed_search_goes_on_with_exactly_the_episodes_it_would_have_had() {
    // Once among the reference policies, once in the warm-up, once while the agent learns.
    check_resumed(SMALL_SEARCH, &[2, 12, 29]);
}

#[test]
fn a_killed_search_of_the_paper_goes_on_alike() {
    check_resumed(&[SMALL_SEARCH, &["--strategy", "haq"]].concat(), &[12, 33]);
}

#[test]
fn a_killed_search_goes_on_with_the_races_it_would_have_had() {
    let mut arguments = SMALL_SEARCH.to_vec();
    let images = arguments.iter().position(|argument| *argument == "--search-images").unwrap();
    // Five batches: there is something to stop before.
    arguments[images + 1] = "320";
    let expected = check_resumed(&arguments, &[28]);
    let stopped = expected.iter().filter(|episode| !episode["stopped_after_images"].is_null());
    assert!(stopped.clone().count() > 0, "no policy was clearly worse");
    for episode in stopped {
        let images = episode["stopped_after_images"].as_u64().unwrap();
        assert!((64..320).contains(&images), "{episode}");
        assert_eq!(episode["kind"], "proposal");
    }
}

/// Gives the episodes of a run that nothing disturbed.
fn check_resumed(arguments: &[&str], killed_at: &[u64]) -> Vec<Value> {
    let undisturbed = Folder::new();
    undisturbed.haq(arguments).assert().success();
    let expected = episodes(&undisturbed, 1);
    for &n in killed_at {
        let folder = Folder::new();
        killed_after(&folder, arguments, n);
        let before = folder.json(&["runs", "list"])["runs"][0].clone();
        if before["state"] == "completed" {
            continue;
        }
        assert_eq!(before["state"], "interrupted", "{before}");
        folder.haq(&["resume", "--quiet"]).assert().success();
        assert_eq!(episodes(&folder, 1), expected, "killed after {n} episodes");
        let after = folder.json(&["runs", "list"])["runs"][0].clone();
        assert_eq!(after["state"], "completed");
    }
    expected
}

#[test]
fn a_completed_run_and_a_missing_one_cannot_go_on() {
    let folder = Folder::new();
    let (message, code) = folder.failure(&["resume"]);
    assert!(message.contains("no run is interrupted") && code == 2, "{message}");
    let (message, code) = folder.failure(&["resume", "5"]);
    assert!(message.contains("run 5") && code == 1, "{message}");
    folder.haq(SMALL_SEARCH).assert().success();
    let (message, code) = folder.failure(&["resume", "1"]);
    assert!(message.contains("completed") && code == 1, "{message}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_every_episode_and_ends_with_130() {
    let folder = Folder::new();
    let mut arguments = SMALL_SEARCH.to_vec();
    let episodes_flag = arguments.iter().position(|argument| *argument == "--episodes").unwrap();
    arguments[episodes_flag + 1] = "100000";
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("haq"))
        .current_dir(folder.path())
        .args(&arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let patience = Instant::now() + Duration::from_secs(300);
    while !folder.path().join("haq.db").exists() || n_episodes(&folder) < 5 {
        assert!(Instant::now() < patience, "the search gets going");
        std::thread::sleep(Duration::from_millis(20));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let run = folder.json(&["runs", "list"])["runs"][0].clone();
    assert_eq!(run["state"], "interrupted");
    assert!(run["episodes"].as_u64().unwrap() >= 5 && !run["best"].is_null(), "{run}");
    assert!(folder.path().join("haq-out/run-1/policy.json").exists());
}

#[test]
fn two_searches_at_once_on_one_database_both_finish() {
    let folder = Folder::new();
    let start = || {
        Command::new(assert_cmd::cargo::cargo_bin("haq"))
            .current_dir(folder.path())
            .args(SMALL_SEARCH)
            .stdout(Stdio::null())
            .spawn()
            .expect("the program starts")
    };
    let mut both = [start(), start()];
    for child in &mut both {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(episodes(&folder, 1), episodes(&folder, 2));
}
