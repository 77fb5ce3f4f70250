//! Copies, checks and vacuums of a database that others use meanwhile.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use haq::store::{BlockingStore, Checkpoint, RunQuery, StoreError};

use crate::common::{KEY, assert_sound, checkpoint, description, episode, sql, temporary};

/// A database with one run of so many episodes, closed.
fn create(path: &Path, n_episodes: u32) -> i64 {
    let store = BlockingStore::open(path).unwrap();
    let run = store.create_run(&description(), KEY).unwrap();
    for index in 0..n_episodes {
        store.commit_episode(run, &episode(index, 0.9, 0.004), &big(index)).unwrap();
    }
    store.interrupt(run).unwrap();
    run
}

fn big(index: u32) -> Checkpoint {
    Checkpoint {
        state: Some(vec![index as u8; 100_000]),
        delta: vec![index as u8; 10_000],
        in_flight: None,
    }
}

/// Files in `folder`, but for what SQLite leaves beside a database that was only read.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
    names.sort();
    names
}

#[test]
fn a_backup_while_episodes_are_committed_is_a_whole_earlier_moment() {
    let (folder, path) = temporary();
    let run = create(&path, 20);
    let (go_on, is_done) = (AtomicBool::new(true), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let store = BlockingStore::open(&path).unwrap();
            store.claim(run).unwrap();
            for index in 20.. {
                if !go_on.load(Ordering::Relaxed) {
                    break;
                }
                store.commit_episode(run, &episode(index, 0.9, 0.004), &big(index)).unwrap();
            }
            is_done.store(true, Ordering::Relaxed);
        });
        let reader = BlockingStore::open_as_found(&path).unwrap();
        let committed = || reader.episodes(run).unwrap().len();
        for attempt in 0..5 {
            // At least one more has been committed since the last copy.
            let (before, started) = (committed(), Instant::now());
            while committed() == before && started.elapsed() < Duration::from_secs(30) {
                thread::yield_now();
            }
            let copy = folder.path().join(format!("copy-{attempt}.db"));
            let (least, made) = (committed(), reader.back_up(&copy, false).unwrap());
            let most = committed();
            assert_eq!(
                (made.path.as_path(), made.size_bytes),
                (&*copy, copy.metadata().unwrap().len())
            );

            let check = BlockingStore::check(&copy).unwrap();
            assert!(check.is_sound(), "{check:?}");
            let n_episodes = check.episodes.unwrap() as usize;
            assert!((least..=most).contains(&n_episodes), "{least} {n_episodes} {most}");
            let store = BlockingStore::open(&copy).unwrap();
            for (index, record) in (0..).zip(store.episodes(run).unwrap()) {
                assert_eq!(record, episode(index, 0.9, 0.004));
            }
            let saved = store.load_checkpoint(run).unwrap().unwrap();
            assert_eq!(
                (saved.deltas.len(), saved.state.unwrap().0 as usize),
                (n_episodes, n_episodes - 1)
            );
        }
        assert!(!is_done.load(Ordering::Relaxed));
        go_on.store(false, Ordering::Relaxed);
    });
    assert_sound(&path);
}

#[test]
fn a_run_goes_on_in_a_backup() {
    let (folder, path) = temporary();
    let run = create(&path, 3);
    let copy = folder.path().join("copy.db");
    BlockingStore::open(&path).unwrap().back_up(&copy, false).unwrap();
    assert_eq!(names(folder.path()), ["copy.db", "haq.db"]);
    let store = BlockingStore::open(&copy).unwrap();
    store.claim(run).unwrap();
    store.commit_episode(run, &episode(3, 0.9, 0.004), &checkpoint(3)).unwrap();
}

#[test]
fn a_backup_replaces_a_file_only_when_asked_and_never_one_in_use() {
    let (folder, path) = temporary();
    create(&path, 1);
    let at = |name: &str| folder.path().join(name);
    let store = BlockingStore::open_as_found(&path).unwrap();
    fs::write(at("copy.db"), "precious").unwrap();
    let error = store.back_up(&at("copy.db"), false).unwrap_err();
    assert!(matches!(error, StoreError::BackupExists { .. }), "{error}");
    assert_eq!(fs::read_to_string(at("copy.db")).unwrap(), "precious");

    fs::write(at("copy.db-wal"), "of another database").unwrap();
    let error = store.back_up(&at("copy.db"), true).unwrap_err();
    assert!(matches!(error, StoreError::BackupInUse { .. }), "{error}");
    assert_eq!(fs::read_to_string(at("copy.db")).unwrap(), "precious");

    fs::remove_file(at("copy.db-wal")).unwrap();
    store.back_up(&at("copy.db"), true).unwrap();
    assert!(BlockingStore::check(at("copy.db")).unwrap().is_sound());

    fs::hard_link(&path, at("same.db")).unwrap();
    for target in [&path, &at("same.db")] {
        let error = store.back_up(target, true).unwrap_err();
        assert!(matches!(error, StoreError::BackupOfItself { .. }), "{error}");
    }
    drop(store);
    assert_eq!(names(folder.path()), ["copy.db", "haq.db", "same.db"]);
    assert_sound(&path);
}

#[test]
fn a_backup_is_as_private_as_its_database() {
    let (folder, path) = temporary();
    create(&path, 1);
    let copy = folder.path().join("copy.db");
    for mode in [0o600, 0o640] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        BlockingStore::open_as_found(&path).unwrap().back_up(&copy, true).unwrap();
        assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, mode);
    }
}

#[test]
fn places_that_cannot_hold_a_backup_are_named() {
    let (folder, path) = temporary();
    create(&path, 1);
    fs::write(folder.path().join("text"), "").unwrap();
    let store = BlockingStore::open_as_found(&path).unwrap();
    for (target, expected) in [
        ("none/copy.db", "the folder"),
        ("text/copy.db", "is a file, not a folder"),
        (".", "is a folder"),
        // Refused even to root.
        #[cfg(target_os = "linux")]
        (
            "/proc/self/copy.db",
            "was not copied to /proc/self/copy.db: /proc/self cannot be written",
        ),
    ] {
        let message = store.back_up(&folder.path().join(target), true).unwrap_err().to_string();
        assert!(message.contains(expected), "{target}: {message}");
    }
    drop(store);
    assert_eq!(names(folder.path()), ["haq.db", "text"]);
}

#[test]
fn a_database_in_a_read_only_folder_is_checked_and_copied_from_there() {
    let (folder, path) = temporary();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    create(&path, 2);
    fs::rename(&path, closed.join("haq.db")).unwrap();
    let mode = |mode| fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o555);
    let check = BlockingStore::check(closed.join("haq.db")).unwrap();
    let copy = folder.path().join("copy.db");
    BlockingStore::open_as_found(closed.join("haq.db")).unwrap().back_up(&copy, false).unwrap();
    mode(0o755);
    assert_eq!((check.is_sound(), check.runs, check.episodes), (true, Some(1), Some(2)));
    assert_eq!(BlockingStore::check(&copy).unwrap(), check);
}

#[test]
fn a_check_counts_and_changes_nothing() {
    let (folder, path) = temporary();
    let error = BlockingStore::check(&path).unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    create(&path, 4);
    let before = fs::read(&path).unwrap();
    let check = BlockingStore::check(&path).unwrap();
    assert_eq!((check.runs, check.episodes, check.problems.len()), (Some(1), Some(4), 0));
    assert_eq!(check.schema_version, Some(check.schema_latest));
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(names(folder.path()), ["haq.db"]);
}

#[test]
fn an_empty_file_is_sound_and_has_no_runs() {
    let (_folder, path) = temporary();
    fs::write(&path, "").unwrap();
    let check = BlockingStore::check(&path).unwrap();
    assert_eq!((check.is_sound(), check.schema_version), (true, Some(0)));
    assert_eq!((check.runs, check.episodes), (Some(0), Some(0)));
}

#[test]
fn damage_is_found_wherever_it_is() {
    let (_folder, path) = temporary();
    create(&path, 30);
    let whole = fs::read(&path).unwrap();
    let n_pages = whole.len() / 4096;
    for (name, damaged) in [
        ("all but the first page", (1..n_pages).collect::<Vec<_>>()),
        ("every fifth page", (3..n_pages).step_by(5).collect()),
    ] {
        let mut bytes = whole.clone();
        for page in damaged {
            bytes[page * 4096..(page + 1) * 4096].fill(0xa5);
        }
        fs::write(&path, bytes).unwrap();
        let check = BlockingStore::check(&path).unwrap();
        assert!(
            !check.is_sound() && check.problems.iter().all(|text| text.len() > 3),
            "{name}: {check:?}"
        );
    }
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(!BlockingStore::check(&path).unwrap().is_sound(), "half the file");
}

#[test]
fn a_row_that_refers_to_nothing_is_found() {
    let (_folder, path) = temporary();
    create(&path, 3);
    sql(&path, "PRAGMA foreign_keys = OFF; DELETE FROM runs");
    let problems = BlockingStore::check(&path).unwrap().problems.join("\n");
    assert!(
        problems.contains("rows of episodes that refer to missing rows of runs: 3"),
        "{problems}"
    );
}

#[test]
fn a_vacuum_gives_back_what_deleted_runs_took() {
    let (folder, path) = temporary();
    let run = create(&path, 30);
    let store = BlockingStore::open(&path).unwrap();
    store.create_run(&description(), "other").unwrap();
    store.delete_run(run).unwrap();
    let done = store.vacuum().unwrap();
    assert!(done.after_bytes < done.before_bytes / 2, "{done:?}");
    assert_eq!((done.after_bytes, done.log_bytes), (path.metadata().unwrap().len(), 0));
    assert_eq!(store.list(&RunQuery::default()).unwrap().len(), 1);
    drop(store);
    assert_eq!(names(folder.path()), ["haq.db"]);
    assert_sound(&path);
}

#[test]
fn a_vacuum_waits_for_writers_and_they_for_it() {
    let (_folder, path) = temporary();
    let run = create(&path, 10);
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let store = BlockingStore::open(&path).unwrap();
            store.claim(run).unwrap();
            for index in 10..60 {
                store.commit_episode(run, &episode(index, 0.9, 0.004), &big(index)).unwrap();
            }
        });
        let store = BlockingStore::open(&path).unwrap();
        while !writing.is_finished() {
            store.vacuum().unwrap();
        }
        writing.join().unwrap();
    });
    let check = BlockingStore::check(&path).unwrap();
    assert_eq!((check.is_sound(), check.episodes), (true, Some(60)));
}
