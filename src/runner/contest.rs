//! Strategies and devices beside each other: each over several seeds, on one calibrated network,
//! with the policies that were judged and the sensitivities shared.
//!
//! Every entry is an ordinary run. What a contest has done is what the database holds: begun
//! again with the same request, it takes completed runs as they are and goes on with the others.

use std::{rc::Rc, time::Instant};

use crate::{
    domain::{EpisodeRecord, RunId, RunResult, RunState, Strategy},
    quantization::EvaluationSettings,
    runner::{
        Runner, RunnerError, config::RunConfig, inputs, model::load_model, prepared::Prepared,
        shared_sensitivities::measure_ahead,
    },
    search::{Model, Plan, SearchRequest, Verdict},
    store::{BlockingStore, RunQuery, RunSummary},
};

/// Who competes.
#[derive(Debug, Clone, PartialEq)]
pub struct ContestRequest {
    /// What all runs on a device have in common, one for each device, at least one. They differ
    /// in nothing but profile and batch; their seed is the first.
    pub searches: Vec<SearchRequest>,
    /// At least one.
    pub strategies: Vec<Strategy>,
    /// Seeds, counted from the first, of every strategy that draws.
    pub repeats: u32,
    /// Leaves out a strategy that cannot search this, such as one that needs a budget where there
    /// is none; else that is an error.
    pub may_leave_out: bool,
    /// Runs again what the database has already.
    pub again: bool,
}

/// One run of a contest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// Which of the searches.
    device: usize,
    strategy: Strategy,
    seed: u64,
}

/// What happens during a contest.
pub enum ContestEvent<'a> {
    /// A run begins, or goes on.
    Starts {
        place: Place,
        runner: &'a Runner<'a>,
    },
    /// A run was completed before.
    Known {
        place: Place,
        run: RunId,
    },
    Episode {
        record: &'a EpisodeRecord,
        is_new_best: bool,
    },
    Ends {
        run: RunId,
        result: &'a RunResult,
    },
}

/// Which run of how many, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub number: usize,
    pub of: usize,
}

/// What came of a contest.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// In the order of entries; those that were not reached are missing.
    pub runs: Vec<RunId>,
    pub is_complete: bool,
}

/// A contest with everything in place.
pub struct Contest<'a> {
    store: &'a BlockingStore,
    request: ContestRequest,
    model: Model,
    prepared: Rc<Prepared>,
    /// Strategies that cannot search this, and why.
    left_out: Vec<(Strategy, String)>,
    /// Seconds that sensitivities took; next to none where they were known or nobody needs them.
    sensitivities_s: f64,
    /// Runs the database had before, when they are not taken.
    newest_before: RunId,
}

impl<'a> Contest<'a> {
    /// Calibrates once, and measures sensitivities once where a strategy rests on them.
    ///
    /// # Errors
    /// When data and network do not fit, a budget cannot be reached, or each seed would train
    /// each policy in another way.
    pub fn begin(
        store: &'a BlockingStore,
        mut request: ContestRequest,
        settings: EvaluationSettings,
    ) -> Result<Self, RunnerError> {
        let search = request.searches.first().expect("a contest has a device");
        if request.repeats > 1 && search.episode_finetune > 0 {
            return Err(RunnerError::ContestTrains);
        }
        let model = load_model(search.into())?;
        let left_out = leave_out(&mut request, &model)?;
        let (strategy, seed) = (request.strategies[0], request.searches[0].seed);
        let plan = plan_of(&request, model.clone(), Entry { device: 0, strategy, seed })?;
        let prepared = Rc::new(Prepared::new(&plan, settings)?);
        let newest = RunQuery { descending: true, limit: Some(1), ..RunQuery::default() };
        let newest_before = store.list(&newest)?.first().map_or(0, |run| run.run);
        let sensitivities_s = 0.0;
        Ok(Self { store, request, model, prepared, left_out, sensitivities_s, newest_before })
    }

    /// Runs in all.
    pub fn n_runs(&self) -> usize {
        entries(&self.request).len()
    }

    /// Strategies that cannot search this, and why.
    pub fn left_out(&self) -> &[(Strategy, String)] {
        &self.left_out
    }

    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// Seconds that measuring sensitivities took, once [`Contest::execute`] did.
    pub fn sensitivities_s(&self) -> f64 {
        self.sensitivities_s
    }

    /// Runs what is missing. `observer` hears of every episode after it was committed.
    ///
    /// # Errors
    /// What was committed stays; a run that failed is marked so.
    pub fn execute(
        &mut self,
        observer: &mut dyn FnMut(ContestEvent<'_>) -> Verdict,
    ) -> Result<Finished, RunnerError> {
        let entries = entries(&self.request);
        let mut runs = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let place = Place { number: index + 1, of: entries.len() };
            let plan = plan_of(&self.request, self.model.clone(), *entry)?;
            let earlier = self.earlier(&plan)?;
            if let Some(run) = earlier.as_ref().filter(|run| run.state == RunState::Completed) {
                self.prepared.remember(&self.store.episodes(run.run)?);
                runs.push(run.run);
                if observer(ContestEvent::Known { place, run: run.run }) == Verdict::Stop {
                    return Ok(Finished { runs, is_complete: place.number == place.of });
                }
                continue;
            }
            let start = Instant::now();
            measure_ahead(self.store, &plan, &self.prepared.session)?;
            self.sensitivities_s += start.elapsed().as_secs_f64();
            let prepared = Rc::clone(&self.prepared);
            let runner = match earlier {
                Some(run) => Runner::resume_with(self.store, run.run, plan, prepared)?,
                None => Runner::begin_with(self.store, plan, prepared)?,
            };
            let id = runner.id();
            runs.push(id);
            let mut verdict = observer(ContestEvent::Starts { place, runner: &runner });
            let result = runner.execute(&mut |record, is_new_best| {
                verdict = observer(ContestEvent::Episode { record, is_new_best });
                verdict
            })?;
            observer(ContestEvent::Ends { run: id, result: &result });
            if result.state != RunState::Completed || verdict == Verdict::Stop {
                let is_complete = result.state == RunState::Completed && place.number == place.of;
                return Ok(Finished { runs, is_complete });
            }
        }
        Ok(Finished { runs, is_complete: true })
    }

    /// The run that was asked the same before: a completed one, or else the newest.
    fn earlier(&self, plan: &Plan) -> Result<Option<RunSummary>, RunnerError> {
        let query = RunQuery {
            profile: Some(plan.device_name()),
            strategy: Some(plan.request.strategy),
            descending: true,
            ..RunQuery::default()
        };
        let key = self.prepared.evaluation_key(plan);
        let mut found: Option<RunSummary> = None;
        for summary in self.store.list(&query)? {
            let taken = !self.request.again || summary.run > self.newest_before;
            let alike = summary.seed == plan.request.seed
                && summary.episodes_planned == plan.request.episodes;
            if !taken || !alike {
                continue;
            }
            let run = self.store.run(summary.run)?;
            // A run of another form or version is another run.
            let Ok(config) = RunConfig::of(run.id, &run.description) else { continue };
            let asked =
                SearchRequest { split_seed: Some(config.request.images_seed()), ..config.request };
            let same = run.evaluation_key == key
                && asked == plan.request
                && config.haq_version == env!("CARGO_PKG_VERSION");
            if same && summary.state == RunState::Completed {
                return Ok(Some(summary));
            }
            if same && found.is_none() {
                found = Some(summary);
            }
        }
        Ok(found)
    }
}

/// Takes the strategies out that cannot search on every device, before anything runs.
fn leave_out(
    request: &mut ContestRequest,
    model: &Model,
) -> Result<Vec<(Strategy, String)>, RunnerError> {
    let (mut stay, mut left_out, mut first_error) = (Vec::new(), Vec::new(), None);
    for &strategy in &request.strategies {
        let on = |(device, search): (usize, &SearchRequest)| {
            plan_of(request, model.clone(), Entry { device, strategy, seed: search.seed }).map(drop)
        };
        match request.searches.iter().enumerate().try_for_each(on) {
            Ok(()) => stay.push(strategy),
            Err(error) if request.may_leave_out => {
                left_out.push((strategy, error.to_string()));
                first_error.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    match first_error {
        Some(error) if stay.is_empty() => Err(error),
        _ => {
            request.strategies = stay;
            Ok(left_out)
        }
    }
}

/// On every device every strategy with the first seed, then those that draw with the next, and so
/// on: what is interrupted has compared all of them on some seeds.
fn entries(request: &ContestRequest) -> Vec<Entry> {
    let mut entries = Vec::new();
    for repeat in 0..request.repeats {
        for (device, search) in request.searches.iter().enumerate() {
            let seed = search.seed.wrapping_add(repeat.into());
            let strategies = request.strategies.iter();
            let compete = strategies.filter(|strategy| repeat == 0 || strategy.draws());
            entries.extend(compete.map(|&strategy| Entry { device, strategy, seed }));
        }
    }
    entries
}

/// The plan of one entry: its own strategy and seed, the same images as all.
fn plan_of(request: &ContestRequest, model: Model, entry: Entry) -> Result<Plan, RunnerError> {
    let search = &request.searches[entry.device];
    let request = SearchRequest {
        strategy: entry.strategy,
        seed: entry.seed,
        split_seed: Some(search.images_seed()),
        ..search.clone()
    };
    inputs::plan(request, model)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(strategies: &[Strategy], repeats: u32, n_devices: usize) -> ContestRequest {
        let search: SearchRequest = serde_json::from_value(serde_json::json!({
            "model": null, "data": null, "profile_toml": "", "profile_origin": "",
            "strategy": "ddpg", "measure": "top1", "budgets": [], "episodes": 5, "seed": 7,
            "weight_bits": null, "activation_bits": null, "pins": "none",
            "method": crate::quantization::Method::default(), "batch": null,
            "calibration_images": null, "search_images": null, "test_images": null,
            "preprocessing": {},
        }))
        .unwrap();
        ContestRequest {
            searches: vec![search; n_devices],
            strategies: strategies.to_vec(),
            repeats,
            may_leave_out: false,
            again: false,
        }
    }

    #[test]
    fn strategies_that_draw_get_every_seed_and_the_others_one() {
        let strategies = [Strategy::Ilp, Strategy::Random];
        let shown: Vec<(usize, &str, u64)> = entries(&request(&strategies, 2, 2))
            .iter()
            .map(|entry| (entry.device, entry.strategy.word(), entry.seed))
            .collect();
        assert_eq!(
            shown,
            [
                (0, "ilp", 7),
                (0, "random", 7),
                (1, "ilp", 7),
                (1, "random", 7),
                (0, "random", 8),
                (1, "random", 8),
            ]
        );
        assert_eq!(entries(&request(&Strategy::ALL, 1, 1)).len(), Strategy::ALL.len());
    }
}
