//! Races inside the loop: who is raced against whom, and what becomes of those that lost; rounds,
//! and what is left of one that was killed.

use std::cell::{Cell, RefCell};

use super::*;
use crate::{
    domain::{Bits, Cost, LayerBits},
    search::space::tests::layer,
};

/// Proposes uniform policies, and lets them race.
struct Uniform(Vec<(EpisodeKind, u8)>);

fn uniform(bits: u8) -> BitwidthPolicy {
    let bits = Bits::new(bits).unwrap();
    BitwidthPolicy::uniform(2, LayerBits::new(bits, bits))
}

impl Proposer for Uniform {
    fn propose(&mut self, context: &EpisodeContext<'_>) -> Result<Option<Proposal>, SearchError> {
        let next = self.0.get(context.proposal_index as usize);
        Ok(next.map(|&(kind, bits)| Proposal::new(uniform(bits), kind)))
    }

    fn races(&self) -> bool {
        true
    }

    fn state(&mut self) -> ProposerState {
        ProposerState::default()
    }
}

/// Loses least with the bits that are nearest to six, stops what loses more than its rival, and
/// remembers who raced whom.
#[derive(Default)]
struct Six {
    races: RefCell<Vec<(u8, u8)>>,
}

fn bits_of(policy: &BitwidthPolicy) -> u8 {
    policy.layers()[0].weight.get()
}

impl PolicyEvaluator for Six {
    fn evaluate(&self, policy: &BitwidthPolicy) -> Result<Quality, SearchError> {
        let kl = f64::from(bits_of(policy).abs_diff(6));
        Ok(Quality { kl: Some(kl), top1: Some(1.0 - kl / 10.0), ..Quality::default() })
    }

    fn race(
        &self,
        policy: &BitwidthPolicy,
        rival: &BitwidthPolicy,
        _: Measure,
    ) -> Result<Judged, SearchError> {
        self.races.borrow_mut().push((bits_of(policy), bits_of(rival)));
        let quality = self.evaluate(policy)?;
        let loses = quality.kl > self.evaluate(rival)?.kl;
        Ok(Judged { quality, stopped_after_images: loses.then_some(25), by: None })
    }

    fn known(&self, policy: &BitwidthPolicy) -> Option<Quality> {
        (bits_of(policy) == 3).then(|| self.evaluate(policy).unwrap())
    }
}

fn played(budgets: &[Budget], proposals: Vec<(EpisodeKind, u8)>) -> (Outcome, Vec<(u8, u8)>) {
    let widths = [2, 3, 4, 5, 6, 7, 8];
    let space = SearchSpace::new((0..2).map(|i| layer(i, &widths, &widths)).collect()).unwrap();
    let evaluator = Six::default();
    let cost = |policy: &BitwidthPolicy| Cost {
        latency_s: bits_of(policy).into(),
        energy_j: 0.0,
        size_bytes: 0,
        peak_memory_bytes: 0,
    };
    let problem = Problem {
        space: &space,
        evaluator: &evaluator,
        cost: &cost,
        budgets,
        objective: CostKind::Latency,
        measure: Measure::Top1,
        float_quality: Quality { top1: Some(1.0), kl: Some(0.0), ..Quality::default() },
        n_images: 100,
        pace: Pace::Rounds(1),
    };
    let n_episodes = proposals.len() as u32;
    let mut listener = |_: SearchEvent<'_>| Ok(Verdict::GoOn);
    let outcome = run(
        &problem,
        &[uniform(8)],
        &mut Uniform(proposals),
        n_episodes,
        Outcome::default(),
        &mut listener,
    )
    .unwrap();
    (outcome, evaluator.races.into_inner())
}

#[test]
fn proposals_race_the_best_policy_within_the_budgets_and_what_loses_is_no_answer() {
    use EpisodeKind::{Proposal, Start};
    let budgets = [Budget { kind: CostKind::Latency, limit: 7.0 }];
    let proposals =
        vec![(Start, 4), (Proposal, 3), (Proposal, 7), (Proposal, 2), (Proposal, 6), (Proposal, 2)];
    let (outcome, races) = played(&budgets, proposals);
    // 8 breaks the budget; 3 is raced although another run knows it; 2 is known the second time.
    assert_eq!(races, [(3, 4), (7, 4), (2, 7), (6, 7)]);
    let stopped: Vec<u8> = outcome
        .records
        .iter()
        .filter(|record| !record.is_whole())
        .map(|record| bits_of(&record.policy))
        .collect();
    assert_eq!(stopped, [3, 2, 2]);
    let best = outcome.best_episode.unwrap() as usize;
    assert_eq!(bits_of(&outcome.records[best].policy), 6);
    assert_eq!(outcome.evaluations, 6);
}

#[test]
fn over_a_range_a_policy_races_one_that_costs_no_more() {
    let proposals = [4, 3, 5].map(|bits| (EpisodeKind::Proposal, bits)).to_vec();
    let (outcome, races) = played(&[], proposals);
    for (policy, rival) in &races {
        assert!(rival <= policy, "{races:?}");
    }
    assert!(outcome.records.iter().all(EpisodeRecord::is_whole), "none costs more and loses more");
}

/// Walks through the widths, each step as far as the sum of what was learned says; and can be
/// stopped and restored.
#[derive(Clone, Default)]
struct Walker {
    learned: u32,
}

impl Proposer for Walker {
    fn propose(&mut self, context: &EpisodeContext<'_>) -> Result<Option<Proposal>, SearchError> {
        let bits = 2 + (context.proposal_index * 3 + self.learned) % 7;
        Ok(Some(Proposal::new(uniform(bits as u8), EpisodeKind::Proposal)))
    }

    fn learn(
        &mut self,
        _: &EpisodeContext<'_>,
        _: &Proposal,
        judgement: &Judgement<'_>,
    ) -> Result<(), SearchError> {
        self.learned += u32::from(bits_of(judgement.executed));
        Ok(())
    }

    fn state(&mut self) -> ProposerState {
        ProposerState { state: self.learned.to_le_bytes().to_vec(), memory: vec![] }
    }
}

/// Answers out of order, as workers of unlike speed do: of what is in flight the one that needs
/// most bits comes first.
#[derive(Default)]
struct Overtaking {
    six: Six,
    n_judged: Cell<u32>,
}

impl PolicyEvaluator for Overtaking {
    fn evaluate(&self, policy: &BitwidthPolicy) -> Result<Quality, SearchError> {
        self.n_judged.set(self.n_judged.get() + 1);
        self.six.evaluate(policy)
    }

    fn judge_any(
        &self,
        trials: &[Trial],
        measure: Measure,
    ) -> Result<(usize, Judged), SearchError> {
        let bits = |&index: &usize| bits_of(&trials[index].policy);
        let first = (0..trials.len()).max_by_key(bits).unwrap();
        Ok((first, self.judge(&trials[first], measure)?))
    }
}

/// What a listener keeps, as a database does.
#[derive(Clone, Default)]
struct Kept {
    records: Vec<EpisodeRecord>,
    state: Vec<u8>,
    in_flight: Vec<InFlight>,
    stop_after: Option<usize>,
}

/// Plays fourteen proposals, four at a time, on top of what was kept.
fn walk(pace: Pace, mut kept: Kept) -> (Result<Outcome, SearchError>, Kept) {
    let widths = [2, 3, 4, 5, 6, 7, 8];
    let space = SearchSpace::new((0..2).map(|i| layer(i, &widths, &widths)).collect()).unwrap();
    let cost = |_: &BitwidthPolicy| Cost {
        latency_s: 1.0,
        energy_j: 0.0,
        size_bytes: 0,
        peak_memory_bytes: 0,
    };
    let problem = Problem {
        space: &space,
        evaluator: &Overtaking::default(),
        cost: &cost,
        budgets: &[],
        objective: CostKind::Latency,
        measure: Measure::Top1,
        float_quality: Quality { top1: Some(1.0), kl: Some(0.0), ..Quality::default() },
        n_images: 100,
        pace,
    };
    let learned = kept.state.try_into().map_or(0, u32::from_le_bytes);
    let mut proposer = Walker { learned };
    kept.state = learned.to_le_bytes().to_vec();
    let (records, in_flight) = (kept.records.clone(), kept.in_flight.clone());
    let outcome = Outcome { records, in_flight, ..Outcome::default() };
    let mut listener = |event: SearchEvent<'_>| {
        let SearchEvent::Episode { record, state, ends_round, in_flight, .. } = event;
        if kept.stop_after == Some(kept.records.len()) {
            return Err("killed".into());
        }
        kept.records.push(record.clone());
        if ends_round {
            kept.state = state.state.clone();
            kept.in_flight = in_flight.to_vec();
        }
        Ok(Verdict::GoOn)
    };
    let outcome =
        run(&problem, &[uniform(8), uniform(4)], &mut proposer, 14, outcome, &mut listener);
    (outcome, kept)
}

fn without_times(records: &[EpisodeRecord]) -> Vec<EpisodeRecord> {
    records.iter().map(|record| EpisodeRecord { wall_s: 0.0, ..record.clone() }).collect()
}

#[test]
fn a_search_that_is_killed_goes_on_as_if_it_had_not_been() {
    for pace in [Pace::Rounds(4), Pace::Arrivals(4)] {
        let (whole, kept) = walk(pace, Kept::default());
        let whole = without_times(&whole.unwrap().records);
        assert_eq!((whole.len(), without_times(&kept.records)), (16, whole.clone()), "{pace:?}");
        // Equal policies are judged once.
        assert!(whole.iter().any(|record| record.from_cache), "{pace:?}");
        for n_kept in 0..16 {
            let (killed, kept) = walk(pace, Kept { stop_after: Some(n_kept), ..Kept::default() });
            assert!(killed.is_err(), "{pace:?} killed after {n_kept}");
            let (resumed, _) = walk(pace, Kept { stop_after: None, ..kept });
            let resumed = without_times(&resumed.unwrap().records);
            assert_eq!(resumed, whole, "{pace:?} killed after {n_kept}");
        }
    }
}

#[test]
fn every_proposal_is_judged_once_in_whatever_order() {
    let of = |pace| walk(pace, Kept::default()).0.unwrap();
    let proposed = |outcome: &Outcome| -> Vec<u32> {
        outcome.records.iter().filter_map(|record| record.proposal_index).collect()
    };
    let in_order: Vec<u32> = (0..14).collect();
    assert_eq!(proposed(&of(Pace::Rounds(4))), in_order);
    let outcome = of(Pace::Arrivals(4));
    let mut arrived = proposed(&outcome);
    assert_ne!(arrived, in_order, "some overtake others");
    arrived.sort_unstable();
    assert_eq!(arrived, in_order);
    let n_judged = outcome.records.iter().filter(|record| !record.from_cache).count();
    assert_eq!(outcome.evaluations as usize, n_judged);
    // One in flight learns before the next is proposed, as rounds of one do.
    let [one, alone] =
        [Pace::Arrivals(1), Pace::Rounds(1)].map(|pace| without_times(&of(pace).records));
    assert_eq!(one, alone);
}

#[test]
fn a_round_that_is_proposed_otherwise_than_before_is_refused() {
    let (_, mut kept) = walk(Pace::Rounds(4), Kept { stop_after: Some(5), ..Kept::default() });
    kept.records[4].proposed = uniform(if bits_of(&kept.records[4].proposed) == 2 { 3 } else { 2 });
    let (resumed, _) = walk(Pace::Rounds(4), Kept { stop_after: None, ..kept });
    assert!(matches!(resumed, Err(SearchError::Resume(_))), "{resumed:?}");
}
