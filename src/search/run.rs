//! The loop: propose, project, evaluate, reward, learn; in rounds (`rounds.rs`) or with so many
//! policies in flight (`arrivals.rs`).

use std::{collections::HashMap, time::Instant};

use serde::{Deserialize, Serialize};

use crate::{
    domain::{BitwidthPolicy, Budget, CostKind, EpisodeKind, EpisodeRecord, Measure, Quality},
    search::{
        best::{Preference, best_episode},
        error::SearchError,
        evaluator::{Judged, PolicyCost, PolicyEvaluator, Trial},
        events::{Listener, SearchEvent, Verdict},
        limits::{Limits, share_of},
        pace::Pace,
        projection::{cheapest, project},
        proposer::{EpisodeContext, Judgement, Proposal, Proposer, ProposerState},
        reward::{loss, reward},
        space::SearchSpace,
    },
};

/// What is searched.
pub struct Problem<'a> {
    pub space: &'a SearchSpace,
    pub evaluator: &'a dyn PolicyEvaluator,
    pub cost: &'a dyn PolicyCost,
    /// Limits that hold in every episode. Empty: each episode gets a limit on `objective` of its
    /// own, from the whole range.
    pub budgets: &'a [Budget],
    pub objective: CostKind,
    pub measure: Measure,
    /// Of the float network on the search images.
    pub float_quality: Quality,
    /// Images that each policy is judged on.
    pub n_images: usize,
    pub pace: Pace,
}

/// How a search stands after some episodes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    pub records: Vec<EpisodeRecord>,
    /// Forward passes; the other episodes repeated a policy.
    pub evaluations: u32,
    pub best_episode: Option<u32>,
    /// Whether all planned episodes were run.
    pub is_complete: bool,
    /// Proposed and not judged yet when the last record was kept.
    pub in_flight: Vec<InFlight>,
}

/// Runs references and proposals that `outcome` does not hold yet.
///
/// - `references`: policies tried first for comparison; they need not meet the budgets
/// - `episodes`: proposals in all
/// - `outcome`: empty, or what an earlier part of the same run found; `proposer` then is in the
///   state that was reported with the last of its settled records ([`Pace::n_settled`]), and here
///   witnesses those. A round that was interrupted is proposed again, and what was judged of it is
///   taken as it was; what was in flight goes on
///
/// # Errors
/// When an evaluation fails or the listener cannot keep an episode. What was found before stays
/// with the listener.
pub fn run(
    problem: &Problem<'_>,
    references: &[BitwidthPolicy],
    proposer: &mut dyn Proposer,
    episodes: u32,
    outcome: Outcome,
    listener: Listener<'_>,
) -> Result<Outcome, SearchError> {
    let mut search = Search::new(problem, references.len(), outcome);
    search.outcome.is_complete = match search.play(references, proposer, episodes, listener) {
        Err(SearchError::Stopped) => false,
        played => played?,
    };
    Ok(search.outcome)
}

/// A policy on its way to be judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InFlight {
    /// None for a reference.
    pub proposal_index: Option<u32>,
    pub proposal: Proposal,
    /// What is executed of it.
    pub trial: Trial,
}

impl Problem<'_> {
    /// What became of the policy of an episode.
    pub fn judgement<'r>(&self, record: &'r EpisodeRecord) -> Judgement<'r> {
        let float = self.measure.of(&self.float_quality).unwrap_or(f64::NAN);
        let loss = loss(&record.quality, self.measure, float);
        Judgement { executed: &record.policy, reward: record.reward, loss }
    }
}

/// A search in work.
pub(super) struct Search<'a> {
    pub problem: &'a Problem<'a>,
    pub n_references: usize,
    limits: Limits,
    way_out: BitwidthPolicy,
    /// By policy.
    pub known: HashMap<String, Judged>,
    pub outcome: Outcome,
    /// When the last policies were judged: an episode's time begins there, for what was learned
    /// from them counts.
    pub since: Instant,
}

impl<'a> Search<'a> {
    fn new(problem: &'a Problem<'a>, n_references: usize, outcome: Outcome) -> Self {
        let cost = |policy: &BitwidthPolicy| problem.cost.cost(policy);
        let limits = Limits::of(problem.space, &cost, problem.budgets, problem.objective);
        let way_out = cheapest(problem.space, &limits.at(0.0), &cost);
        let judged = |record: &EpisodeRecord| Judged {
            quality: record.quality,
            stopped_after_images: record.stopped_after_images,
            by: None,
        };
        let known = outcome.records.iter().map(|r| (r.policy.key(), judged(r))).collect();
        let since = Instant::now();
        Self { problem, n_references, limits, way_out, known, outcome, since }
    }

    /// Plays what is missing; false where that was stopped.
    fn play(
        &mut self,
        references: &[BitwidthPolicy],
        proposer: &mut dyn Proposer,
        episodes: u32,
        listener: Listener<'_>,
    ) -> Result<bool, SearchError> {
        let pace = self.problem.pace;
        let n_tried = self.outcome.records.len();
        let n_settled = pace.n_settled(n_tried, references.len());
        for record in &self.outcome.records[..n_settled] {
            proposer.witness(&self.problem.judgement(record));
        }
        let missing = references.get(n_tried..).unwrap_or_default();
        if !self.try_references(missing, proposer, listener)? {
            return Ok(false);
        }
        match pace {
            Pace::Rounds(_) => {
                let first = n_settled.saturating_sub(references.len()) as u32;
                self.play_rounds(proposer, first, episodes, listener)
            }
            Pace::Arrivals(_) => self.play_arrivals(proposer, episodes, listener),
        }
    }

    /// Judges policies as they are, for comparison; false where the listener wants to stop.
    fn try_references(
        &mut self,
        references: &[BitwidthPolicy],
        proposer: &mut dyn Proposer,
        listener: Listener<'_>,
    ) -> Result<bool, SearchError> {
        let as_it_is = |policy: &BitwidthPolicy| InFlight {
            proposal_index: None,
            proposal: Proposal::new(policy.clone(), EpisodeKind::Reference),
            trial: Trial { policy: policy.clone(), rival: None },
        };
        let candidates: Vec<InFlight> = references.iter().map(as_it_is).collect();
        let width = self.problem.pace.width() as usize;
        for (index, candidate) in candidates.iter().enumerate() {
            let last = (index + width).min(candidates.len());
            let record = self.judge_first(&candidates[index..last])?;
            self.hear(proposer, candidate, &record)?;
            if self.keep(record, &proposer.state(), true, &[], listener)? == Verdict::Stop {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The policy lowered until it meets the budgets.
    fn enforce(&self, policy: BitwidthPolicy, budgets: &[Budget]) -> BitwidthPolicy {
        let cost = |policy: &BitwidthPolicy| self.problem.cost.cost(policy);
        project(self.problem.space, policy, budgets, &self.way_out, &cost)
    }

    /// The policy with the least loss of those that meet the budgets or, over a range, cost no
    /// more.
    ///
    /// - `n_before`: records that count
    fn rival(&self, executed: &BitwidthPolicy, n_before: usize) -> Option<BitwidthPolicy> {
        let Problem { budgets, objective, cost, .. } = *self.problem;
        let own_cost = cost.cost(executed).get(objective);
        let competes = |record: &&EpisodeRecord| match budgets {
            [] => record.cost.get(objective) <= own_cost,
            budgets => Budget::all_met(budgets, &record.cost),
        };
        let loss = |record: &&EpisodeRecord| self.problem.judgement(record).loss;
        let records = self.outcome.records[..n_before].iter();
        let whole = records.filter(|record| record.is_whole());
        let competing = whole.filter(competes).filter(|record| loss(record).is_finite());
        let rival = competing.min_by(|a, b| loss(a).total_cmp(&loss(b)));
        rival.map(|record| record.policy.clone())
    }

    /// The next policy to be judged, if there is one.
    ///
    /// - `in_flight`: proposed and not judged yet
    /// - `n_before`: records that it may race
    pub fn propose(
        &self,
        proposer: &mut dyn Proposer,
        proposal_index: u32,
        in_flight: &[InFlight],
        n_before: usize,
    ) -> Result<Option<InFlight>, SearchError> {
        let share = share_of(proposal_index.into());
        let budgets = self.limits.at(share);
        let waiting: Vec<_> = in_flight.iter().map(|other| other.proposal.policy.clone()).collect();
        let proposal = proposer.propose(&EpisodeContext {
            proposal_index,
            budget_share: share as f32,
            budgets: &budgets,
            in_flight: &waiting,
        })?;
        Ok(proposal.map(|proposal| {
            let policy = self.enforce(proposal.policy.clone(), &budgets);
            let races = proposer.races() && proposal.kind == EpisodeKind::Proposal;
            let rival = if races { self.rival(&policy, n_before) } else { None };
            let trial = Trial { policy, rival };
            InFlight { proposal_index: Some(proposal_index), proposal, trial }
        }))
    }

    /// Tells the proposer what became of a policy.
    pub fn hear(
        &self,
        proposer: &mut dyn Proposer,
        candidate: &InFlight,
        record: &EpisodeRecord,
    ) -> Result<(), SearchError> {
        let judgement = self.problem.judgement(record);
        let Some(proposal_index) = candidate.proposal_index else {
            proposer.witness(&judgement);
            return Ok(());
        };
        let share = share_of(proposal_index.into());
        let context = EpisodeContext {
            proposal_index,
            budget_share: share as f32,
            budgets: &self.limits.at(share),
            in_flight: &[],
        };
        proposer.learn(&context, &candidate.proposal, &judgement)
    }

    /// What is known of a policy, from this run or another.
    pub fn look_up(&mut self, trial: &Trial) -> Option<Judged> {
        let key = trial.policy.key();
        // A race may end otherwise than the whole evaluation that another run made: what this
        // run finds must not hang on what others did.
        if let (None, None, Some(quality)) =
            (self.known.get(&key), &trial.rival, self.problem.evaluator.known(&trial.policy))
        {
            self.known.insert(key.clone(), Judged::on_all_images(quality));
        }
        self.known.get(&key).cloned()
    }

    /// Those whose policies have to be judged, equal ones once.
    pub fn unknown(&mut self, candidates: &[InFlight]) -> Vec<Trial> {
        let mut trials: Vec<Trial> = Vec::new();
        for InFlight { trial, .. } in candidates {
            let is_tried = trials.iter().any(|tried| tried.policy == trial.policy);
            if !is_tried && self.look_up(trial).is_none() {
                trials.push(trial.clone());
            }
        }
        trials
    }

    /// Judges the first of them; the others are next.
    pub fn judge_first(&mut self, candidates: &[InFlight]) -> Result<EpisodeRecord, SearchError> {
        let trial = &candidates[0].trial;
        let known = self.look_up(trial);
        let from_cache = known.is_some();
        let judged = match known {
            Some(judged) => judged,
            None => {
                let trials = self.unknown(candidates);
                let judged = self.problem.evaluator.judge_first(&trials, self.problem.measure)?;
                self.outcome.evaluations += 1;
                self.known.insert(trial.policy.key(), judged.clone());
                judged
            }
        };
        Ok(self.record(&candidates[0], judged, from_cache))
    }

    /// The next episode, which took all the time since the one before.
    pub fn record(
        &mut self,
        candidate: &InFlight,
        judged: Judged,
        from_cache: bool,
    ) -> EpisodeRecord {
        let wall_s = self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        let Problem { measure, float_quality, cost, .. } = self.problem;
        let value = |quality: &Quality| measure.of(quality).unwrap_or(f64::NAN);
        let InFlight { proposal_index, proposal, trial } = candidate.clone();
        EpisodeRecord {
            index: self.outcome.records.len() as u32,
            proposal_index,
            kind: proposal.kind,
            proposed: proposal.policy,
            cost: cost.cost(&trial.policy),
            policy: trial.policy,
            reward: reward(value(&judged.quality), value(float_quality)),
            quality: judged.quality,
            stopped_after_images: judged.stopped_after_images,
            from_cache,
            wall_s,
            judged_by: judged.by.filter(|_| !from_cache),
        }
    }

    /// - `ends_round`: whether `state` is of any use to a run that goes on from here
    /// - `in_flight`: what is still on its way
    pub fn keep(
        &mut self,
        record: EpisodeRecord,
        state: &ProposerState,
        ends_round: bool,
        in_flight: &[InFlight],
        listener: &mut dyn FnMut(SearchEvent<'_>) -> Result<Verdict, String>,
    ) -> Result<Verdict, SearchError> {
        let index = record.index;
        self.outcome.records.push(record);
        let problem = self.problem;
        let preference = Preference {
            budgets: problem.budgets,
            objective: problem.objective,
            measure: problem.measure,
            float_quality: problem.measure.of(&problem.float_quality).unwrap_or(f64::NAN),
            n_images: problem.n_images,
        };
        self.outcome.best_episode = best_episode(&self.outcome.records, &preference);
        let is_new_best = self.outcome.best_episode == Some(index);
        let record = &self.outcome.records[index as usize];
        listener(SearchEvent::Episode { record, state, is_new_best, ends_round, in_flight })
            .map_err(|reason| SearchError::NotKept { episode: index, reason })
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
