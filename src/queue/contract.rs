//! What every queue of jobs has to do, as tests that each implementation runs.

use super::JobQueue;
use crate::domain::{JobEnding, JobState, JobTicket, Measure, NewJob, StopWish, Strategy};

const CRASH_LIMIT: u32 = 3;

pub(crate) fn job(submitter: &str, seed: u64) -> NewJob {
    NewJob {
        submitter: submitter.into(),
        request: serde_json::json!({ "seed": seed }),
        submission_key: None,
        model: "embedded".into(),
        data: "embedded".into(),
        profile: "edge-tpu".into(),
        strategy: Strategy::Random,
        measure: Measure::Top1,
        seed,
        episodes_planned: 10,
        budget_requests: vec![],
        tags: vec![],
        note: None,
    }
}

/// Runs the whole suite; `new_queue` makes an empty one, and `lose` makes its holder of a lease
/// look gone.
pub(crate) async fn check<Q: JobQueue>(
    mut new_queue: impl AsyncFnMut() -> Q,
    mut lose: impl AsyncFnMut(&Q, JobTicket),
) {
    is_handed_out_once(&new_queue().await).await;
    the_same_submission_is_one_job(&new_queue().await).await;
    submitters_take_turns(&new_queue().await).await;
    wishes_are_met(&new_queue().await).await;
    what_ended_can_go_on_unless_completed(&new_queue().await).await;
    crashes_are_counted_until_it_is_set_aside(&new_queue().await).await;
    postponed_waits(&new_queue().await).await;
    let queue = new_queue().await;
    a_lost_lease_is_given_to_another(&queue, &mut lose).await;
    let queue = new_queue().await;
    a_wish_outlives_the_holder(&queue, &mut lose).await;
}

async fn leased<Q: JobQueue>(queue: &Q) -> JobTicket {
    queue.lease().await.unwrap().expect("a job waits").ticket
}

async fn settle<Q: JobQueue>(queue: &Q, ticket: JobTicket, ending: JobEnding) -> Option<JobState> {
    queue.settle(ticket, &ending, CRASH_LIMIT).await.unwrap()
}

async fn is_handed_out_once<Q: JobQueue>(queue: &Q) {
    assert!(queue.lease().await.unwrap().is_none());
    let submitted = queue.submit(&job("ann", 7)).await.unwrap();
    assert_eq!((submitted.state, submitted.is_new), (JobState::Queued, true));
    let lease = queue.lease().await.unwrap().unwrap();
    assert_eq!((lease.ticket.job, lease.submitter.as_str()), (submitted.job, "ann"));
    assert_eq!(lease.request["seed"], 7);
    assert!(queue.lease().await.unwrap().is_none());
    assert!(queue.extend(lease.ticket).await.unwrap());
    assert_eq!(settle(queue, lease.ticket, JobEnding::Completed).await, Some(JobState::Completed));
    assert!(!queue.extend(lease.ticket).await.unwrap());
    assert_eq!(settle(queue, lease.ticket, JobEnding::Completed).await, None);
    assert!(queue.lease().await.unwrap().is_none());
}

async fn the_same_submission_is_one_job<Q: JobQueue>(queue: &Q) {
    let keyed = |seed, key: &str| NewJob { submission_key: Some(key.into()), ..job("ann", seed) };
    let first = queue.submit(&keyed(1, "a")).await.unwrap();
    let again = queue.submit(&keyed(1, "a")).await.unwrap();
    assert_eq!((again.job, again.is_new), (first.job, false));
    assert!(queue.submit(&keyed(2, "a")).await.is_err(), "another request under the same key");
    let other = queue.submit(&keyed(1, "b")).await.unwrap();
    assert_ne!(other.job, first.job);
    let of_bob = NewJob { submitter: "bob".into(), ..keyed(2, "a") };
    assert!(queue.submit(&of_bob).await.unwrap().is_new);
}

async fn submitters_take_turns<Q: JobQueue>(queue: &Q) {
    let mut jobs = Vec::new();
    for (submitter, seed) in [("ann", 0), ("ann", 1), ("ann", 2), ("bob", 3), ("bob", 4)] {
        jobs.push(queue.submit(&job(submitter, seed)).await.unwrap().job);
    }
    let mut order = Vec::new();
    while let Some(lease) = queue.lease().await.unwrap() {
        order.push(jobs.iter().position(|&job| job == lease.ticket.job).unwrap());
    }
    assert_eq!(order, [0, 3, 1, 4, 2]);
}

async fn wishes_are_met<Q: JobQueue>(queue: &Q) {
    for (wish, state) in
        [(StopWish::Pause, JobState::Paused), (StopWish::Cancel, JobState::Cancelled)]
    {
        let waiting = queue.submit(&job("ann", 0)).await.unwrap().job;
        assert_eq!(queue.stop(waiting, wish).await.unwrap(), state);
        assert!(queue.lease().await.unwrap().is_none());

        let running = queue.submit(&job("ann", 1)).await.unwrap().job;
        let ticket = leased(queue).await;
        assert_eq!(queue.wish(ticket).await.unwrap(), None);
        assert_eq!(queue.stop(running, wish).await.unwrap(), JobState::Running);
        assert_eq!(queue.wish(ticket).await.unwrap(), Some(wish));
        assert_eq!(settle(queue, ticket, JobEnding::Stopped).await, Some(state));
        assert!(queue.stop(running, StopWish::Pause).await.is_err() || state == JobState::Paused);
    }
    // Who cancels what is being paused gets it cancelled.
    let job = queue.submit(&job("ann", 2)).await.unwrap().job;
    let ticket = leased(queue).await;
    queue.stop(job, StopWish::Pause).await.unwrap();
    queue.stop(job, StopWish::Cancel).await.unwrap();
    assert_eq!(settle(queue, ticket, JobEnding::Stopped).await, Some(JobState::Cancelled));
}

async fn what_ended_can_go_on_unless_completed<Q: JobQueue>(queue: &Q) {
    let id = queue.submit(&job("ann", 0)).await.unwrap().job;
    let ticket = leased(queue).await;
    assert!(queue.resume(id).await.is_err(), "it runs");
    settle(queue, ticket, JobEnding::Failed("no such file".into())).await;
    assert_eq!(queue.resume(id).await.unwrap(), JobState::Queued);
    let again = leased(queue).await;
    assert!(again.fence > ticket.fence);
    // Nobody wished it to stop: it waits for the next worker.
    assert_eq!(settle(queue, again, JobEnding::Stopped).await, Some(JobState::Queued));
    let last = leased(queue).await;
    settle(queue, last, JobEnding::Completed).await;
    assert!(queue.resume(id).await.is_err());
    assert!(queue.stop(id, StopWish::Cancel).await.is_err());
    assert!(queue.resume(id + 1000).await.is_err());
}

async fn crashes_are_counted_until_it_is_set_aside<Q: JobQueue>(queue: &Q) {
    queue.submit(&job("ann", 0)).await.unwrap();
    for crash in 1..=CRASH_LIMIT {
        let state = settle(queue, leased(queue).await, JobEnding::Crashed("signal 9".into())).await;
        let expected = if crash < CRASH_LIMIT { JobState::Queued } else { JobState::Failed };
        assert_eq!(state, Some(expected), "crash {crash}");
    }
    assert!(queue.lease().await.unwrap().is_none());
}

async fn postponed_waits<Q: JobQueue>(queue: &Q) {
    queue.submit(&job("ann", 0)).await.unwrap();
    let later = |delay_ms| JobEnding::Postponed { reason: "the disk is full".into(), delay_ms };
    let state = settle(queue, leased(queue).await, later(0)).await;
    assert_eq!(state, Some(JobState::Queued));
    let state = settle(queue, leased(queue).await, later(3_600_000)).await;
    assert_eq!(state, Some(JobState::Queued));
    assert!(queue.lease().await.unwrap().is_none());
}

async fn a_lost_lease_is_given_to_another<Q: JobQueue>(
    queue: &Q,
    lose: &mut impl AsyncFnMut(&Q, JobTicket),
) {
    queue.submit(&job("ann", 0)).await.unwrap();
    let lost = leased(queue).await;
    lose(queue, lost).await;
    let next = leased(queue).await;
    assert_eq!(next.job, lost.job);
    assert!(next.fence > lost.fence);
    assert!(!queue.extend(lost).await.unwrap());
    assert_eq!(settle(queue, lost, JobEnding::Completed).await, None);
    assert!(queue.extend(next).await.unwrap());
    assert_eq!(settle(queue, next, JobEnding::Completed).await, Some(JobState::Completed));
}

async fn a_wish_outlives_the_holder<Q: JobQueue>(
    queue: &Q,
    lose: &mut impl AsyncFnMut(&Q, JobTicket),
) {
    let id = queue.submit(&job("ann", 0)).await.unwrap().job;
    let ticket = leased(queue).await;
    queue.stop(id, StopWish::Cancel).await.unwrap();
    lose(queue, ticket).await;
    assert!(queue.lease().await.unwrap().is_none());
    assert_eq!(queue.resume(id).await.unwrap(), JobState::Queued);
}
