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
    /// What was on its way when it was judged, with its number.
    in_flight: Vec<(u32, Proposal)>,
}

fn judgement(executed: &BitwidthPolicy) -> Judgement<'_> {
    let bits: f64 = executed.layers().iter().map(|bits| f64::from(bits.weight.get())).sum();
    Judgement { executed, reward: -bits, loss: 1.0 / bits }
}

/// How many proposals are judged at a time, and which of them comes first.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// All of a round, in their order.
    Rounds(u32),
    /// So many are in flight, and they overtake each other.
    Arrivals(u32),
}

fn context<'a>(
    proposal_index: u32,
    budgets: &'a [Budget],
    in_flight: &'a [BitwidthPolicy],
) -> EpisodeContext<'a> {
    EpisodeContext { proposal_index, budget_share: 0.5, budgets, in_flight }
}

/// Plays from after `past` to the last episode. Every judgement takes a bit from the second layer's
/// weights, as a budget would.
fn play_in(order: Order, make: Make, past: &[Played]) -> Vec<Played> {
    let space = space();
    let states: Vec<ProposerState> = past.iter().map(|played| played.state.clone()).collect();
    let mut proposer = make(&states);
    past.iter().for_each(|played| proposer.witness(&judgement(&played.executed)));
    let budgets = budgets();
    let mut in_flight = past.last().map_or_else(Vec::new, |played| played.in_flight.clone());
    let mut next = (past.len() + in_flight.len()) as u32;
    let mut played = Vec::new();
    while past.len() + played.len() < EPISODES as usize {
        let (Order::Rounds(width) | Order::Arrivals(width)) = order;
        let may_propose = matches!(order, Order::Arrivals(_)) || in_flight.is_empty();
        while may_propose && in_flight.len() < width as usize && next < EPISODES {
            let waiting: Vec<_> = in_flight
                .iter()
                .map(|(_, proposal): &(u32, Proposal)| proposal.policy.clone())
                .collect();
            in_flight.push((
                next,
                proposer.propose(&context(next, &budgets, &waiting)).unwrap().unwrap(),
            ));
            next += 1;
        }
        let first = match order {
            Order::Rounds(_) => 0,
            Order::Arrivals(_) => (past.len() + played.len()) * 7 % in_flight.len(),
        };
        let (index, proposal) = in_flight.remove(first);
        let decision = space.decisions()[0];
        let mut executed = proposal.policy.clone();
        space.set(&mut executed, decision, space.widths(decision)[0]);
        proposer.learn(&context(index, &budgets, &[]), &proposal, &judgement(&executed)).unwrap();
        let (proposed, state) = (proposal.policy, proposer.state());
        played.push(Played { proposed, executed, state, in_flight: in_flight.clone() });
    }
    played
}

fn play(make: Make, past: &[Played]) -> Vec<Played> {
    play_in(Order::Rounds(1), make, past)
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
    let orders =
        [(Order::Rounds(1), [3, 22]), (Order::Rounds(4), [4, 20]), (Order::Arrivals(4), [1, 21])];
    for (name, make) in PROPOSERS {
        for (order, stops) in orders {
            let whole = play_in(order, make, &[]);
            for n in stops {
                let goes_on = play_in(order, make, &whole[..n]);
                assert!(goes_on == whole[n..], "{name} after {n} episodes, {order:?}");
            }
        }
    }
}

#[test]
fn what_ddpg_has_in_flight_is_not_proposed_again() {
    let (_, make) = PROPOSERS[4];
    let keys = |proposals: &mut dyn Iterator<Item = &BitwidthPolicy>| {
        let mut keys: Vec<String> = proposals.map(BitwidthPolicy::key).collect();
        keys.sort();
        keys
    };
    for round in play_in(Order::Rounds(6), make, &[]).chunks(6) {
        let mut unique = keys(&mut round.iter().map(|played| &played.proposed));
        unique.dedup();
        assert_eq!(unique.len(), round.len());
    }
    for played in play_in(Order::Arrivals(6), make, &[]) {
        let mut unique = keys(&mut played.in_flight.iter().map(|(_, proposal)| &proposal.policy));
        unique.dedup();
        assert_eq!(unique.len(), played.in_flight.len());
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
