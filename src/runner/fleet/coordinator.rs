//! The search's side of a fleet: hands out what is to be judged, and takes each answer once.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};
use tokio::runtime::Runtime;

use super::{
    desk::{Desk, Open, Wanted},
    error::FleetError,
    evaluation::{Evaluation, Finding, FoundIn},
    testbed::{Packed, Testbed, TestbedError},
};
use crate::{
    domain::{BitwidthPolicy, Measure, Quality, RunId, hexadecimal},
    queue::{ATTEMPTS_MAX, Answer, ArrivedAnswer, BlobStore, EvalQueue, Task, WorkerRegistry},
    runner::{Prepared, Runner, inputs, model::load_model},
    search::{Judged, PolicyEvaluator, SearchError, SearchRequest, Trial},
};

/// How long to wait for answers before looking what is wrong.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait before asking again where there was nothing new.
const PAUSE: Duration = Duration::from_millis(10);

/// How often to look whether what has no answer is still in the queue.
const LOOK: Duration = Duration::from_secs(10);

/// How a search uses a fleet.
#[derive(Debug, Clone)]
pub struct FleetSettings {
    /// What kind of device judges.
    pub device_class: String,
    /// Seconds that one evaluation may take, setting up its testbed included.
    pub time_limit_s: u64,
}

/// What a fleet did for a search.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FleetReport {
    pub n_answers: u64,
    /// Answers to what was answered already; they were left out.
    pub n_late: u64,
    /// Tasks that were lost by the queue, and handed out again.
    pub n_republished: u64,
    /// Answers of each worker.
    pub by_worker: BTreeMap<String, u64>,
    /// Seconds that evaluations took, summed.
    pub evaluations_s: f64,
}

/// Judges policies by the workers of a fleet.
pub struct FleetEvaluator<Q: EvalQueue, B> {
    runtime: Runtime,
    queue: Q,
    blobs: B,
    request: SearchRequest,
    prepared: Rc<Prepared>,
    settings: FleetSettings,
    evaluation_key: String,
    search: String,
    packed: Packed,
    desk: RefCell<Desk<Q::Receipt>>,
    report: RefCell<FleetReport>,
    is_alone: Cell<bool>,
    stop: Arc<AtomicBool>,
}

impl<Q: EvalQueue + WorkerRegistry, B: BlobStore> FleetEvaluator<Q, B> {
    /// Puts network and images where workers find them.
    ///
    /// - `runtime`: what the queue was made on
    /// - `stop`: turns true when the search is not to wait for answers any more
    ///
    /// # Errors
    /// When they cannot be read again, or not be sent.
    pub fn new(
        runtime: Runtime,
        queue: Q,
        blobs: B,
        runner: &Runner<'_>,
        settings: FleetSettings,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, FleetError> {
        let prepared = runner.prepared();
        let key = prepared.evaluation_key(runner.plan());
        let search = search_name(runner.id(), &runner.created_at()?, &key);
        let packed = runtime.block_on(Testbed::pack(runner.plan(), &key, &blobs))?;
        Ok(Self {
            runtime,
            queue,
            blobs,
            request: runner.plan().request.clone(),
            evaluation_key: key,
            prepared,
            settings,
            search,
            packed,
            desk: RefCell::new(Desk::new()),
            report: RefCell::default(),
            is_alone: Cell::new(false),
            stop,
        })
    }

    pub fn report(&self) -> FleetReport {
        self.report.borrow().clone()
    }

    /// Takes what is left of the search off the queue, once all its episodes are in the database.
    ///
    /// # Errors
    /// When the queue cannot be used.
    pub fn finish(&self) -> Result<(), FleetError> {
        self.runtime.block_on(async {
            self.take_answers().await?;
            self.queue.withdraw(&self.search).await.map_err(FleetError::queue)
        })
    }

    /// Hands out what was not handed out before, and waits for the answer that is wanted; which of
    /// the trials it is about.
    async fn judge(
        &self,
        trials: &[Trial],
        measure: Measure,
        wanted: Wanted,
    ) -> Result<(usize, Judged), FleetError> {
        // The episodes that these led to are in the database by now.
        self.take_answers().await?;
        let testbed = &self.packed.testbed;
        let ids: Vec<String> =
            trials.iter().map(|trial| Evaluation::id(testbed, trial, measure)).collect();
        let mut new = Vec::new();
        for (id, trial) in ids.iter().zip(trials) {
            if !self.desk.borrow().knows(id) {
                new.push(self.task(id, trial, measure));
                self.desk.borrow_mut().open(&new[new.len() - 1], trial);
            }
        }
        if !new.is_empty() {
            // Whoever lost its disk lost all of them.
            self.keep_files(&self.packed.first_parts[..1]).await?;
            self.queue.publish_all(&new).await.map_err(FleetError::queue)?;
        }
        loop {
            let found = self.desk.borrow_mut().found(&ids, wanted);
            if let Some(found) = found {
                return Ok(found);
            }
            let answers = self.queue.answers(&self.search, PATIENCE).await;
            let answers = answers.map_err(FleetError::queue)?;
            if self.stop.load(Ordering::SeqCst) && answers.is_empty() {
                return Err(FleetError::Stopped);
            }
            if answers.is_empty() {
                self.look_for_workers().await?;
            }
            let mut is_new = false;
            for ArrivedAnswer { answer, receipt } in answers {
                is_new |= self.sort(answer, receipt).await?;
            }
            if !is_new {
                tokio::time::sleep(PAUSE).await;
            }
            if self.desk.borrow().looked.elapsed() > LOOK {
                self.look_after().await?;
                self.desk.borrow_mut().looked = Instant::now();
            }
        }
    }

    fn task(&self, id: &str, trial: &Trial, measure: Measure) -> Task {
        let limit = self.settings.time_limit_s;
        let evaluation = Evaluation::new(&self.packed.testbed, trial, measure, limit);
        Task {
            id: id.to_owned(),
            search: self.search.clone(),
            device_class: self.settings.device_class.clone(),
            payload: serde_json::to_value(&evaluation).expect("a task is plain data"),
        }
    }

    /// Files an answer where it belongs; false where that had been done. Answers stay in the queue
    /// until their episodes are in the database, and so are met again.
    async fn sort(&self, answer: Answer, receipt: Q::Receipt) -> Result<bool, FleetError> {
        let given = (answer.task.clone(), answer.attempt, answer.worker.clone());
        if !self.desk.borrow_mut().seen.insert(given.clone()) {
            return Ok(false);
        }
        let open = self.desk.borrow().open.get(&answer.task).cloned();
        let Some(open) = open else {
            self.desk.borrow_mut().receipts.push(receipt);
            self.report.borrow_mut().n_late += 1;
            return Ok(true);
        };
        match self.finding(&answer) {
            Ok(finding) => {
                self.note(&answer.worker, &finding);
                let judged = finding.judged_by(&answer.worker);
                self.desk.borrow_mut().answer(answer.task, judged, receipt);
            }
            Err(reason) => {
                // The next one may look the same.
                self.desk.borrow_mut().seen.remove(&given);
                self.queue.take(&receipt).await.map_err(FleetError::queue)?;
                self.ask_again(open, &answer, reason).await?;
            }
        }
        Ok(true)
    }

    /// What an answer says; policies judged in another arithmetic are not this search's.
    fn finding(&self, answer: &Answer) -> Result<Finding, String> {
        let finding: Finding =
            serde_json::from_value(answer.payload.clone()).map_err(|error| error.to_string())?;
        let own = FoundIn::from(self.prepared.session.arithmetic());
        if finding.arithmetic == own {
            return Ok(finding);
        }
        let (found, device) = (finding.arithmetic, finding.device);
        Err(format!("it judged in {found:?} on {device}; this search judges in {own:?}"))
    }

    /// Hands a task out again whose answer cannot be used, as often as any other.
    async fn ask_again(
        &self,
        open: Open,
        answer: &Answer,
        reason: String,
    ) -> Result<(), FleetError> {
        let n_unusable = open.n_unusable + 1;
        let worker = answer.worker.clone();
        if n_unusable >= ATTEMPTS_MAX {
            return Err(FleetError::Answer { worker, reason });
        }
        tracing::warn!(worker, reason, "an answer cannot be used; its task is handed out again");
        self.queue.publish(&open.task).await.map_err(FleetError::queue)?;
        let open = Open { n_unusable, ..open };
        self.desk.borrow_mut().open.insert(answer.task.clone(), open);
        Ok(())
    }

    fn note(&self, worker: &str, finding: &Finding) {
        let mut report = self.report.borrow_mut();
        report.n_answers += 1;
        report.evaluations_s += finding.wall_s;
        *report.by_worker.entry(worker.to_owned()).or_default() += 1;
        tracing::info!(
            worker,
            device = finding.device,
            libtorch = finding.libtorch_version,
            wall_s = finding.wall_s,
            "an answer arrived"
        );
    }

    async fn take_answers(&self) -> Result<(), FleetError> {
        let receipts = std::mem::take(&mut self.desk.borrow_mut().receipts);
        self.queue.take_all(&receipts).await.map_err(FleetError::queue)
    }

    /// What the queue lost is handed out again; what kills every worker ends the search.
    async fn look_after(&self) -> Result<(), FleetError> {
        let had_files = self.keep_files(&self.packed.first_parts).await?;
        let missing = self.desk.borrow().open.clone();
        for letter in self.queue.dead_letters().await.map_err(FleetError::queue)? {
            let Some(open) = missing.get(&letter.task.id) else { continue };
            if letter.task.search != self.search {
                continue;
            }
            if had_files {
                return Err(FleetError::DeadLetter {
                    policy: open.policy.clone(),
                    attempts: letter.attempts,
                    reason: letter.reason.unwrap_or_else(|| "its workers went silent".into()),
                });
            }
            // Nobody could do it without the files.
            self.queue.retry(&letter.task).await.map_err(FleetError::queue)?;
        }
        let mut lost = Vec::new();
        for Open { task, .. } in missing.values() {
            if !self.queue.is_kept(task).await.map_err(FleetError::queue)? {
                lost.push(task.clone());
            }
        }
        if !lost.is_empty() {
            tracing::warn!(
                n_tasks = lost.len(),
                "the queue has lost tasks; they are handed out again"
            );
            self.queue.publish_all(&lost).await.map_err(FleetError::queue)?;
            self.report.borrow_mut().n_republished += lost.len() as u64;
        }
        Ok(())
    }

    /// Puts network and images where workers find them once more, if they are there no longer. False
    /// where that was so.
    ///
    /// - `parts`: what is looked for
    async fn keep_files(&self, parts: &[String]) -> Result<bool, FleetError> {
        let mut has_all = true;
        for part in parts {
            has_all &= self.blobs.has_part(part).await.map_err(TestbedError::from)?;
        }
        if has_all {
            return Ok(true);
        }
        tracing::warn!("the fleet has lost network and images; they are sent again");
        let model = load_model((&self.request).into())?;
        let plan = inputs::plan(self.request.clone(), model)?;
        let packed = Testbed::pack(&plan, &self.evaluation_key, &self.blobs).await?;
        if packed == self.packed { Ok(false) } else { Err(FleetError::FilesChanged) }
    }

    /// Says once that nobody is there to work.
    async fn look_for_workers(&self) -> Result<(), FleetError> {
        let workers = self.queue.workers().await.map_err(FleetError::queue)?;
        let class = &self.settings.device_class;
        let is_alone = !workers.iter().any(|worker| worker.device_class == *class);
        if is_alone && !self.is_alone.get() {
            let others: Vec<&str> = workers.iter().map(|w| w.device_class.as_str()).collect();
            tracing::warn!(
                device_class = class,
                others = others.join(", "),
                "no worker for this search is there; waiting for one: haq worker --queue …"
            );
        }
        self.is_alone.set(is_alone);
        Ok(())
    }
}

/// The same for the same run whenever it goes on, and for no other run of any database.
fn search_name(id: RunId, created_at: &str, evaluation_key: &str) -> String {
    let whole = hexadecimal(&Sha256::digest(format!("{id} {created_at} {evaluation_key}")));
    format!("run-{id}-{}", &whole[..12])
}

impl<Q: EvalQueue + WorkerRegistry, B: BlobStore> FleetEvaluator<Q, B> {
    fn judge_one(
        &self,
        trials: &[Trial],
        measure: Measure,
        wanted: Wanted,
    ) -> Result<(usize, Judged), SearchError> {
        let judged = self.runtime.block_on(self.judge(trials, measure, wanted));
        let (index, judged) = judged.map_err(|error| match error {
            FleetError::Stopped => SearchError::Stopped,
            error => SearchError::Fleet(error.to_string()),
        })?;
        self.prepared.remember_judged(&trials[index].policy, &judged);
        Ok((index, judged))
    }
}

impl<Q: EvalQueue + WorkerRegistry, B: BlobStore> PolicyEvaluator for FleetEvaluator<Q, B> {
    fn evaluate(&self, policy: &BitwidthPolicy) -> Result<Quality, SearchError> {
        let trial = Trial { policy: policy.clone(), rival: None };
        // A measure is only looked at in a race.
        Ok(self.judge_first(&[trial], Measure::default())?.quality)
    }

    fn judge_first(&self, trials: &[Trial], measure: Measure) -> Result<Judged, SearchError> {
        Ok(self.judge_one(trials, measure, Wanted::First)?.1)
    }

    fn judge_any(
        &self,
        trials: &[Trial],
        measure: Measure,
    ) -> Result<(usize, Judged), SearchError> {
        self.judge_one(trials, measure, Wanted::Any)
    }

    fn known(&self, policy: &BitwidthPolicy) -> Option<Quality> {
        self.prepared.known(policy)
    }
}
