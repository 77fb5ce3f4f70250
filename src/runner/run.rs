//! One run from its first episode, or from where it was left, to its last.

use std::{rc::Rc, time::Instant};

use crate::{
    domain::{
        BitwidthPolicy, Budget, EpisodeKind, EpisodeRecord, LayerBits, RunDescription, RunId,
        RunResult, RunState,
    },
    quantization::EvaluationSettings,
    runner::{
        RunnerError,
        config::RunConfig,
        inputs,
        model::load_model,
        prepared::{Prepared, is_on_codes},
        proposers::{new_proposer, restored_proposer},
        shared_sensitivities::SharedSensitivities,
    },
    search::{
        Outcome, Plan, PolicyEvaluator, Problem, Proposer, SearchError, SearchEvent, Session,
        Verdict,
    },
    store::{BlockingStore, Checkpoint, SavedCheckpoint},
};

/// A run with everything in place to go on.
pub struct Runner<'a> {
    store: &'a BlockingStore,
    id: RunId,
    plan: Plan,
    prepared: Rc<Prepared>,
    outcome: Outcome,
    proposer: Box<dyn Proposer>,
    earlier_wall_s: f64,
    /// Who judges policies, where it is not this process.
    evaluator: Option<Rc<dyn PolicyEvaluator>>,
    /// Seconds that getting the proposer ready took; the next episode is charged with them.
    proposer_s: f64,
}

impl<'a> Runner<'a> {
    /// Calibrates, measures the float network and enters a new run in the database. Policies are
    /// judged in the fastest arithmetic of the processor, which the run is bound to.
    ///
    /// # Errors
    /// When data and network do not fit, or the database cannot be written.
    pub fn begin(
        store: &'a BlockingStore,
        plan: Plan,
        settings: EvaluationSettings,
    ) -> Result<Self, RunnerError> {
        let prepared = Rc::new(Prepared::new(&plan, settings)?);
        Self::begin_with(store, plan, prepared)
    }

    /// Enters a new run in the database, on what was made ready for a plan with the same
    /// network, images and method.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn begin_with(
        store: &'a BlockingStore,
        plan: Plan,
        prepared: Rc<Prepared>,
    ) -> Result<Self, RunnerError> {
        let description = describe(&plan, &prepared);
        let key = prepared.evaluation_key(&plan);
        let id = store.create_run(&description, &key)?;
        let start = Instant::now();
        SharedSensitivities::of(store, id, &plan, &prepared.session)?.complete(
            store,
            &plan,
            &prepared.session,
        )?;
        let proposer = new_proposer(&plan, &prepared.session)?;
        Ok(Self {
            store,
            id,
            plan,
            prepared,
            outcome: Outcome::default(),
            proposer,
            evaluator: None,
            earlier_wall_s: 0.0,
            proposer_s: start.elapsed().as_secs_f64(),
        })
    }

    /// Takes up a run that was interrupted, failed or was killed.
    ///
    /// # Errors
    /// When another process works on it, it is completed, or its model or data have changed.
    pub fn resume(
        store: &'a BlockingStore,
        id: RunId,
        settings: EvaluationSettings,
    ) -> Result<Self, RunnerError> {
        let run = store.run(id)?;
        let RunConfig { request, .. } = RunConfig::of(id, &run.description)?;
        let model = load_model((&request).into())?;
        unchanged(id, "the model", &run.description.model_digest, &model.digest)?;
        let plan = inputs::plan(request, model)?;
        let prepared = Rc::new(Prepared::like(&plan, settings, &run.evaluation_key)?);
        Self::resume_with(store, id, plan, prepared)
    }

    /// The same on what was made ready for a plan with the same network, images and method.
    ///
    /// # Errors
    /// As [`Runner::resume`].
    pub fn resume_with(
        store: &'a BlockingStore,
        id: RunId,
        plan: Plan,
        prepared: Rc<Prepared>,
    ) -> Result<Self, RunnerError> {
        let run = store.run(id)?;
        let key = prepared.evaluation_key(&plan);
        let words = |key| if is_on_codes(key) { "integer codes" } else { "floats" };
        let (was, is) = (words(&run.evaluation_key), words(&key));
        unchanged(id, "the arithmetic that policies are judged in", was, is)?;
        unchanged(id, "the data or how it is used", &run.evaluation_key, &key)?;
        store.claim(id)?;
        let records = store.episodes(id)?;
        prepared.remember(&records);
        let settled = plan.request.pace().n_settled(records.len(), plan.references().len());
        let saved = store.load_checkpoint(id)?.map(|saved| SavedCheckpoint {
            deltas: saved.deltas.into_iter().take(settled).collect(),
            ..saved
        });
        let start = Instant::now();
        SharedSensitivities::of(store, id, &plan, &prepared.session)?.complete(
            store,
            &plan,
            &prepared.session,
        )?;
        let proposer = restored_proposer(&plan, &prepared.session, saved.as_ref())?;
        let evaluations = records.iter().filter(|record| !record.from_cache).count() as u32;
        let in_flight = match saved.as_ref().and_then(|saved| saved.in_flight.clone()) {
            Some(in_flight) => serde_json::from_value(in_flight)
                .map_err(|error| SearchError::Resume(format!("what was in flight: {error}")))?,
            None => Vec::new(),
        };
        let outcome = Outcome { records, evaluations, in_flight, ..Outcome::default() };
        let (earlier_wall_s, proposer_s) = (run.result.wall_s, start.elapsed().as_secs_f64());
        let evaluator = None;
        Ok(Self {
            store,
            id,
            plan,
            prepared,
            outcome,
            proposer,
            evaluator,
            earlier_wall_s,
            proposer_s,
        })
    }

    pub fn id(&self) -> RunId {
        self.id
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub fn session(&self) -> &Session {
        &self.prepared.session
    }

    /// Has policies judged elsewhere; by the same figures, whoever judges.
    #[must_use]
    pub fn judged_by(self, evaluator: Rc<dyn PolicyEvaluator>) -> Self {
        Self { evaluator: Some(evaluator), ..self }
    }

    pub fn prepared(&self) -> Rc<Prepared> {
        Rc::clone(&self.prepared)
    }

    /// UTC, as RFC 3339 with milliseconds.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn created_at(&self) -> Result<String, RunnerError> {
        Ok(self.store.run(self.id)?.created_at)
    }

    /// Episodes that lie behind already.
    pub fn n_done(&self) -> usize {
        self.outcome.records.len()
    }

    /// Runs the rest. `observer` hears of every episode after it was committed.
    ///
    /// # Errors
    /// What was committed stays; the run is marked as failed, with the reason.
    pub fn execute(
        self,
        observer: &mut dyn FnMut(&EpisodeRecord, bool) -> Verdict,
    ) -> Result<RunResult, RunnerError> {
        let (store, id) = (self.store, self.id);
        let result = self.execute_inner(observer);
        if let Err(error) = &result {
            // The first error is the one that tells; that it could not be noted is the lesser.
            if let Err(second) = store.fail(id, &error.to_string()) {
                tracing::error!(run = id, error = %second, "the run could not be marked as failed");
            }
        }
        result
    }

    fn execute_inner(
        mut self,
        observer: &mut dyn FnMut(&EpisodeRecord, bool) -> Verdict,
    ) -> Result<RunResult, RunnerError> {
        let start = Instant::now();
        let references = self.plan.references();
        let problem = Problem {
            space: &self.plan.space,
            evaluator: self.evaluator.as_deref().unwrap_or(self.prepared.as_ref()),
            cost: &self.plan.cost,
            budgets: &self.plan.budgets,
            objective: self.plan.objective,
            measure: self.plan.request.measure,
            float_quality: self.prepared.session.float_quality(),
            n_images: self.prepared.session.n_search_images(),
            pace: self.plan.request.pace(),
        };
        let (store, id) = (self.store, self.id);
        let mut uncharged_s = std::mem::take(&mut self.proposer_s);
        self.earlier_wall_s += uncharged_s;
        let mut not_kept = None;
        let mut listener = |event: SearchEvent<'_>| -> Result<Verdict, String> {
            let SearchEvent::Episode { record, state, is_new_best, ends_round, in_flight } = event;
            let mut record = record.clone();
            if record.kind != EpisodeKind::Reference {
                record.wall_s += std::mem::take(&mut uncharged_s);
            }
            let record = &record;
            let checkpoint = Checkpoint {
                state: ends_round.then(|| state.state.clone()),
                delta: state.memory.clone(),
                in_flight: (!in_flight.is_empty())
                    .then(|| serde_json::to_value(in_flight).expect("it is plain data")),
            };
            if let Err(error) = store.commit_episode(id, record, &checkpoint) {
                let reason = error.to_string();
                not_kept = Some(error);
                return Err(reason);
            }
            Ok(observer(record, is_new_best))
        };
        let episodes = self.plan.request.episodes;
        let outcome = crate::search::run(
            &problem,
            &references,
            self.proposer.as_mut(),
            episodes,
            self.outcome,
            &mut listener,
        );
        let outcome = match (outcome, not_kept) {
            // The store's own error says more than that an episode was not kept.
            (Err(_), Some(error)) => return Err(error.into()),
            (outcome, _) => outcome?,
        };
        let mut result = RunResult {
            state: if outcome.is_complete { RunState::Completed } else { RunState::Interrupted },
            error: None,
            episodes: outcome.records.len() as u32,
            evaluations: outcome.evaluations,
            wall_s: self.earlier_wall_s + start.elapsed().as_secs_f64(),
            best_episode: outcome.best_episode,
            best_test: None,
            float_test: None,
            tested: Vec::new(),
        };
        if outcome.is_complete {
            if let Some(best) = outcome.best_episode {
                let (float, best) =
                    self.prepared.session.test(&outcome.records[best as usize].policy)?;
                (result.float_test, result.best_test) = (Some(float), Some(best));
            }
            for policy in comparisons(&outcome, &self.plan) {
                let (_, quality) = self.prepared.session.test(&policy)?;
                result.tested.push((policy, quality));
            }
            result.wall_s = self.earlier_wall_s + start.elapsed().as_secs_f64();
        }
        store.finish(id, &result)?;
        Ok(result)
    }
}

/// What the answer is compared with on the test split: 8/8, and the uniform policies that are no
/// dearer than the budgets allow, or than the answer where there is none.
fn comparisons(outcome: &Outcome, plan: &Plan) -> Vec<BitwidthPolicy> {
    let Some(best) = outcome.best_episode else { return Vec::new() };
    let best = &outcome.records[best as usize];
    let own = [Budget { kind: plan.objective, limit: best.cost.get(plan.objective) }];
    let budgets = if plan.budgets.is_empty() { &own[..] } else { &plan.budgets };
    let eight_bit = plan.space.nearest_uniform(LayerBits::EIGHT);
    let measure = plan.request.measure;
    let quality = |record: &EpisodeRecord| measure.of(&record.quality).unwrap_or(f64::NAN);
    let mut references: Vec<&EpisodeRecord> = outcome
        .records
        .iter()
        .filter(|record| record.kind == EpisodeKind::Reference && record.policy != best.policy)
        .filter(|record| Budget::all_met(budgets, &record.cost) && record.policy != eight_bit)
        .collect();
    references.sort_by(|a, b| quality(b).total_cmp(&quality(a)));
    let uniform = references.first().map(|record| record.policy.clone());
    [Some(eight_bit), uniform].into_iter().flatten().filter(|p| *p != best.policy).collect()
}

fn unchanged(run: RunId, what: &'static str, was: &str, is: &str) -> Result<(), RunnerError> {
    if was == is {
        return Ok(());
    }
    Err(RunnerError::Changed { run, what, was: was.to_owned(), is: is.to_owned() })
}

fn describe(plan: &Plan, prepared: &Prepared) -> RunDescription {
    let request = &plan.request;
    let config = RunConfig {
        request: request.clone(),
        workload: plan.workload.clone(),
        images: prepared.images,
        data_digest: prepared.data_digest.clone(),
        haq_version: env!("CARGO_PKG_VERSION").into(),
        choices: plan.space.layers().to_vec(),
    };
    RunDescription {
        model: plan.model.name.clone(),
        model_digest: plan.model.digest.clone(),
        data: inputs::data_name(request.data.as_deref()),
        profile: plan.device_name(),
        strategy: request.strategy,
        measure: request.measure,
        seed: request.seed,
        episodes_planned: request.episodes,
        batch: plan.batch,
        budget_requests: request.budgets.clone(),
        budgets: plan.budgets.clone(),
        objective: plan.objective,
        layers: plan.layer_descriptions(),
        float_quality: prepared.session.float_quality(),
        eight_bit_cost: plan.eight_bit_cost,
        config: serde_json::to_value(config).expect("a configuration is plain data"),
    }
}
