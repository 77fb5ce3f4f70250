//! Several processes on one file, some of them killed.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use haq::{
    domain::{EpisodeRecord, RunState},
    store::{BlockingStore, Checkpoint, RunQuery, Store},
};

use crate::common::{KEY, assert_sound, checkpoint, description, episode, temporary};

/// Where a process started by a test finds its database; see `child_commits_episodes`.
const CHILD_DB: &str = "HAQ_TEST_STORE_CHILD_DB";
const CHILD_EPISODES: u32 = 150;

/// Not a test of its own: the process that others start, and that some kill.
#[test]
fn child_commits_episodes() {
    let Ok(path) = env::var(CHILD_DB) else { return };
    let store = BlockingStore::open(path).unwrap();
    let run = store.create_run(&description(), KEY).unwrap();
    for index in 0..CHILD_EPISODES {
        store.commit_episode(run, &episode(index, 0.9, 0.004), &big_checkpoint(index)).unwrap();
        writeln!(io::stdout(), "\ncommitted {run} {index}").unwrap();
    }
    store.interrupt(run).unwrap();
}

/// Of many pages, so that a kill can fall between them.
fn big_checkpoint(index: u32) -> Checkpoint {
    Checkpoint {
        state: Some(vec![index as u8; 200_000]),
        delta: vec![index as u8; 2_000],
        in_flight: None,
    }
}

fn start_child(path: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "sharing::child_commits_episodes", "--nocapture"])
        .env(CHILD_DB, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_killed_process_leaves_whole_episodes_and_a_run_that_goes_on() {
    let (_folder, path) = temporary();
    for kill_after in [0, 1, 7, 40] {
        let mut child = start_child(&path);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut committed = lines.map_while(Result::ok).filter_map(|line| {
            let mut words = line.strip_prefix("committed ")?.split(' ');
            let run: i64 = words.next()?.parse().ok()?;
            Some((run, words.next()?.parse::<u32>().ok()?))
        });
        let (run, index) = committed.nth(kill_after).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        assert_sound(&path);
        let store = BlockingStore::open(&path).unwrap();
        let episodes = store.episodes(run).unwrap();
        assert!(episodes.len() > index as usize, "what was reported is there");
        let last = episodes.len() as u32 - 1;
        for (index, record) in (0..).zip(&episodes) {
            assert_eq!(*record, episode(index, 0.9, 0.004));
        }
        let saved = store.load_checkpoint(run).unwrap().unwrap();
        assert_eq!(saved.state, Some((last, big_checkpoint(last).state.unwrap())));
        assert_eq!(saved.deltas.len(), episodes.len());

        assert_eq!(store.summary(run).unwrap().state, RunState::Interrupted);
        store.claim(run).unwrap();
        store.commit_episode(run, &episode(last + 1, 0.9, 0.004), &checkpoint(0)).unwrap();
    }
}

#[test]
fn two_processes_on_one_new_file_both_finish() {
    let (_folder, path) = temporary();
    let children = [(); 3].map(|()| start_child(&path));
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let store = BlockingStore::open(&path).unwrap();
    let runs = store.list(&RunQuery::default()).unwrap();
    assert_eq!(runs.len(), 3);
    for run in runs {
        assert_eq!((run.state, run.episodes), (RunState::Interrupted, CHILD_EPISODES));
    }
    drop(store);
    assert_sound(&path);
}

#[test]
fn many_stores_open_one_new_file_at_once() {
    let (_folder, path) = temporary();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let store = BlockingStore::open(&path).unwrap();
                let run = store.create_run(&description(), KEY).unwrap();
                for index in 0..20 {
                    let record: EpisodeRecord = episode(index, 0.9, 0.004);
                    store.commit_episode(run, &record, &checkpoint(index)).unwrap();
                }
            });
        }
    });
    let store = BlockingStore::open(&path).unwrap();
    let runs = store.list(&RunQuery::default()).unwrap();
    assert_eq!(runs.iter().map(|run| run.episodes).collect::<Vec<_>>(), [20; 8]);
}

#[test]
fn the_calls_can_move_between_threads() {
    fn assert_send<T: Send>(value: T) -> T {
        value
    }
    let (_folder, path) = temporary();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let task = runtime.spawn(async move {
        let store = assert_send(Store::open(path)).await.unwrap();
        let run = assert_send(store.create_run(&description(), KEY)).await.unwrap();
        let (record, checkpoint) = (episode(0, 0.9, 0.004), checkpoint(0));
        assert_send(store.commit_episode(run, &record, &checkpoint)).await.unwrap();
        assert_send(store.interrupt(run)).await.unwrap();
        assert_send(store.claim(run)).await.unwrap();
        assert_send(store.list(&RunQuery::default())).await.unwrap();
        assert_send(store.compare(&[run])).await.unwrap();
        assert_send(store.close()).await;
    });
    runtime.block_on(task).unwrap();
}
