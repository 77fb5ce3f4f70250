//! What every queue of evaluations has to do, as tests that each implementation runs.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    ATTEMPTS_MAX, Answer, EvalQueue, LeasedTask, QueueDepth, Task, WorkerCard, WorkerRegistry,
};

/// Short enough to wait for, long enough for a busy machine.
const LEASE: Duration = Duration::from_millis(1500);

/// Where something has to come: how long it may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where nothing may come: how long that is looked at.
const GLANCE: Duration = Duration::from_millis(300);

pub(crate) fn task(search: &str, index: u32) -> Task {
    Task {
        id: format!("{index:064x}"),
        search: search.into(),
        device_class: "cpu".into(),
        payload: serde_json::json!({ "bits": [index, 8], "share": 0.1 + f64::from(index) }),
    }
}

pub(crate) fn answer<T>(leased: &LeasedTask<T>, worker: &str) -> Answer {
    Answer {
        task: leased.task.id.clone(),
        attempt: leased.attempt,
        worker: worker.into(),
        payload: serde_json::json!({ "top1": 0.1 + 0.2 }),
    }
}

/// Runs the whole suite; `new_queue` makes an empty one with leases of this length.
pub(crate) async fn check<Q: EvalQueue>(mut new_queue: impl AsyncFnMut(Duration) -> Q) {
    is_handed_out_once_and_answered(&new_queue(LEASE).await).await;
    published_twice_is_one_task(&new_queue(LEASE).await).await;
    answers_go_to_their_search_in_order(&new_queue(LEASE).await).await;
    answers_stay_until_taken(&new_queue(LEASE).await).await;
    answers_that_are_not_taken_hide_no_others(&new_queue(LEASE * 20).await).await;
    what_was_answered_and_taken_can_be_published_again(&new_queue(LEASE).await).await;
    an_extended_lease_is_kept(&new_queue(LEASE).await).await;
    a_lost_lease_is_handed_out_again(&new_queue(LEASE).await).await;
    a_late_answer_counts_where_it_is_the_first(&new_queue(LEASE).await).await;
    a_late_answer_of_a_waiting_task_ends_it(&new_queue(LEASE).await).await;
    failed_is_handed_back_until_it_is_a_dead_letter(&new_queue(LEASE).await).await;
    silence_ends_in_a_dead_letter_too(&new_queue(LEASE / 3).await).await;
    a_dead_letter_is_retried_or_discarded(&new_queue(LEASE).await).await;
    a_dead_letter_may_still_be_answered(&new_queue(LEASE).await).await;
    a_withdrawn_search_leaves_nothing(&new_queue(LEASE).await).await;
    device_classes_do_not_mix(&new_queue(LEASE).await).await;
    a_waiting_worker_gets_what_comes(&new_queue(LEASE).await).await;
    workers_never_get_the_same_task(&new_queue(LEASE * 20).await).await;
}

pub(crate) async fn leased<Q: EvalQueue>(queue: &Q, worker: &str) -> LeasedTask<Q::Ticket> {
    queue.lease("cpu", worker, PATIENCE).await.unwrap().expect("a task waits")
}

pub(crate) async fn nothing_waits<Q: EvalQueue>(queue: &Q) {
    let found = queue.lease("cpu", "nobody", GLANCE).await.unwrap();
    assert!(found.is_none(), "{found:?}");
}

/// All answers, which are taken.
pub(crate) async fn collect<Q: EvalQueue>(
    queue: &Q,
    search: &str,
    n_answers: usize,
) -> Vec<Answer> {
    let (mut found, started) = (Vec::new(), Instant::now());
    while found.len() < n_answers && started.elapsed() < PATIENCE {
        let arrived = queue.answers(search, PATIENCE).await.unwrap();
        let receipts: Vec<_> = arrived.iter().map(|arrived| arrived.receipt.clone()).collect();
        match &receipts[..] {
            [receipt] => queue.take(receipt).await.unwrap(),
            receipts => queue.take_all(receipts).await.unwrap(),
        }
        found.extend(arrived.into_iter().map(|arrived| arrived.answer));
    }
    let more = queue.answers(search, GLANCE).await.unwrap();
    assert!(more.is_empty(), "{more:?}");
    found
}

/// As soon as it is so: a queue may take a moment to notice.
async fn depth_becomes<Q: EvalQueue>(queue: &Q, expected: QueueDepth) {
    let started = Instant::now();
    loop {
        let found = queue.depth().await.unwrap();
        if found == expected {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{found:?} is not {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn is_handed_out_once_and_answered<Q: EvalQueue>(queue: &Q) {
    nothing_waits(queue).await;
    let task = task("s1", 1);
    assert!(!queue.is_kept(&task).await.unwrap());
    assert!(queue.publish(&task).await.unwrap());
    assert!(queue.is_kept(&task).await.unwrap());
    depth_becomes(queue, QueueDepth { waiting: 1, ..QueueDepth::default() }).await;

    let lease = leased(queue, "ann").await;
    assert_eq!((&lease.task, lease.attempt), (&task, 1));
    nothing_waits(queue).await;
    assert!(queue.extend(&lease.ticket).await.unwrap());
    assert!(queue.is_kept(&task).await.unwrap());
    depth_becomes(queue, QueueDepth { leased: 1, ..QueueDepth::default() }).await;

    let answer = answer(&lease, "ann");
    assert!(queue.complete(&lease.ticket, &answer).await.unwrap());
    assert!(queue.is_kept(&task).await.unwrap(), "its answer waits");
    depth_becomes(queue, QueueDepth { answers: 1, ..QueueDepth::default() }).await;
    nothing_waits(queue).await;
    assert_eq!(collect(queue, "s1", 1).await, [answer]);
    assert!(!queue.is_kept(&task).await.unwrap());
    depth_becomes(queue, QueueDepth::default()).await;
}

async fn published_twice_is_one_task<Q: EvalQueue>(queue: &Q) {
    let task = task("s1", 1);
    assert!(queue.publish(&task).await.unwrap());
    assert!(!queue.publish(&task).await.unwrap());
    let lease = leased(queue, "ann").await;
    assert!(!queue.publish(&task).await.unwrap(), "it is being worked on");
    nothing_waits(queue).await;
    queue.complete(&lease.ticket, &answer(&lease, "ann")).await.unwrap();
    assert!(!queue.publish(&task).await.unwrap(), "its answer waits");
    nothing_waits(queue).await;
    // The same task for another search is another one.
    assert!(queue.publish(&Task { search: "s2".into(), ..task }).await.unwrap());
}

async fn answers_go_to_their_search_in_order<Q: EvalQueue>(queue: &Q) {
    for (search, index) in [("s1", 1), ("s2", 2), ("s1", 3), ("s1", 4)] {
        queue.publish(&task(search, index)).await.unwrap();
    }
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(leased(queue, "ann").await);
    }
    assert_eq!(leases.iter().map(|lease| lease.attempt).collect::<Vec<_>>(), [1; 4]);
    assert!(queue.answers("s1", GLANCE).await.unwrap().is_empty());
    for at in [3, 1, 0, 2] {
        queue.complete(&leases[at].ticket, &answer(&leases[at], "ann")).await.unwrap();
    }
    let tasks = |answers: Vec<Answer>| answers.into_iter().map(|a| a.task).collect::<Vec<_>>();
    let expected = [3, 0, 2].map(|at: usize| leases[at].task.id.clone());
    assert_eq!(tasks(collect(queue, "s1", 3).await), expected);
    assert_eq!(tasks(collect(queue, "s2", 1).await), [leases[1].task.id.clone()]);
}

async fn answers_stay_until_taken<Q: EvalQueue>(queue: &Q) {
    for index in 0..3 {
        queue.publish(&task("s1", index)).await.unwrap();
        let lease = leased(queue, "ann").await;
        queue.complete(&lease.ticket, &answer(&lease, "ann")).await.unwrap();
    }
    // Handed out, and the one who got them is gone.
    assert!(!queue.answers("s1", PATIENCE).await.unwrap().is_empty());
    let found = collect(queue, "s1", 3).await;
    let tasks: BTreeSet<String> = found.into_iter().map(|answer| answer.task).collect();
    assert_eq!(tasks, (0..3).map(|index| task("s1", index).id).collect());
}

async fn what_was_answered_and_taken_can_be_published_again<Q: EvalQueue>(queue: &Q) {
    for _ in 0..3 {
        assert!(queue.publish(&task("s1", 1)).await.unwrap());
        let lease = leased(queue, "ann").await;
        assert_eq!(lease.attempt, 1);
        assert!(queue.complete(&lease.ticket, &answer(&lease, "ann")).await.unwrap());
        assert_eq!(collect(queue, "s1", 1).await.len(), 1);
    }
}

async fn an_extended_lease_is_kept<Q: EvalQueue>(queue: &Q) {
    queue.publish(&task("s1", 1)).await.unwrap();
    let lease = leased(queue, "ann").await;
    let started = Instant::now();
    while started.elapsed() < LEASE * 2 {
        assert!(queue.extend(&lease.ticket).await.unwrap());
        nothing_waits(queue).await;
    }
    assert!(queue.complete(&lease.ticket, &answer(&lease, "ann")).await.unwrap());
    assert_eq!(queue.depth().await.unwrap().redelivered, 0);
}

async fn a_lost_lease_is_handed_out_again<Q: EvalQueue>(queue: &Q) {
    queue.publish(&task("s1", 1)).await.unwrap();
    let lost = leased(queue, "ann").await;
    let next = leased(queue, "bob").await;
    assert_eq!((&next.task, next.attempt), (&lost.task, 2));
    assert!(queue.is_kept(&next.task).await.unwrap());
    let given = answer(&next, "bob");
    assert!(queue.complete(&next.ticket, &given).await.unwrap());
    assert_eq!(collect(queue, "s1", 1).await, [given]);
    assert_eq!(queue.depth().await.unwrap().redelivered, 1);
}

async fn a_late_answer_counts_where_it_is_the_first<Q: EvalQueue>(queue: &Q) {
    queue.publish(&task("s1", 1)).await.unwrap();
    let late = leased(queue, "ann").await;
    let next = leased(queue, "bob").await;
    // Giving up what is another's by now changes nothing.
    queue.fail(&late.ticket, "too slow").await.unwrap();
    let first = answer(&late, "ann");
    assert!(queue.complete(&late.ticket, &first).await.unwrap());
    assert!(!queue.complete(&next.ticket, &answer(&next, "bob")).await.unwrap());
    assert!(!queue.complete(&late.ticket, &first).await.unwrap(), "sent twice");
    assert_eq!(collect(queue, "s1", 1).await, [first]);
    nothing_waits(queue).await;
    assert!(!queue.is_kept(&task("s1", 1)).await.unwrap());
}

async fn a_late_answer_of_a_waiting_task_ends_it<Q: EvalQueue>(queue: &Q) {
    queue.publish(&task("s1", 1)).await.unwrap();
    let late = leased(queue, "ann").await;
    tokio::time::sleep(LEASE + GLANCE).await;
    let given = answer(&late, "ann");
    assert!(queue.complete(&late.ticket, &given).await.unwrap());
    nothing_waits(queue).await;
    assert_eq!(collect(queue, "s1", 1).await, [given]);
}

async fn failed_is_handed_back_until_it_is_a_dead_letter<Q: EvalQueue>(queue: &Q) {
    let task = task("s1", 1);
    queue.publish(&task).await.unwrap();
    for attempt in 1..=ATTEMPTS_MAX {
        assert!(queue.dead_letters().await.unwrap().is_empty());
        let lease = leased(queue, "ann").await;
        assert_eq!((&lease.task, lease.attempt), (&task, attempt));
        queue.fail(&lease.ticket, &format!("out of memory {attempt}")).await.unwrap();
    }
    nothing_waits(queue).await;
    let letters = queue.dead_letters().await.unwrap();
    assert_eq!((letters.len(), &letters[0].task), (1, &task));
    assert_eq!(letters[0].attempts, ATTEMPTS_MAX);
    assert_eq!(letters[0].reason.as_deref(), Some("out of memory 4"));
    assert!(queue.is_kept(&task).await.unwrap());
    assert!(!queue.publish(&task).await.unwrap(), "it is a dead letter");
    let redelivered = u64::from(ATTEMPTS_MAX) - 1;
    let depth = QueueDepth { dead_letters: 1, redelivered, ..QueueDepth::default() };
    depth_becomes(queue, depth).await;
}

async fn silence_ends_in_a_dead_letter_too<Q: EvalQueue>(queue: &Q) {
    let task = task("s1", 1);
    queue.publish(&task).await.unwrap();
    for attempt in 1..=ATTEMPTS_MAX {
        assert_eq!(leased(queue, "ann").await.attempt, attempt);
    }
    let started = Instant::now();
    let letters = loop {
        nothing_waits(queue).await;
        let letters = queue.dead_letters().await.unwrap();
        if !letters.is_empty() {
            break letters;
        }
        assert!(started.elapsed() < PATIENCE, "it never became a dead letter");
    };
    assert_eq!((&letters[0].task, letters[0].attempts), (&task, ATTEMPTS_MAX));
    assert_eq!(letters[0].reason, None);
    assert!(queue.is_kept(&task).await.unwrap());
}

async fn make_dead<Q: EvalQueue>(queue: &Q, task: &Task) -> LeasedTask<Q::Ticket> {
    queue.publish(task).await.unwrap();
    let mut last = leased(queue, "ann").await;
    queue.fail(&last.ticket, "it is poison").await.unwrap();
    for _ in 1..ATTEMPTS_MAX {
        last = leased(queue, "ann").await;
        queue.fail(&last.ticket, "it is poison").await.unwrap();
    }
    assert_eq!(last.task, *task);
    last
}

async fn a_dead_letter_is_retried_or_discarded<Q: EvalQueue>(queue: &Q) {
    let (retried, discarded) = (task("s1", 1), task("s1", 2));
    make_dead(queue, &retried).await;
    make_dead(queue, &discarded).await;
    let letters = queue.dead_letters().await.unwrap();
    let dead: Vec<&Task> = letters.iter().map(|letter| &letter.task).collect();
    assert_eq!(dead, [&retried, &discarded]);
    assert!(!queue.retry(&task("s1", 3)).await.unwrap());
    assert!(!queue.discard(&task("s1", 3)).await.unwrap());

    assert!(queue.discard(&discarded).await.unwrap());
    assert!(!queue.discard(&discarded).await.unwrap());
    assert!(!queue.is_kept(&discarded).await.unwrap());
    nothing_waits(queue).await;

    assert!(queue.retry(&retried).await.unwrap());
    assert!(!queue.retry(&retried).await.unwrap(), "it is no dead letter any more");
    assert!(queue.dead_letters().await.unwrap().is_empty());
    for attempt in 1..ATTEMPTS_MAX {
        let lease = leased(queue, "ann").await;
        assert_eq!((&lease.task, lease.attempt), (&retried, attempt));
        queue.fail(&lease.ticket, "not yet").await.unwrap();
    }
    let lease = leased(queue, "ann").await;
    assert!(queue.complete(&lease.ticket, &answer(&lease, "ann")).await.unwrap());
    assert_eq!(collect(queue, "s1", 1).await.len(), 1);

    // What was discarded can be published anew.
    assert!(queue.publish(&discarded).await.unwrap());
    assert_eq!(leased(queue, "ann").await.attempt, 1);
}

async fn a_dead_letter_may_still_be_answered<Q: EvalQueue>(queue: &Q) {
    let lease = make_dead(queue, &task("s1", 1)).await;
    assert_eq!(queue.dead_letters().await.unwrap().len(), 1);
    assert!(queue.complete(&lease.ticket, &answer(&lease, "ann")).await.unwrap());
    assert!(queue.dead_letters().await.unwrap().is_empty());
    assert_eq!(collect(queue, "s1", 1).await.len(), 1);
}

async fn answers_that_are_not_taken_hide_no_others<Q: EvalQueue>(queue: &Q) {
    const N_TASKS: u32 = 300;
    let tasks: Vec<Task> = (0..N_TASKS).map(|index| task("s1", index)).collect();
    queue.publish_all(&tasks).await.unwrap();
    for _ in 0..N_TASKS {
        let lease = leased(queue, "ann").await;
        queue.complete(&lease.ticket, &answer(&lease, "ann")).await.unwrap();
    }
    let (mut seen, started) = (BTreeSet::new(), Instant::now());
    while seen.len() < tasks.len() && started.elapsed() < PATIENCE {
        let arrived = queue.answers("s1", PATIENCE).await.unwrap();
        seen.extend(arrived.into_iter().map(|arrived| arrived.answer.task));
    }
    assert_eq!(seen.len(), tasks.len());
}

async fn a_withdrawn_search_leaves_nothing<Q: EvalQueue>(queue: &Q) {
    make_dead(queue, &task("s1", 9)).await;
    for (search, index) in [("s1", 1), ("s1", 2), ("s1", 3), ("s2", 4)] {
        queue.publish(&task(search, index)).await.unwrap();
    }
    let answered = leased(queue, "ann").await;
    queue.complete(&answered.ticket, &answer(&answered, "ann")).await.unwrap();
    let late = leased(queue, "ann").await;
    queue.withdraw("s1").await.unwrap();
    for index in [1, 2, 3, 9] {
        assert!(!queue.is_kept(&task("s1", index)).await.unwrap(), "{index}");
    }
    assert!(queue.dead_letters().await.unwrap().is_empty());
    assert!(queue.answers("s1", GLANCE).await.unwrap().is_empty());
    queue.fail(&late.ticket, "told to stop").await.unwrap();
    let left = leased(queue, "bob").await;
    assert_eq!(left.task, task("s2", 4));
    nothing_waits(queue).await;
    // It can begin again.
    assert!(queue.publish(&task("s1", 1)).await.unwrap());
    assert_eq!(leased(queue, "bob").await.attempt, 1);
}

async fn device_classes_do_not_mix<Q: EvalQueue>(queue: &Q) {
    let of_gpu = Task { device_class: "cuda-h100".into(), ..task("s1", 1) };
    queue.publish(&of_gpu).await.unwrap();
    nothing_waits(queue).await;
    queue.publish(&task("s1", 2)).await.unwrap();
    let gpu = queue.lease("cuda-h100", "ann", PATIENCE).await.unwrap().unwrap();
    assert_eq!(gpu.task, of_gpu);
    assert!(queue.lease("cuda-h100", "ann", GLANCE).await.unwrap().is_none());
    assert_eq!(leased(queue, "bob").await.task, task("s1", 2));
}

async fn a_waiting_worker_gets_what_comes<Q: EvalQueue>(queue: &Q) {
    let later = async {
        tokio::time::sleep(GLANCE).await;
        queue.publish(&task("s1", 1)).await.unwrap();
    };
    let (lease, ()) = tokio::join!(leased(queue, "ann"), later);
    let later = async {
        tokio::time::sleep(GLANCE).await;
        queue.complete(&lease.ticket, &answer(&lease, "ann")).await.unwrap();
    };
    let (found, ()) = tokio::join!(collect(queue, "s1", 1), later);
    assert_eq!(found.len(), 1);
}

async fn workers_never_get_the_same_task<Q: EvalQueue>(queue: &Q) {
    const N_TASKS: u32 = 60;
    let tasks: Vec<Task> = (0..N_TASKS).map(|index| task("s1", index)).collect();
    assert_eq!(queue.publish_all(&tasks[..20]).await.unwrap(), 20);
    assert_eq!(queue.publish_all(&tasks).await.unwrap(), u64::from(N_TASKS) - 20);
    let work = async |worker: &str| {
        let mut done = Vec::new();
        while let Some(lease) = queue.lease("cpu", worker, GLANCE * 3).await.unwrap() {
            assert!(queue.complete(&lease.ticket, &answer(&lease, worker)).await.unwrap());
            done.push(lease.task.id);
        }
        done
    };
    let (a, b, c) = tokio::join!(work("ann"), work("bob"), work("cat"));
    let handed_out = [a, b, c].concat();
    let unlike: BTreeSet<&String> = handed_out.iter().collect();
    assert_eq!((handed_out.len(), unlike.len()), (N_TASKS as usize, N_TASKS as usize));
    assert_eq!(collect(queue, "s1", N_TASKS as usize).await.len(), N_TASKS as usize);
}

/// What a registry of workers has to do.
pub(crate) async fn check_registry<R: WorkerRegistry>(registry: &R) {
    let card = |name: &str, tasks_done| WorkerCard {
        name: name.into(),
        host: "host-1.example".into(),
        device: "NVIDIA H100".into(),
        device_class: "cuda-h100".into(),
        libtorch_version: "2.11.0".into(),
        haq_version: "0.1.0".into(),
        started_unix_ms: 1_700_000_000_000,
        tasks_done,
        tasks_per_min: 1.5,
        bytes_fetched: 1 << 30,
        task: (tasks_done > 0).then(|| "1a2b".into()),
    };
    assert!(registry.workers().await.unwrap().is_empty());
    registry.report(&card("host-1-77", 0)).await.unwrap();
    registry.report(&card("host-1-76", 0)).await.unwrap();
    registry.report(&card("host-1-77", 3)).await.unwrap();
    let found = registry.workers().await.unwrap();
    assert_eq!(found, [card("host-1-76", 0), card("host-1-77", 3)]);
    registry.leave("host-1-76").await.unwrap();
    registry.leave("nobody").await.unwrap();
    assert_eq!(registry.workers().await.unwrap(), [card("host-1-77", 3)]);
}
