//! A worker: takes one evaluation after the other, says while it works that it is alive, and answers.

use std::{collections::VecDeque, path::Path, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, interval_at, sleep, timeout},
};

use super::{
    bench::{Bench, Delivered},
    error::FleetError,
    evaluation::Evaluation,
    testbed::{Testbed, TestbedBytes},
};
use crate::queue::{
    Answer, Blob, BlobCache, BlobStore, CachedBlob, EvalQueue, LeasedTask, TASK_LEASE, WorkerCard,
    WorkerRegistry,
};

/// How long to wait for a task before looking whether to stop.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often a worker tells that it is there.
const REPORT: Duration = Duration::from_secs(15);

/// What a worker's rate is taken over.
const RATE_TIME: Duration = Duration::from_secs(600);

/// How long a worker that is to end still waits for a queue that does not answer.
const GOODBYE: Duration = Duration::from_secs(10);

/// How long a worker that gave a task back leaves the next one to others.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Largest description of a testbed that is read, bytes.
const TESTBED_BYTES_MAX: u64 = 16 << 20;

/// Where a worker finds things, and what it is.
pub struct Worker<'a, Q, B> {
    pub queue: &'a Q,
    pub blobs: &'a B,
    pub cache: &'a BlobCache,
    pub bench: Bench,
    pub card: WorkerCard,
    /// Ends when no task came for so long.
    pub idle_limit: Option<Duration>,
}

/// What a worker did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Worked {
    pub n_answered: u64,
    /// Answers to what another had answered already.
    pub n_late: u64,
    /// Given back.
    pub n_failed: u64,
}

impl<Q, B> Worker<'_, Q, B>
where
    Q: EvalQueue + WorkerRegistry,
    B: BlobStore,
{
    /// Works until `stop` turns true; what is in work then is finished.
    ///
    /// # Errors
    /// When the queue cannot be used, or an evaluation takes longer than it may: its thread cannot be
    /// stopped, so that the process has to end.
    pub async fn work(mut self, mut stop: watch::Receiver<bool>) -> Result<Worked, FleetError> {
        let mut worked = Worked::default();
        let mut rate = AnswerRate::new();
        let (mut reported, mut busy_until) = (None, Instant::now());
        while !*stop.borrow() {
            if reported.is_none_or(|at: Instant| at.elapsed() > REPORT) {
                self.card.tasks_per_min = rate.per_min();
                self.report().await;
                reported = Some(Instant::now());
            }
            // Not given up before its time: a task on its way here would wait for its lease to end.
            let lease = self.queue.lease(&self.card.device_class, &self.card.name, PATIENCE);
            let Some(leased) = unless_given_up(lease, &stop).await else { break };
            if let Some(leased) = leased.map_err(FleetError::queue)? {
                self.card.task = Some(leased.task.id.clone());
                self.report().await;
                let before = worked;
                self.one(leased, &stop, &mut worked).await?;
                self.card.task = None;
                if worked.n_failed > before.n_failed {
                    // What is wrong may be wrong here alone: others come first then.
                    let _ = timeout(AFTER_FAILURE, stop.changed()).await;
                }
                if worked.n_answered > before.n_answered {
                    rate.count();
                }
                self.card.tasks_done = worked.n_answered;
                self.card.bytes_fetched = self.cache.moved_bytes();
                busy_until = Instant::now();
                reported = None;
            } else if self.idle_limit.is_some_and(|limit| busy_until.elapsed() > limit) {
                break;
            }
        }
        tell(self.queue.leave(&self.card.name)).await;
        Ok(worked)
    }

    async fn report(&self) {
        tell(self.queue.report(&self.card)).await;
    }

    async fn one(
        &self,
        leased: LeasedTask<Q::Ticket>,
        stop: &watch::Receiver<bool>,
        worked: &mut Worked,
    ) -> Result<(), FleetError> {
        let LeasedTask { task, ticket, attempt } = leased;
        tracing::info!(task = task.id, search = task.search, attempt, "a task was taken");
        let mut beat = interval_at(Instant::now() + TASK_LEASE / 3, TASK_LEASE / 3);
        let found = {
            let work = self.judged(&task.payload);
            tokio::pin!(work);
            loop {
                tokio::select! {
                    found = &mut work => break found,
                    _ = beat.tick() => {
                        match self.queue.extend(&ticket).await {
                            Ok(true) => {}
                            // Whoever has it now gets the same answer: the first one counts.
                            Ok(false) => tracing::warn!(task = task.id, "the task is another worker's by now"),
                            Err(error) => tracing::warn!(task = task.id, %error, "the lease was not extended"),
                        }
                        self.report().await;
                    }
                }
            }
        };
        match found {
            Ok(payload) => {
                let worker = self.card.name.clone();
                let answer = Answer { task: task.id, attempt, worker, payload };
                let completed = unless_given_up(self.queue.complete(&ticket, &answer), stop).await;
                let Some(is_first) = completed else {
                    let task = answer.task;
                    return Err(FleetError::AnswerNotTaken { task, waited_s: GOODBYE.as_secs() });
                };
                let is_first = is_first.map_err(FleetError::queue)?;
                worked.n_answered += u64::from(is_first);
                worked.n_late += u64::from(!is_first);
                Ok(())
            }
            Err(trouble) => {
                tracing::warn!(task = task.id, reason = %trouble.reason, "a task was given back");
                worked.n_failed += 1;
                self.queue.fail(&ticket, &trouble.reason).await.map_err(FleetError::queue)?;
                match trouble.is_stuck {
                    true => Err(FleetError::Stuck { reason: trouble.reason }),
                    false => Ok(()),
                }
            }
        }
    }

    /// The answer to a task, in words of this program.
    async fn judged(&self, payload: &serde_json::Value) -> Result<serde_json::Value, Trouble> {
        let evaluation: Evaluation = serde_json::from_value(payload.clone())
            .map_err(|error| format!("the task cannot be read: {error}"))?;
        let testbed = &evaluation.testbed;
        let delivered = match self.bench.is_set_up(&testbed.digest).await {
            true => None,
            false => Some(self.deliver(testbed).await?),
        };
        let limit = Duration::from_secs(evaluation.time_limit_s);
        let judged = timeout(limit, self.bench.judge(evaluation, delivered)).await;
        let finding = judged.map_err(|_| Trouble {
            reason: format!("the evaluation took longer than {} s", limit.as_secs()),
            is_stuck: true,
        })??;
        Ok(serde_json::to_value(finding).expect("a finding is plain data"))
    }

    /// Everything that a testbed needs, from the cache or from the fleet.
    async fn deliver(&self, testbed: &Blob) -> Result<Delivered, String> {
        if testbed.bytes > TESTBED_BYTES_MAX {
            return Err(format!("a testbed of {} bytes is refused", testbed.bytes));
        }
        let testbed = Testbed::parse(&self.bytes(testbed).await?)?;
        let weights = match &testbed.weights {
            Some(weights) => Some(self.bytes(weights).await?),
            None => None,
        };
        let files = TestbedBytes {
            onnx: self.bytes(&testbed.onnx).await?,
            weights,
            calibration: self.bytes(&testbed.calibration).await?,
            search: self.bytes(&testbed.search).await?,
        };
        Ok(Delivered { testbed, files })
    }

    async fn bytes(&self, blob: &Blob) -> Result<Vec<u8>, String> {
        let file: CachedBlob =
            self.cache.fetch(self.blobs, blob).await.map_err(|error| error.to_string())?;
        let path: &Path = file.path();
        let bytes = tokio::fs::read(path).await;
        bytes.map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// What the queue says; none where the worker is to end and the queue has not answered long after.
async fn unless_given_up<T>(
    asked: impl Future<Output = T>,
    stop: &watch::Receiver<bool>,
) -> Option<T> {
    let mut stop = stop.clone();
    let given_up = async {
        // Whoever could say so is gone: then nobody does.
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
        sleep(GOODBYE).await;
    };
    tokio::select! {
        answered = asked => Some(answered),
        () = given_up => None,
    }
}

/// How often answers were given lately.
struct AnswerRate {
    started: Instant,
    /// Of each answer that counts, the oldest first.
    at: VecDeque<Instant>,
}

impl AnswerRate {
    fn new() -> Self {
        Self { started: Instant::now(), at: VecDeque::new() }
    }

    fn count(&mut self) {
        self.at.push_back(Instant::now());
    }

    fn per_min(&mut self) -> f64 {
        while self.at.front().is_some_and(|at| at.elapsed() > RATE_TIME) {
            self.at.pop_front();
        }
        let counted_s = self.started.elapsed().min(RATE_TIME).as_secs_f64();
        // A moment after the start nothing is known.
        if counted_s > 1.0 { self.at.len() as f64 * 60.0 / counted_s } else { 0.0 }
    }
}

/// Being listed is worth neither stopping for, nor waiting for a server that is away.
async fn tell<E: std::fmt::Display>(word: impl Future<Output = Result<(), E>>) {
    match timeout(PATIENCE, word).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the fleet was not told of this worker"),
        Err(_) => tracing::debug!("the fleet does not answer"),
    }
}

/// Why there is no answer.
struct Trouble {
    reason: String,
    /// Whether the judging thread is still at it.
    is_stuck: bool,
}

impl From<String> for Trouble {
    fn from(reason: String) -> Self {
        Self { reason, is_stuck: false }
    }
}
