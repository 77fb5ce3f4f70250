//! A disk that is full, and a database that cannot be written.

use std::{process::Command, time::Duration};

use serde_json::json;

use crate::{
    common::{Server, small_search},
    disk_common::SmallDisk,
};

/// A folder with a small disk for the database, and a state folder beside it.
struct Place {
    disk: std::path::PathBuf,
    database: String,
    state: String,
    // Unmounted before its folder is deleted.
    _mounted: SmallDisk,
    _folder: tempfile::TempDir,
}

impl Place {
    /// Says so where there can be none.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        let mounted = SmallDisk::mount(&disk, "24m")?;
        Some(Self {
            database: disk.join("haq.db").display().to_string(),
            state: folder.path().join("state").display().to_string(),
            disk,
            _mounted: mounted,
            _folder: folder,
        })
    }
}

#[test]
fn a_full_disk_is_told_and_searches_go_on_once_there_is_space() {
    let Some(place) = Place::new() else { return };
    let Place { disk, database, state, .. } = &place;
    let server = Server::start(&["--db", database, "--state-folder", state]);
    let mut long = small_search(3);
    long["episodes"] = json!(120);
    let undisturbed = server.submit(&long);
    server.wait_for(undisturbed, "completed");

    let id = server.submit(&long);
    server.wait_until(id, |found| found["episodes"].as_u64() > Some(9));
    // All that is left, and a little more.
    let ballast = disk.join("ballast");
    let _ = Command::new("dd")
        .args(["if=/dev/zero", "bs=64k", "count=400"])
        .arg(format!("of={}", ballast.display()))
        .stderr(std::process::Stdio::null())
        .status();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(server.get("/api/v1/health").status, 200);
    let stuck = server.search(id);
    assert_ne!(stuck["state"], "failed", "{stuck}");
    let refused = server.post("/api/v1/searches", &small_search(4));
    assert!([201, 503].contains(&refused.status), "{}", refused.status);
    if refused.status == 503 {
        let told = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(told.contains("full"), "{told}");
    }
    std::fs::remove_file(&ballast).unwrap();
    server.wait_for(id, "completed");
    assert!(server.episodes(id) == server.episodes(undisturbed), "episodes differ");
    assert!(server.haq(&["db", "check", "--db", database]).status().unwrap().success());
}

#[test]
fn a_database_on_a_read_only_disk_is_told_before_anything_is_served() {
    let Some(place) = Place::new() else { return };
    let Place { disk, database, state, .. } = &place;
    let options = ["--db", database.as_str(), "--state-folder", state];
    let mut server = Server::start(&options);
    let id = server.submit(&small_search(0));
    server.wait_for(id, "completed");
    assert_eq!(server.terminate(), Some(0));
    let remount = |how: &str| {
        let options = format!("remount,{how}");
        let status = Command::new("mount").args(["-o", &options]).arg(disk).status();
        assert!(status.unwrap().success());
    };
    remount("ro");
    let refused = server.haq(&["serve", "--listen", "127.0.0.1:0"]).args(options).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("read-only"));
    remount("rw");
    server.restart();
    assert_eq!(server.search(id)["state"], "completed");
}
