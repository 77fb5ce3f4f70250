//! The loop: propose, project, evaluate, reward, learn; one episode after the other, or a round of
//! them whose evaluations do not wait for each other.

use std::{collections::HashMap, ops::Range, time::Instant};

use crate::{
    domain::{
        BitwidthPolicy, Budget, Cost, CostKind, EpisodeKind, EpisodeRecord, Measure, Quality,
    },
    search::{
        best::{Preference, best_episode},
        error::SearchError,
        events::{Listener, SearchEvent, Verdict},
        limits::{Limits, share_of},
        projection::{cheapest, project},
        proposer::{EpisodeContext, Judgement, Proposal, Proposer, ProposerState},
        reward::{loss, reward},
        space::SearchSpace,
    },
};

/// Bitwidths → quality. One forward pass of the search images, or a closure in a test.
pub trait PolicyEvaluator {
    fn evaluate(&self, policy: &BitwidthPolicy) -> Result<Quality, SearchError>;

    /// The same for as long as the policy may still be better than `rival`, which was judged
    /// on all images.
    fn race(
        &self,
        policy: &BitwidthPolicy,
        _rival: &BitwidthPolicy,
        _measure: Measure,
    ) -> Result<Judged, SearchError> {
        Ok(Judged { quality: self.evaluate(policy)?, stopped_after_images: None })
    }

    /// Judges policies that do not wait for each other, each as if alone; in their order.
    fn judge_all(&self, trials: &[Trial], measure: Measure) -> Result<Vec<Judged>, SearchError> {
        let judge = |trial: &Trial| match &trial.rival {
            Some(rival) => self.race(&trial.policy, rival, measure),
            None => Ok(Judged::on_all_images(self.evaluate(&trial.policy)?)),
        };
        trials.iter().map(judge).collect()
    }

    /// What the policy is known to reach already, such as from another run on the same images.
    fn known(&self, _policy: &BitwidthPolicy) -> Option<Quality> {
        None
    }
}

/// A policy to be judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    pub policy: BitwidthPolicy,
    /// Judged on all images before; the policy is judged for as long as it may be better.
    pub rival: Option<BitwidthPolicy>,
}

/// What judging a policy gave; see [`EpisodeRecord`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    pub quality: Quality,
    pub stopped_after_images: Option<u32>,
}

/// Bitwidths → cost. The simulator, or a closure in a test.
pub trait PolicyCost {
    fn cost(&self, policy: &BitwidthPolicy) -> Cost;
}

impl<F: Fn(&BitwidthPolicy) -> Cost> PolicyCost for F {
    fn cost(&self, policy: &BitwidthPolicy) -> Cost {
        self(policy)
    }
}

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
    /// Episodes that are proposed before the first of them is judged, at least 1.
    pub round: u32,
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
}

/// How many of a run's records lie before the round that is in work: with the state that was
/// reported with the last of them, the round can be proposed again.
///
/// - `n_references`: policies tried first for comparison
pub fn n_settled(n_records: usize, n_references: usize, round: u32) -> usize {
    let round = round.max(1) as usize;
    let n_proposals = n_records.saturating_sub(n_references);
    n_records - n_proposals % round
}

/// Runs references and proposals that `outcome` does not hold yet.
///
/// - `references`: policies tried first for comparison; they need not meet the budgets
/// - `episodes`: proposals in all
/// - `outcome`: empty, or what an earlier part of the same run found; `proposer` then is in the
///   state that was reported with the last of its [`n_settled`] records, and here witnesses those.
///   A round that was interrupted is proposed again, and what was judged of it is taken as it was
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
    let mut search = Search::new(problem, outcome);
    let round = problem.round.max(1) as usize;
    let n_records = search.outcome.records.len();
    let n_settled = n_settled(n_records, references.len(), problem.round);
    for record in &search.outcome.records[..n_settled] {
        proposer.witness(&problem.judgement(record));
    }
    // An episode's time begins where the one before was judged: what was learned from that counts.
    let mut start = Instant::now();
    for policies in references.get(n_records..).unwrap_or_default().chunks(round) {
        let as_it_is = |policy: &BitwidthPolicy| Candidate {
            proposed: policy.clone(),
            kind: EpisodeKind::Reference,
            trial: Trial { policy: policy.clone(), rival: None },
        };
        let records = search.judge(policies.iter().map(as_it_is).collect(), start)?;
        start = Instant::now();
        let mut verdict = Verdict::GoOn;
        for record in records {
            proposer.witness(&problem.judgement(&record));
            verdict = verdict.and(search.keep(record, &proposer.state(), true, listener)?);
        }
        if verdict == Verdict::Stop {
            return Ok(search.outcome);
        }
    }
    let mut first = n_settled.saturating_sub(references.len()) as u32;
    while first < episodes {
        let last = first.saturating_add(problem.round.max(1)).min(episodes);
        let n_before = references.len() + first as usize;
        let candidates = search.propose(proposer, first..last, n_before)?;
        first = last;
        let n_proposed = candidates.len();
        let is_over = n_proposed < round;
        let taken = search.take_up(n_before, &candidates)?;
        let records = search.judge(candidates.into_iter().skip(taken).collect(), start)?;
        start = Instant::now();
        for record in &search.outcome.records[n_before..] {
            proposer.learn(&problem.judgement(record))?;
            // What it added to its memory is kept already.
            proposer.state();
        }
        let (n_new, mut verdict) = (records.len(), Verdict::GoOn);
        for (index, record) in records.into_iter().enumerate() {
            proposer.learn(&problem.judgement(&record))?;
            let ends_round = index + 1 == n_new;
            verdict = verdict.and(search.keep(record, &proposer.state(), ends_round, listener)?);
        }
        if verdict == Verdict::Stop {
            return Ok(search.outcome);
        }
        if is_over {
            break;
        }
    }
    search.outcome.is_complete = true;
    Ok(search.outcome)
}

/// A proposal on its way to be judged.
struct Candidate {
    proposed: BitwidthPolicy,
    kind: EpisodeKind,
    /// What is executed of it.
    trial: Trial,
}

impl Judged {
    fn on_all_images(quality: Quality) -> Self {
        Self { quality, stopped_after_images: None }
    }
}

impl Problem<'_> {
    /// What became of the policy of an episode.
    pub fn judgement<'r>(&self, record: &'r EpisodeRecord) -> Judgement<'r> {
        let float = self.measure.of(&self.float_quality).unwrap_or(f64::NAN);
        let loss = loss(&record.quality, self.measure, float);
        Judgement { executed: &record.policy, reward: record.reward, loss }
    }
}

struct Search<'a> {
    problem: &'a Problem<'a>,
    limits: Limits,
    way_out: BitwidthPolicy,
    known: HashMap<String, Judged>,
    outcome: Outcome,
}

impl<'a> Search<'a> {
    fn new(problem: &'a Problem<'a>, outcome: Outcome) -> Self {
        let cost = |policy: &BitwidthPolicy| problem.cost.cost(policy);
        let limits = Limits::of(problem.space, &cost, problem.budgets, problem.objective);
        let way_out = cheapest(problem.space, &limits.at(0.0), &cost);
        let judged = |record: &EpisodeRecord| Judged {
            quality: record.quality,
            stopped_after_images: record.stopped_after_images,
        };
        let known = outcome.records.iter().map(|r| (r.policy.key(), judged(r))).collect();
        Self { problem, limits, way_out, known, outcome }
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

    /// The round of these proposals.
    ///
    /// - `n_before`: records before it
    fn propose(
        &self,
        proposer: &mut dyn Proposer,
        round: Range<u32>,
        n_before: usize,
    ) -> Result<Vec<Candidate>, SearchError> {
        let mut candidates = Vec::new();
        for proposal_index in round {
            let share = share_of(proposal_index.into());
            let budgets = self.limits.at(share);
            let context =
                EpisodeContext { proposal_index, budget_share: share as f32, budgets: &budgets };
            let Some(Proposal { policy: proposed, kind }) = proposer.propose(&context)? else {
                break;
            };
            let policy = self.enforce(proposed.clone(), &budgets);
            let races = proposer.races() && kind == EpisodeKind::Proposal;
            let rival = if races { self.rival(&policy, n_before) } else { None };
            candidates.push(Candidate { proposed, kind, trial: Trial { policy, rival } });
        }
        Ok(candidates)
    }

    /// How many of a round an earlier part of the run judged.
    fn take_up(&self, n_before: usize, candidates: &[Candidate]) -> Result<usize, SearchError> {
        let judged = self.outcome.records.get(n_before..).unwrap_or_default();
        let is_same = |(record, candidate): (&EpisodeRecord, &Candidate)| {
            record.proposed == candidate.proposed && record.policy == candidate.trial.policy
        };
        if judged.len() > candidates.len() || !judged.iter().zip(candidates).all(is_same) {
            return Err(SearchError::Resume(format!(
                "the round after episode {n_before} is not proposed as it was before"
            )));
        }
        Ok(judged.len())
    }

    /// - `start`: when work on them began
    fn judge(
        &mut self,
        candidates: Vec<Candidate>,
        start: Instant,
    ) -> Result<Vec<EpisodeRecord>, SearchError> {
        let Problem { evaluator, measure, .. } = *self.problem;
        let mut trials: Vec<Trial> = Vec::new();
        let mut from_cache = Vec::new();
        for Candidate { trial, .. } in &candidates {
            let key = trial.policy.key();
            // A race may end otherwise than the whole evaluation that another run made: what this
            // run finds must not hang on what others did.
            if let (None, None, Some(quality)) =
                (self.known.get(&key), &trial.rival, evaluator.known(&trial.policy))
            {
                self.known.insert(key.clone(), Judged::on_all_images(quality));
            }
            let is_tried = trials.iter().any(|tried| tried.policy == trial.policy);
            from_cache.push(is_tried || self.known.contains_key(&key));
            if from_cache.last() == Some(&false) {
                trials.push(trial.clone());
            }
        }
        if !trials.is_empty() {
            let judged = evaluator.judge_all(&trials, measure)?;
            self.known.extend(trials.iter().map(|trial| trial.policy.key()).zip(judged));
        }
        self.outcome.evaluations += trials.len() as u32;
        let wall_s = start.elapsed().as_secs_f64() / candidates.len().max(1) as f64;
        let value = |quality: &Quality| measure.of(quality).unwrap_or(f64::NAN);
        let first_index = self.outcome.records.len();
        let numbered = candidates.into_iter().zip(from_cache).enumerate();
        let record = |(offset, (candidate, from_cache)): (usize, (Candidate, bool))| {
            let policy = candidate.trial.policy;
            let Judged { quality, stopped_after_images } = self.known[&policy.key()];
            EpisodeRecord {
                index: (first_index + offset) as u32,
                kind: candidate.kind,
                proposed: candidate.proposed,
                cost: self.problem.cost.cost(&policy),
                policy,
                reward: reward(value(&quality), value(&self.problem.float_quality)),
                quality,
                stopped_after_images,
                from_cache,
                wall_s,
            }
        };
        Ok(numbered.map(record).collect())
    }

    fn keep(
        &mut self,
        record: EpisodeRecord,
        state: &ProposerState,
        ends_round: bool,
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
        listener(SearchEvent::Episode { record, state, is_new_best, ends_round })
            .map_err(|reason| SearchError::NotKept { episode: index, reason })
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
