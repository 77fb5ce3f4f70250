//! One suite for every proposer: what [`Proposer`] promises.

use super::*;
use crate::{
    domain::{Cost, CostKind, Layer, LayerBits},
    search::{
        ddpg::{DdpgInputs, DdpgProposer},
        evolution::EvolutionProposer,
        haq::HaqProposer,
        limits::Limits,
        loss_table::LossTable,
        space::tests::layer,
    },
};

const SEED: u64 = 3;
/// Past the warm-up of those that have one.
const EPISODES: u32 = 26;

fn layers() -> Vec<Layer> {
    (0..4).map(|i| Layer::linear(format!("layer{i}"), 8 + i, 16 - i)).collect()
}

/// Four layers: one pinned, two that read one tensor.
fn space() -> SearchSpace {
    let all = [2, 3, 4, 5, 6, 7, 8];
    let mut sharing = layer(2, &[2, 4, 8], &all);
    sharing.tensor_owner = 1;
    SearchSpace::new(vec![
        layer(0, &[8], &[8]),
        layer(1, &all, &all),
        sharing,
        layer(3, &all, &[8]),
    ])
    .unwrap()
}

/// A proposer with this past: what it was after each episode.
type Make = fn(&[ProposerState]) -> Box<dyn Proposer>;

fn memory(past: &[ProposerState]) -> Vec<Vec<u8>> {
    past.iter().map(|state| state.memory.clone()).collect()
}

fn list() -> Vec<BitwidthPolicy> {
    let bits = |bits| LayerBits::new(bits, bits);
    let widths = (2..=8).filter_map(crate::domain::Bits::new);
    widths.cycle().take(EPISODES as usize).map(|b| space().nearest_uniform(bits(b))).collect()
}

const PROPOSERS: [(&str, Make); 5] = [
    ("random", |_| Box::new(RandomProposer::new(space(), SEED))),
    ("list", |_| Box::new(ListProposer::new(list()))),
    ("evolution", |past| {
        Box::new(EvolutionProposer::restore(space(), SEED, &memory(past)).unwrap())
    }),
    ("haq", |past| match past.last() {
        None => Box::new(HaqProposer::new(space(), &layers(), SEED).unwrap()),
        Some(last) => {
            let memory = memory(past);
            Box::new(HaqProposer::restore(space(), &layers(), &last.state, &memory).unwrap())
        }
    }),
    ("ddpg", |past| {
        let proposer = match past.last() {
            None => DdpgProposer::new(ddpg_inputs()),
            Some(last) => DdpgProposer::restore(ddpg_inputs(), &last.state, &memory(past)),
        };
        Box::new(proposer.unwrap())
    }),
];

/// Bits cost and lose as much in every layer.
fn ddpg_inputs() -> DdpgInputs<'static> {
    static LAYERS: std::sync::LazyLock<Vec<Layer>> = std::sync::LazyLock::new(layers);
    let space = space();
    let mut losses = LossTable::new(4);
    for &decision in space.decisions() {
        for &bits in space.widths(decision) {
            losses.set(decision, bits, 0.25f64.powi(bits.get().into()));
        }
    }
    DdpgInputs {
        cost: Box::new(cost),
        limits: Limits::Fixed(budgets()),
        layers: &LAYERS,
        losses,
        starts: vec![space.narrowest()],
        episodes: EPISODES,
        seed: SEED,
        space,
    }
}

fn cost(policy: &BitwidthPolicy) -> Cost {
    let layers = policy.layers().iter();
    let bits = layers.map(|l| u64::from(l.weight.get()) + u64::from(l.activation.get()));
    Cost { latency_s: 0.0, energy_j: 0.0, size_bytes: bits.sum(), peak_memory_bytes: 0 }
}

fn budgets() -> Vec<Budget> {
    vec![Budget { kind: CostKind::Size, limit: 44.0 }]
}

/// What one episode left behind.
#[derive(Debug, Clone, PartialEq)]
struct Played {
    proposed: BitwidthPolicy,
    executed: BitwidthPolicy,
    state: ProposerState,
}

fn judgement(executed: &BitwidthPolicy) -> Judgement<'_> {
    let bits: f64 = executed.layers().iter().map(|bits| f64::from(bits.weight.get())).sum();
    Judgement { executed, reward: -bits, loss: 1.0 / bits }
}

/// Plays from after `past` to the last episode, so many at a time. Every judgement takes a bit from
/// the second layer's weights, as a budget would.
fn play_in_rounds(make: Make, past: &[Played], round: u32) -> Vec<Played> {
    let space = space();
    let states: Vec<ProposerState> = past.iter().map(|played| played.state.clone()).collect();
    let mut proposer = make(&states);
    past.iter().for_each(|played| proposer.witness(&judgement(&played.executed)));
    let budgets = budgets();
    let mut played = Vec::new();
    for first in (past.len() as u32..EPISODES).step_by(round as usize) {
        let propose = |proposal_index| {
            let context = EpisodeContext { proposal_index, budget_share: 0.5, budgets: &budgets };
            proposer.propose(&context).unwrap().unwrap().policy
        };
        let proposals: Vec<_> = (first..(first + round).min(EPISODES)).map(propose).collect();
        for proposed in proposals {
            let decision = space.decisions()[0];
            let mut executed = proposed.clone();
            space.set(&mut executed, decision, space.widths(decision)[0]);
            proposer.learn(&judgement(&executed)).unwrap();
            played.push(Played { proposed, executed, state: proposer.state() });
        }
    }
    played
}

fn play(make: Make, past: &[Played]) -> Vec<Played> {
    play_in_rounds(make, past, 1)
}

#[test]
fn proposals_stay_inside_the_space() {
    let space = space();
    for (name, make) in PROPOSERS {
        for Played { proposed: policy, .. } in play(make, &[]) {
            let allowed = policy.layers().iter().zip(space.layers()).all(|(bits, choices)| {
                choices.weight.contains(&bits.weight)
                    && choices.activation.contains(&bits.activation)
            });
            assert!(allowed, "{name}: {}", policy.key());
            let shared = [policy.layers()[1].activation, policy.layers()[2].activation];
            assert_eq!(shared[0], shared[1], "{name}: one tensor has one width");
        }
    }
}

#[test]
fn equal_seeds_and_judgements_give_equal_proposals() {
    for (name, make) in PROPOSERS {
        assert_eq!(play(make, &[]), play(make, &[]), "{name}");
    }
}

#[test]
fn a_restored_proposer_goes_on_as_if_never_stopped() {
    for (name, make) in PROPOSERS {
        for (round, stops) in [(1, [3, 22]), (4, [4, 20])] {
            let whole = play_in_rounds(make, &[], round);
            for n in stops {
                let goes_on = play_in_rounds(make, &whole[..n], round);
                assert_eq!(goes_on, whole[n..], "{name} after {n} episodes, {round} at a time");
            }
        }
    }
}

#[test]
fn what_ddpg_has_in_flight_is_not_proposed_again() {
    let (_, make) = PROPOSERS[4];
    let played = play_in_rounds(make, &[], 6);
    for round in played.chunks(6) {
        let mut policies: Vec<String> = round.iter().map(|played| played.proposed.key()).collect();
        policies.sort();
        policies.dedup();
        assert_eq!(policies.len(), round.len());
    }
}

#[test]
fn what_ddpg_proposes_after_its_starts_meets_the_budgets_and_was_not_judged_before() {
    let (_, make) = PROPOSERS[4];
    let played = play(make, &[]);
    for (index, Played { proposed, .. }) in played.iter().enumerate().skip(1) {
        assert!(Budget::all_met(&budgets(), &cost(proposed)), "{}", proposed.key());
        let earlier = &played[..index];
        assert!(earlier.iter().all(|played| played.executed != *proposed), "{}", proposed.key());
    }
}
