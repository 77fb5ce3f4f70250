//! Networks and images in a place of their own.

use std::process::{Child, Stdio};

use serde_json::Value;

use crate::{
    folder::{Folder, SEARCH},
    nats_common::NatsServer,
    s3_common::S3Server,
};

/// A search whose workers find its files in this place, beside one without; the place holds some
/// then, and none once it was cleaned.
fn is_the_same_as_without(folder: &Folder, queue: &str, place: &str) {
    let (alone, _) = folder.json(SEARCH);
    let worker = worker(folder, queue, place);
    let with_place = [SEARCH, &["--queue", queue, "--blobs", place]].concat();
    let (shared, _) = folder.json(&with_place);
    assert_eq!(shared["best"], alone["best"]);
    assert_eq!(folder.episodes(2), folder.episodes(1));
    let said = said_at_last(worker);
    assert!(said.contains(&format!("answered {} tasks", alone["evaluations"])), "{said}");
    assert!(said.contains(&format!("files from {place}")), "{said}");
    assert!(!folder.path().join("haq.db.blobs").exists());

    let clean = |days: &str| -> Value {
        folder.json(&["fleet", "--blobs", place, "clean", "--older-than-days", days]).0
    };
    let young = clean("30");
    assert_eq!(young["removed_parts"], 0, "{young}");
    assert!(young["kept_bytes"].as_u64() > Some(1000), "{young}");
    let all = clean("0");
    assert_eq!(
        (&all["removed_parts"], &all["removed_bytes"]),
        (&young["kept_parts"], &young["kept_bytes"])
    );
    assert_eq!(clean("0")["removed_parts"], 0);
}

fn worker(folder: &Folder, queue: &str, place: &str) -> Child {
    let arguments = ["worker", "--queue", queue, "--blobs", place, "--name", "one"];
    let rest = ["--cache", "cache", "--threads", "1", "--idle-s", "120"];
    let mut command = folder.haq(&[&arguments[..], &rest].concat());
    command.stderr(Stdio::piped()).spawn().unwrap()
}

/// What a worker said, once it is told to end.
fn said_at_last(worker: Child) -> String {
    crate::folder::terminate(&worker);
    let output = worker.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn in_a_folder_beside_a_table() {
    let folder = Folder::new();
    is_the_same_as_without(&folder, "haq.db", "elsewhere/blobs");
    let address = format!("file://{}", folder.path().join("elsewhere/blobs").display());
    let (cleaned, _) = folder.json(&["fleet", "--blobs", &address, "clean"]);
    assert_eq!(cleaned["kept_parts"], 0);
}

#[test]
fn in_a_bucket_beside_a_nats_server() {
    let Some(bucket) = S3Server::start() else { return };
    let Some(server) = NatsServer::start() else { return };
    let folder = Folder::with(bucket.variables());
    is_the_same_as_without(&folder, &server.fleet("lab"), "s3://lab/fleets");
    // Beside what was named, nothing went through the server.
    let queue = server.fleet("lab");
    let (cleaned, _) =
        folder.json(&["fleet", "--queue", &queue, "clean", "--older-than-days", "0"]);
    assert_eq!(cleaned["removed_parts"], 0, "{cleaned}");
}

#[test]
fn with_the_queue_they_are_cleaned_too() {
    let Some(server) = NatsServer::start() else { return };
    for queue in ["haq.db", &server.fleet("lab")] {
        let folder = Folder::new();
        folder.json(SEARCH);
        let worker = folder.worker(queue, "one");
        folder.json(&[SEARCH, &["--queue", queue]].concat());
        worker.end();
        let clean = ["fleet", "--queue", queue, "clean", "--older-than-days"];
        let (young, _) = folder.json(&[&clean[..], &["1"]].concat());
        assert!(young["kept_parts"].as_u64() > Some(0), "{queue}: {young}");
        let (all, _) = folder.json(&[&clean[..], &["0"]].concat());
        assert_eq!(all["removed_parts"], young["kept_parts"], "{queue}: {all}");
    }
}

#[test]
fn a_service_hands_the_place_on_to_its_searches() {
    let folder = Folder::new();
    folder.json(SEARCH);
    let worker = worker(&folder, "haq.db", "blobs");
    let service = folder.service(&["--queue", "haq.db", "--blobs", "blobs", "--threads", "1"]);
    let search = &SEARCH[..SEARCH.len() - 2];
    folder.json(&[search, &["--server", &service.url]].concat());
    assert_eq!(folder.episodes(2), folder.episodes(1));
    let said = said_at_last(worker);
    assert!(said.contains("; 0 late, 0 given back"), "{said}");
    assert!(!folder.path().join("haq.db.blobs").exists());
}

#[test]
fn a_worker_that_looks_elsewhere_says_where_and_what_would_do() {
    let folder = Folder::new();
    folder.json(SEARCH);
    let worker = worker(&folder, "haq.db", "not-there");
    // One policy at a time, for it is handed out several times.
    let search: Vec<&str> =
        SEARCH.iter().map(|word| if *word == "6" { "1" } else { word }).collect();
    let search = folder.haq(&[&search[..], &["--queue", "haq.db"]].concat()).output().unwrap();
    let said = String::from_utf8(search.stderr).unwrap();
    assert_eq!(search.status.code(), Some(1), "{said}");
    assert!(said.contains("not-there has no part") && said.contains("--blobs"), "{said}");
    said_at_last(worker);
}

#[test]
fn a_place_that_is_none_is_refused_before_anything_is_computed() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("file"), "").unwrap();
    folder.json(SEARCH);
    for (place, expected) in [
        ("gs://lab/fleets", "s3://BUCKET/PREFIX"),
        ("s3://ann:secret@lab", "AWS_ACCESS_KEY_ID"),
        ("file", "file"),
    ] {
        for command in [SEARCH, &["resume", "1"], &["worker"], &["fleet", "clean"]] {
            let (words, flags) = command.split_at(1);
            let queue = ["--queue", "haq.db", "--blobs", place];
            let output = folder.haq(&[words, &queue, flags].concat()).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success() && said.contains(expected), "{place}: {said}");
            assert!(!said.contains("panicked"), "{place}: {said}");
        }
    }
    let output = folder.haq(&["serve", "--blobs", "gs://lab"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("s3://BUCKET/PREFIX"), "{said}");
}
