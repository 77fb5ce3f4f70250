//! The paper's rules, seen through the search loop with a made-up network.

use haq_agent::{Transition, checkpoint::decode_transitions};

use super::HaqProposer;
use crate::{
    domain::{
        Bits, BitwidthPolicy, Budget, Cost, CostKind, EpisodeKind, EpisodeRecord, Layer, Measure,
        Quality,
    },
    search::{
        action::bits_of_action,
        error::SearchError,
        evaluator::PolicyEvaluator,
        events::{SearchEvent, Verdict},
        pace::Pace,
        proposer::ProposerState,
        run::{Outcome, Problem, run},
        space::{SearchSpace, tests::layer},
    },
};

const ALL: [u8; 7] = [2, 3, 4, 5, 6, 7, 8];

fn layers(n: usize) -> Vec<Layer> {
    (0..n as u64).map(|i| Layer::linear(format!("layer{i}"), 16 + 8 * i, 24 + 8 * i)).collect()
}

/// Five layers, first and last pinned.
fn space(activation: &[u8]) -> SearchSpace {
    let free = |index| layer(index, &ALL, activation);
    let pinned = |index| layer(index, &[8], &[8]);
    SearchSpace::new(vec![pinned(0), free(1), free(2), free(3), pinned(4)]).unwrap()
}

/// Every bit of every layer costs one second.
fn cost(policy: &BitwidthPolicy) -> Cost {
    let bits = |bits: Bits| u64::from(bits.get());
    let total: u64 = policy.layers().iter().map(|l| bits(l.weight) + bits(l.activation)).sum();
    Cost { latency_s: total as f64, energy_j: 0.0, size_bytes: total, peak_memory_bytes: 0 }
}

/// The more bits, the better.
struct Bitwise;

impl PolicyEvaluator for Bitwise {
    fn evaluate(&self, policy: &BitwidthPolicy) -> Result<Quality, SearchError> {
        Ok(Quality { top1: Some(cost(policy).latency_s / 100.0), ..Quality::default() })
    }
}

struct Episode {
    record: EpisodeRecord,
    state: ProposerState,
}

impl Episode {
    fn remembered(&self) -> Vec<Transition> {
        decode_transitions(&self.state.memory).unwrap()
    }
}

/// Goes on after `before` for so many episodes in all, under a limit that halves the bits.
fn play(space: &SearchSpace, before: &[Episode], episodes: u32) -> Vec<Episode> {
    let layers = layers(space.layers().len());
    let mut proposer = match before.last() {
        None => HaqProposer::new(space.clone(), &layers, 5).unwrap(),
        Some(last) => {
            let memory: Vec<Vec<u8>> = before.iter().map(|e| e.state.memory.clone()).collect();
            HaqProposer::restore(space.clone(), &layers, &last.state.state, &memory).unwrap()
        }
    };
    let budgets = [Budget { kind: CostKind::Latency, limit: limit(space) }];
    let problem = Problem {
        pace: Pace::Rounds(1),
        space,
        evaluator: &Bitwise,
        cost: &cost,
        budgets: &budgets,
        objective: CostKind::Latency,
        measure: Measure::Top1,
        float_quality: Quality { top1: Some(1.0), ..Quality::default() },
        n_images: 100,
    };
    let records = before.iter().map(|episode| episode.record.clone()).collect();
    let mut played = Vec::new();
    let mut listener = |event: SearchEvent<'_>| {
        let SearchEvent::Episode { record, state, .. } = event;
        played.push(Episode { record: record.clone(), state: state.clone() });
        Ok(Verdict::GoOn)
    };
    let outcome = Outcome { records, ..Outcome::default() };
    run(&problem, &[], &mut proposer, episodes, outcome, &mut listener).unwrap();
    played
}

fn limit(space: &SearchSpace) -> f64 {
    (cost(&space.widest()).latency_s + cost(&space.narrowest()).latency_s) / 2.0
}

#[test]
fn every_episode_is_repaired_from_the_back_and_only_as_far_as_it_must() {
    let space = space(&ALL);
    let limit = limit(&space);
    let mut repaired = 0;
    for Episode { record, .. } in play(&space, &[], 60) {
        let (proposed, executed) = (cost(&record.proposed).latency_s, record.cost.latency_s);
        // One bit costs one, so a repair ends exactly at the limit.
        assert_eq!(executed, proposed.min(limit));
        let lost = |index: usize| {
            let (before, after) = (record.proposed.layers()[index], record.policy.layers()[index]);
            [
                before.activation.get() - after.activation.get(),
                before.weight.get() - after.weight.get(),
            ]
        };
        assert_eq!([lost(0), lost(4)], [[0, 0]; 2], "pinned layers stay");
        repaired += u32::from(proposed > limit);
        // In order of the sweep, as long as nothing has reached two bits.
        let sweep: Vec<u8> = (1..4).rev().flat_map(lost).collect();
        if record.policy.layers().iter().all(|bits| bits.weight.min(bits.activation).get() > 2) {
            assert!(sweep.windows(2).all(|w| w[0] == w[1] || w[0] == w[1] + 1), "{sweep:?}");
            assert!(sweep[0] - sweep[5] <= 1, "{sweep:?}");
        }
    }
    assert!(repaired > 5, "{repaired} policies needed it");
}

#[test]
fn the_agent_remembers_its_own_actions_and_one_reward_for_all() {
    let space = space(&ALL);
    let mut overruled = 0;
    for episode in play(&space, &[], 30) {
        let record = &episode.record;
        let remembered = episode.remembered();
        assert_eq!(remembered.len(), space.decisions().len());
        let reward = 10.0 * (record.quality.top1.unwrap() - 1.0);
        for (index, (step, &decision)) in remembered.iter().zip(space.decisions()).enumerate() {
            let bits = bits_of_action(step.action, space.widths(decision));
            assert_eq!(bits, space.get(&record.proposed, decision));
            overruled += u32::from(bits != space.get(&record.policy, decision));
            assert!((f64::from(step.reward) - reward).abs() < 1e-5);
            assert_eq!(step.not_done, index + 1 < remembered.len());
            if step.not_done {
                assert_eq!(step.next_observation, remembered[index + 1].observation);
            }
        }
    }
    assert!(overruled > 20, "{overruled} actions were overruled by the budget");
}

#[test]
fn exactly_twenty_episodes_are_random() {
    let kinds: Vec<EpisodeKind> =
        play(&space(&ALL), &[], 24).iter().map(|episode| episode.record.kind).collect();
    assert!(kinds[..20].iter().all(|kind| *kind == EpisodeKind::WarmUp), "{kinds:?}");
    assert!(kinds[20..].iter().all(|kind| *kind == EpisodeKind::Proposal), "{kinds:?}");
}

#[test]
fn an_observation_is_ten_numbers_or_nine_for_weights_alone() {
    for (activation, expected, decisions) in [(&ALL[..], 10, 6), (&[8], 9, 3)] {
        let space = space(activation);
        let remembered = play(&space, &[], 1)[0].remembered();
        assert_eq!(remembered.len(), decisions);
        for step in &remembered {
            assert_eq!(step.observation.len(), expected);
            assert!(step.observation.iter().all(|value| (0.0..=1.0).contains(value)));
        }
        let [first, second] = [&remembered[0], &remembered[1]];
        assert_eq!(first.observation[expected - 1], 1.0, "nothing was chosen before");
        let bits = bits_of_action(first.action, space.widths(space.decisions()[0]));
        assert_eq!(second.observation[expected - 1], f32::from(bits.get()) / 8.0);
        if expected == 10 {
            assert_eq!([first.observation[8], second.observation[8]], [1.0, 0.0], "the flag");
        }
    }
}

#[test]
fn a_search_goes_on_bit_for_bit() {
    let space = space(&ALL);
    let whole = play(&space, &[], 28);
    for n in [5, 20, 25] {
        let resumed = play(&space, &whole[..n], 28);
        assert_eq!(resumed.len(), 28 - n);
        for (resumed, expected) in resumed.iter().zip(&whole[n..]) {
            assert_eq!(resumed.record.proposed, expected.record.proposed, "after {n}");
            assert_eq!(resumed.state, expected.state, "after {n}");
        }
    }
}

#[test]
fn damaged_memory_is_refused() {
    let space = space(&ALL);
    let whole = play(&space, &[], 2);
    let state = &whole[1].state.state;
    let restore = |state: &[u8], memory: &[Vec<u8>]| {
        HaqProposer::restore(space.clone(), &layers(5), state, memory)
    };
    let memory: Vec<Vec<u8>> = whole.iter().map(|episode| episode.state.memory.clone()).collect();
    assert!(restore(state, &memory).is_ok());
    for (state, memory) in [(&state[..10], &memory[..]), (state, &memory[..1]), (b"", &memory)] {
        assert!(matches!(restore(state, memory), Err(SearchError::Resume(_))));
    }
}
