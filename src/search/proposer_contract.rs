//! One suite for every proposer that needs no sensitivities: what [`Proposer`] promises.

use super::*;
use crate::{
    domain::{Layer, LayerBits},
    search::{evolution::EvolutionProposer, haq::HaqProposer, space::tests::layer},
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

const PROPOSERS: [(&str, Make); 4] = [
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
];

/// Plays from after `past` to the last episode. Every judgement takes a bit from the second
/// layer's weights, as a budget would.
fn play(make: Make, past: &[ProposerState]) -> Vec<(BitwidthPolicy, ProposerState)> {
    let space = space();
    let mut proposer = make(past);
    let episode = |proposal_index: u32| {
        let context = EpisodeContext { proposal_index, budget_share: 0.5, budgets: &[] };
        let proposal = proposer.propose(&context).unwrap().unwrap();
        let decision = space.decisions()[0];
        let mut executed = proposal.policy.clone();
        space.set(&mut executed, decision, space.widths(decision)[0]);
        let bits = executed.layers().iter().map(|bits| f64::from(bits.weight.get()));
        let loss = bits.sum::<f64>();
        proposer.learn(&Judgement { executed: &executed, reward: -loss, loss }).unwrap();
        (proposal.policy, proposer.state())
    };
    (past.len() as u32..EPISODES).map(episode).collect()
}

#[test]
fn proposals_stay_inside_the_space() {
    let space = space();
    for (name, make) in PROPOSERS {
        for (policy, _) in play(make, &[]) {
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
        let whole = play(make, &[]);
        for n in [3, 22] {
            let past: Vec<ProposerState> = whole[..n].iter().map(|(_, s)| s.clone()).collect();
            assert_eq!(play(make, &past), whole[n..], "{name} after {n} episodes");
        }
    }
}
