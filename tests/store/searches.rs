//! Searches in lists: found by each thing, ordered, paged, whether they wait, run or were killed.

use std::path::{Path, PathBuf};

use haq::{
    domain::{JobState, NewJob, RunDescription, RunId, RunResult, RunState, Strategy},
    queue::JobQueue as _,
    store::{RunSort, SearchPage, SearchQuery, Store, StoreError},
};
use tempfile::TempDir;

use crate::common::{KEY, checkpoint, description, episode, result, sql, temporary};

/// A database with searches of every sort:
///
/// 1. run of the terminal, completed, the best
/// 2. job in work, with a run
/// 3. run of the terminal, killed
/// 4. job that waits
/// 5. run of the terminal, interrupted, without an episode
/// 6. job that waits
/// 7. run of the terminal, in work
struct Searches {
    _folder: TempDir,
    /// Holds the runs in work.
    _stores: Vec<Store>,
    store: Store,
}

fn job(submitter: &str, profile: &str, tags: &[&str], note: Option<&str>) -> NewJob {
    NewJob {
        submitter: submitter.into(),
        request: serde_json::Value::Null,
        submission_key: None,
        model: "ResNet20.onnx".into(),
        data: "cifar".into(),
        profile: profile.into(),
        strategy: Strategy::Random,
        measure: haq::domain::Measure::Top1,
        seed: 1,
        episodes_planned: 10,
        budget_requests: vec![],
        tags: tags.iter().map(|&tag| tag.into()).collect(),
        note: note.map(str::to_owned),
    }
}

async fn run(store: &Store, description: &RunDescription, figures: &[(f64, f64)]) -> RunId {
    let run = store.create_run(description, KEY).await.unwrap();
    for (index, &(top1, latency_s)) in (0..).zip(figures) {
        let record = episode(index, top1, latency_s);
        store.commit_episode(run, &record, &checkpoint(index)).await.unwrap();
    }
    run
}

impl Searches {
    async fn new() -> Self {
        let (folder, path) = temporary();
        let store = Store::open(&path).await.unwrap();
        let first = run(&store, &description(), &[(0.8, 0.003), (0.9, 0.004)]).await;
        let ended = RunResult { best_episode: Some(1), ..result(RunState::Completed) };
        store.finish(first, &ended).await.unwrap();
        let note = Some("for the PAPER");
        store.submit(&job("ann", "edge-tpu", &["night", "paper"], note)).await.unwrap();
        let ticket = store.lease().await.unwrap().unwrap().ticket;
        let worker = Store::open_for_job(&path, ticket).await.unwrap();
        let of_job = RunDescription {
            model: "ResNet20.onnx".into(),
            data: "cifar".into(),
            profile: "edge-tpu".into(),
            strategy: Strategy::Random,
            ..description()
        };
        run(&worker, &of_job, &[(0.7, 0.002)]).await;
        let killed = run(&store, &description(), &[(0.6, 0.001)]).await;
        store.submit(&job("bob", "edge-tpu", &["night"], None)).await.unwrap();
        let interrupted = run(&store, &description(), &[]).await;
        store.interrupt(interrupted).await.unwrap();
        store.submit(&job("ann", "bismo-edge", &[], None)).await.unwrap();
        let alive = Store::open(&path).await.unwrap();
        run(&alive, &description(), &[(0.85, 0.0025)]).await;
        kill(path, killed).await;
        Self { _folder: folder, _stores: vec![worker, alive], store }
    }

    async fn page(&self, query: &SearchQuery) -> SearchPage {
        self.store.searches(query).await.unwrap()
    }

    async fn numbers(&self, query: &SearchQuery) -> Vec<RunId> {
        self.page(query).await.searches.iter().map(|search| search.search).collect()
    }
}

/// No process has this id: Linux stops at 2^22; elsewhere silence says the same.
async fn kill(path: PathBuf, run: RunId) {
    let statement = format!(
        "UPDATE runs SET owner_process_id = 2147483647, heartbeat_unix_ms = heartbeat_unix_ms - 31000
         WHERE id = {run}"
    );
    changed(&path, statement).await;
}

async fn changed(path: &Path, statement: String) -> Vec<String> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || sql(&path, &statement)).await.unwrap()
}

fn all() -> SearchQuery {
    SearchQuery { limit: 50, ..SearchQuery::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_are_found_by_each_thing() {
    let searches = Searches::new().await;
    let some = |text: &str| Some(text.to_owned());
    let words = |text: &str| SearchQuery { text: some(text), ..all() };
    let state = |state| SearchQuery { state: Some(state), ..all() };
    for (name, query, expected) in [
        ("all", all(), vec![1, 2, 3, 4, 5, 6, 7]),
        ("completed", state(JobState::Completed), vec![1]),
        ("running", state(JobState::Running), vec![2, 7]),
        ("paused, by a kill too", state(JobState::Paused), vec![3, 5]),
        ("queued", state(JobState::Queued), vec![4, 6]),
        ("failed", state(JobState::Failed), vec![]),
        ("profile", SearchQuery { profile: some("edge-tpu"), ..all() }, vec![2, 4]),
        ("part of a profile", SearchQuery { profile: some("edge"), ..all() }, vec![]),
        ("part of a model", SearchQuery { model: some("resnet"), ..all() }, vec![2, 4, 6]),
        ("strategy", SearchQuery { strategy: Some(Strategy::Ddpg), ..all() }, vec![1, 3, 5, 7]),
        ("tag", SearchQuery { tag: some("night"), ..all() }, vec![2, 4]),
        ("part of a tag", SearchQuery { tag: some("nigh"), ..all() }, vec![]),
        ("word of a tag or note", words("PAPE"), vec![2]),
        ("word of a submitter", words("ann"), vec![2, 6]),
        ("those of the terminal", words("local"), vec![1, 3, 5, 7]),
        ("words in several columns", words("night cifar bob"), vec![4]),
        ("words that none has all", words("night nothing"), vec![]),
        ("quotes", words("'; DROP TABLE runs; --"), vec![]),
        ("several", SearchQuery { tag: some("night"), ..state(JobState::Queued) }, vec![4]),
    ] {
        assert_eq!(searches.numbers(&query).await, expected, "{name}");
        assert_eq!(searches.page(&query).await.total, expected.len() as u64, "{name}");
        let falling = SearchQuery { descending: true, ..query };
        let expected: Vec<RunId> = expected.into_iter().rev().collect();
        assert_eq!(searches.numbers(&falling).await, expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_without_a_figure_come_last_whatever_the_order() {
    let searches = Searches::new().await;
    let by = |sort: &str, descending| SearchQuery {
        sort: sort.parse::<RunSort>().unwrap(),
        descending,
        ..all()
    };
    for (name, query, expected) in [
        ("worst first", by("quality", false), [3, 2, 7, 1, 4, 5, 6]),
        ("best first", by("quality", true), [1, 7, 2, 3, 6, 5, 4]),
        ("fastest", by("latency", false), [3, 2, 7, 1, 4, 5, 6]),
        ("hungriest", by("energy", true), [1, 7, 2, 3, 6, 5, 4]),
        ("smallest", by("size", false), [3, 2, 7, 1, 4, 5, 6]),
        ("equal ones by number", by("memory", true), [7, 3, 2, 1, 6, 5, 4]),
        ("oldest", by("created", false), [1, 2, 3, 4, 5, 6, 7]),
    ] {
        assert_eq!(searches.numbers(&query).await, expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_make_up_the_list_at_every_offset() {
    let searches = Searches::new().await;
    for sort in ["id", "quality", "created"] {
        for (descending, strategy) in [
            (false, None),
            (true, None),
            (true, Some(Strategy::Ddpg)),
            (false, Some(Strategy::Random)),
        ] {
            let whole = SearchQuery { sort: sort.parse().unwrap(), descending, strategy, ..all() };
            let expected = searches.page(&whole).await;
            for (offset, limit) in (0..9).flat_map(|offset| [(offset, 1), (offset, 3)]) {
                let page = searches.page(&SearchQuery { offset, limit, ..whole.clone() }).await;
                let rest = expected.searches.iter().skip(offset as usize).take(limit as usize);
                assert_eq!(page.searches, rest.cloned().collect::<Vec<_>>(), "{sort} {offset}");
                assert_eq!(page.total, expected.total, "{sort} {offset}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_alone_is_as_it_is_in_the_list() {
    let searches = Searches::new().await;
    for listed in searches.page(&all()).await.searches {
        assert_eq!(searches.store.search(listed.search).await.unwrap(), listed);
    }
    let states = [(2, JobState::Running), (3, JobState::Paused), (4, JobState::Queued)];
    for (search, state) in states {
        assert_eq!(searches.store.search(search).await.unwrap().state, state, "{search}");
    }
    let error = searches.store.search(8).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownRun { run: 8, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_listed_before_is_listed_as_it_is_now() {
    let searches = Searches::new().await;
    let before = searches.page(&all()).await;
    assert_eq!(searches.page(&all()).await, before);
    searches.store.annotate(1, Some(&["done".into()]), Some("look here")).await.unwrap();
    searches.store.annotate(4, Some(&[]), Some("")).await.unwrap();
    let after = searches.page(&all()).await;
    let words = |page: &SearchPage, index: usize| {
        let search = &page.searches[index];
        (search.tags.clone(), search.note.clone())
    };
    assert_eq!(words(&after, 0), (vec!["done".to_owned()], "look here".to_owned()));
    assert_eq!(words(&after, 3), (vec![], String::new()));
    assert_eq!(after.searches[1..3], before.searches[1..3]);

    searches.store.delete_search(1).await.unwrap();
    let without = searches.page(&all()).await;
    assert_eq!((without.total, &without.searches[..]), (6, &after.searches[1..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_aim_is_that_of_the_job_until_there_is_a_run() {
    let searches = Searches::new().await;
    for listed in searches.page(&all()).await.searches {
        let aim = searches.store.aim(listed.search).await.unwrap();
        assert_eq!((aim.measure, aim.objective), (listed.measure, listed.objective));
    }
    assert_eq!(searches.store.aim(4).await.unwrap().objective, None);
    let error = searches.store.aim(8).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownRun { run: 8, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_has_no_outline_and_a_run_has_its_own() {
    let searches = Searches::new().await;
    let outline = searches.store.outline(1).await.unwrap();
    let described = searches.store.run(1).await.unwrap().description;
    assert_eq!((outline.budgets, outline.layers), (described.budgets, described.layers));
    let error = searches.store.outline(4).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownRun { run: 4, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_beside_a_run_are_those_of_its_best_episode() {
    let (_folder, path) = temporary();
    let store = Store::open(&path).await.unwrap();
    let run = store.create_run(&description(), KEY).await.unwrap();
    let best = async || {
        let best = store.search(run).await.unwrap().best;
        best.map(|best| (best.episode, best.quality, best.cost.latency_s))
    };
    assert_eq!(best().await, None);
    for (index, top1, latency_s, expected) in [
        (0, 0.8, 0.004, (0, Some(0.8), 0.004)),
        (1, 0.7, 0.001, (0, Some(0.8), 0.004)),
        (2, 0.9, 0.003, (2, Some(0.9), 0.003)),
    ] {
        let record = episode(index, top1, latency_s);
        store.commit_episode(run, &record, &checkpoint(index)).await.unwrap();
        assert_eq!(best().await, Some(expected));
    }
    // Whoever ends the run may have another opinion.
    let ended = RunResult { best_episode: Some(1), ..result(RunState::Completed) };
    store.finish(run, &ended).await.unwrap();
    assert_eq!(best().await, Some((1, Some(0.7), 0.001)));
    store.delete_search(run).await.unwrap();
    assert_eq!(changed(&path, "SELECT count(*) FROM run_bests".into()).await, ["0"]);
}
