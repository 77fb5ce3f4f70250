//! The loop: propose, project, evaluate, reward, learn; one episode after the other.

use std::{collections::HashMap, time::Instant};

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

    /// What the policy is known to reach already, such as from another run on the same images.
    fn known(&self, _policy: &BitwidthPolicy) -> Option<Quality> {
        None
    }
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

/// Runs references and proposals that `outcome` does not hold yet.
///
/// - `references`: policies tried first for comparison; they need not meet the budgets
/// - `episodes`: proposals in all
/// - `outcome`: empty, or what an earlier part of the same run found; `proposer` then is in the
///   state that was reported with its last episode, and here witnesses all of them
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
    for record in &search.outcome.records {
        proposer.witness(&problem.judgement(record));
    }
    // An episode's time begins where the one before was judged: what was learned from that counts.
    let mut start = Instant::now();
    for policy in references.iter().skip(search.outcome.records.len()) {
        let proposal = Proposal { policy: policy.clone(), kind: EpisodeKind::Reference };
        let record = search.judge(proposal, policy.clone(), None, start)?;
        proposer.witness(&problem.judgement(&record));
        start = Instant::now();
        if search.keep(record, &proposer.state(), listener)? == Verdict::Stop {
            return Ok(search.outcome);
        }
    }
    let done = search.outcome.records.len().saturating_sub(references.len()) as u32;
    for proposal_index in done..episodes {
        let share = share_of(proposal_index.into());
        let budgets = search.limits.at(share);
        let context =
            EpisodeContext { proposal_index, budget_share: share as f32, budgets: &budgets };
        let Some(proposal) = proposer.propose(&context)? else { break };
        let executed = search.enforce(proposal.policy.clone(), &budgets);
        let races = proposer.races() && proposal.kind == EpisodeKind::Proposal;
        let rival = if races { search.rival(&executed) } else { None };
        let record = search.judge(proposal, executed, rival, start)?;
        start = Instant::now();
        proposer.learn(&problem.judgement(&record))?;
        if search.keep(record, &proposer.state(), listener)? == Verdict::Stop {
            return Ok(search.outcome);
        }
    }
    search.outcome.is_complete = true;
    Ok(search.outcome)
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
    fn rival(&self, executed: &BitwidthPolicy) -> Option<BitwidthPolicy> {
        let Problem { budgets, objective, cost, .. } = *self.problem;
        let own_cost = cost.cost(executed).get(objective);
        let competes = |record: &&EpisodeRecord| match budgets {
            [] => record.cost.get(objective) <= own_cost,
            budgets => Budget::all_met(budgets, &record.cost),
        };
        let loss = |record: &&EpisodeRecord| self.problem.judgement(record).loss;
        let whole = self.outcome.records.iter().filter(|record| record.is_whole());
        let competing = whole.filter(competes).filter(|record| loss(record).is_finite());
        let rival = competing.min_by(|a, b| loss(a).total_cmp(&loss(b)));
        rival.map(|record| record.policy.clone())
    }

    fn judge(
        &mut self,
        proposal: Proposal,
        executed: BitwidthPolicy,
        rival: Option<BitwidthPolicy>,
        start: Instant,
    ) -> Result<EpisodeRecord, SearchError> {
        let Problem { evaluator, measure, .. } = *self.problem;
        let key = executed.key();
        // A race may end otherwise than the whole evaluation that another run made: what this run
        // finds must not hang on what others did.
        let elsewhere = || match rival {
            Some(_) => None,
            None => evaluator.known(&executed).map(Judged::on_all_images),
        };
        let known = self.known.get(&key).copied().or_else(elsewhere);
        let judged = match (known, &rival) {
            (Some(judged), _) => judged,
            (None, Some(rival)) => evaluator.race(&executed, rival, measure)?,
            (None, None) => Judged::on_all_images(evaluator.evaluate(&executed)?),
        };
        self.outcome.evaluations += u32::from(known.is_none());
        self.known.insert(key, judged);
        let Judged { quality, stopped_after_images } = judged;
        let value = |quality: &Quality| measure.of(quality).unwrap_or(f64::NAN);
        Ok(EpisodeRecord {
            index: self.outcome.records.len() as u32,
            kind: proposal.kind,
            proposed: proposal.policy,
            cost: self.problem.cost.cost(&executed),
            policy: executed,
            reward: reward(value(&quality), value(&self.problem.float_quality)),
            quality,
            stopped_after_images,
            from_cache: known.is_some(),
            wall_s: start.elapsed().as_secs_f64(),
        })
    }

    fn keep(
        &mut self,
        record: EpisodeRecord,
        state: &ProposerState,
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
        listener(SearchEvent::Episode { record, state, is_new_best })
            .map_err(|reason| SearchError::NotKept { episode: index, reason })
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
