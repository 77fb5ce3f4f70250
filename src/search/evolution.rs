//! Regularized evolution: the oldest policy dies, the best of a few makes the next.
//!
//! Source: Real et al. 2019, "Regularized evolution for image classifier architecture search",
//! algorithm 1. We add crossover of two parents, and where budgets differ between episodes
//! parents are those whose budgets lay nearest.

use std::collections::VecDeque;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{Bits, BitwidthPolicy, EpisodeKind},
    search::{
        action::bits_of_action,
        error::SearchError,
        proposer::{EpisodeContext, Judgement, Proposal, Proposer, ProposerState, stream},
        space::{Decision, SearchSpace},
    },
};

/// Policies alive at once; so many random ones come first.
const POPULATION: usize = 24;

/// Policies of which the best becomes a parent.
const TOURNAMENT: usize = 6;

/// Decisions that a child changes on average.
const MUTATIONS: f64 = 2.0;

/// One policy that was judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Member {
    policy: BitwidthPolicy,
    reward: f64,
    budget_share: f32,
}

/// Proposes children of the best policies so far.
pub struct EvolutionProposer {
    space: SearchSpace,
    seed: u64,
    /// The oldest first.
    population: VecDeque<Member>,
    /// What the last episode added, as it is stored.
    last_memory: Vec<u8>,
}

impl EvolutionProposer {
    pub fn new(space: SearchSpace, seed: u64) -> Self {
        Self { space, seed, population: VecDeque::new(), last_memory: Vec::new() }
    }

    /// Goes on from the memory parts that [`Proposer::state`] gave, in order.
    ///
    /// # Errors
    /// When a part is damaged.
    pub fn restore(space: SearchSpace, seed: u64, memory: &[Vec<u8>]) -> Result<Self, SearchError> {
        let mut proposer = Self::new(space, seed);
        for part in memory.iter().filter(|part| !part.is_empty()) {
            let member =
                serde_json::from_slice(part).map_err(|e| SearchError::Resume(e.to_string()))?;
            proposer.enter(member);
        }
        Ok(proposer)
    }

    fn enter(&mut self, member: Member) {
        self.population.push_back(member);
        if self.population.len() > POPULATION {
            self.population.pop_front();
        }
    }

    fn random(&self, rng: &mut ChaCha8Rng) -> BitwidthPolicy {
        let mut policy = self.space.widest();
        for &decision in self.space.decisions() {
            let bits = bits_of_action(rng.random::<f32>(), self.space.widths(decision));
            self.space.set(&mut policy, decision, bits);
        }
        policy
    }

    /// The best of a few drawn from the half whose budgets lie nearest.
    fn parent(&self, budget_share: f32, rng: &mut ChaCha8Rng) -> &BitwidthPolicy {
        let mut near: Vec<&Member> = self.population.iter().collect();
        let distance = |member: &Member| (member.budget_share - budget_share).abs();
        near.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
        near.truncate(POPULATION.div_ceil(2).max(TOURNAMENT));
        let drawn = (0..TOURNAMENT).map(|_| near[rng.random_range(0..near.len())]);
        let best = drawn.max_by(|a, b| a.reward.total_cmp(&b.reward));
        &best.expect("a tournament has members").policy
    }

    fn child(&self, budget_share: f32, rng: &mut ChaCha8Rng) -> BitwidthPolicy {
        let mut policy = self.parent(budget_share, rng).clone();
        let other = self.parent(budget_share, rng).clone();
        let decisions = self.space.decisions();
        let crosses = rng.random_bool(0.5);
        let rate = (MUTATIONS / decisions.len() as f64).min(1.0);
        for &decision in decisions {
            if crosses && rng.random_bool(0.5) {
                self.space.set(&mut policy, decision, self.space.get(&other, decision));
            }
            if rng.random_bool(rate) {
                let bits = self.neighbour(self.space.get(&policy, decision), decision, rng);
                self.space.set(&mut policy, decision, bits);
            }
        }
        policy
    }

    /// The next wider or narrower width.
    fn neighbour(&self, bits: Bits, decision: Decision, rng: &mut ChaCha8Rng) -> Bits {
        let widths = self.space.widths(decision);
        let at = widths.iter().position(|&width| width == bits).unwrap_or(0);
        let wider = rng.random_bool(0.5) && at + 1 < widths.len() || at == 0;
        widths[if wider { (at + 1).min(widths.len() - 1) } else { at - 1 }]
    }
}

impl Proposer for EvolutionProposer {
    fn propose(&mut self, context: &EpisodeContext<'_>) -> Result<Option<Proposal>, SearchError> {
        let mut rng = stream(self.seed, "evolution", context.proposal_index.into());
        let is_warm_up = self.population.len() < POPULATION;
        let policy = if is_warm_up {
            self.random(&mut rng)
        } else {
            self.child(context.budget_share, &mut rng)
        };
        let kind = if is_warm_up { EpisodeKind::WarmUp } else { EpisodeKind::Proposal };
        Ok(Some(Proposal::new(policy, kind)))
    }

    fn learn(
        &mut self,
        context: &EpisodeContext<'_>,
        _: &Proposal,
        judgement: &Judgement<'_>,
    ) -> Result<(), SearchError> {
        let member = Member {
            policy: judgement.executed.clone(),
            reward: judgement.reward,
            budget_share: context.budget_share,
        };
        self.last_memory = serde_json::to_vec(&member).expect("a member is plain data");
        self.enter(member);
        Ok(())
    }

    fn state(&mut self) -> ProposerState {
        ProposerState { state: Vec::new(), memory: std::mem::take(&mut self.last_memory) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::Operand, search::space::tests::layer};

    fn space() -> SearchSpace {
        let all = [2, 3, 4, 5, 6, 7, 8];
        SearchSpace::new((0..6).map(|i| layer(i, &all, &all)).collect()).unwrap()
    }

    /// Even layers want many bits, odd ones few.
    fn fitness(policy: &BitwidthPolicy) -> f64 {
        let layers = policy.layers().iter().enumerate();
        layers
            .map(|(index, bits)| {
                let sum = f64::from(bits.weight.get()) + f64::from(bits.activation.get());
                if index % 2 == 0 { sum } else { -sum }
            })
            .sum()
    }

    fn episodes(proposer: &mut EvolutionProposer, range: std::ops::Range<u32>) -> Vec<Member> {
        let play = |proposal_index| {
            let context =
                EpisodeContext { proposal_index, budget_share: 1.0, budgets: &[], in_flight: &[] };
            let proposal = proposer.propose(&context).unwrap().unwrap();
            let reward = fitness(&proposal.policy);
            let judgement = Judgement { executed: &proposal.policy, reward, loss: -reward };
            proposer.learn(&context, &proposal, &judgement).unwrap();
            Member { policy: proposal.policy, reward, budget_share: 1.0 }
        };
        range.map(play).collect()
    }

    #[test]
    fn children_become_better_than_random_policies() {
        for seed in 0..3 {
            let members = episodes(&mut EvolutionProposer::new(space(), seed), 0..300);
            let best = |part: &[Member]| part.iter().map(|m| m.reward).fold(f64::MIN, f64::max);
            assert!(best(&members[250..]) > best(&members[..POPULATION]) + 5.0, "seed {seed}");
        }
    }

    #[test]
    fn evolution_goes_on_from_its_memory_as_if_never_stopped() {
        let whole = episodes(&mut EvolutionProposer::new(space(), 7), 0..60);
        let memory: Vec<Vec<u8>> =
            whole[..40].iter().map(|member| serde_json::to_vec(member).unwrap()).collect();
        let mut resumed = EvolutionProposer::restore(space(), 7, &memory).unwrap();
        assert_eq!(episodes(&mut resumed, 40..60), whole[40..]);
        assert!(EvolutionProposer::restore(space(), 7, &[b"{".to_vec()]).is_err());
    }

    #[test]
    fn a_mutation_stays_among_the_widths() {
        let space = SearchSpace::new(vec![layer(0, &[2, 4, 8], &[8])]).unwrap();
        let proposer = EvolutionProposer::new(space.clone(), 0);
        let decision = Decision { layer: 0, operand: Operand::Weight };
        let mut rng = stream(0, "test", 0);
        for _ in 0..50 {
            for (from, allowed) in [(2, vec![4]), (4, vec![2, 8]), (8, vec![4])] {
                let next = proposer.neighbour(Bits::new(from).unwrap(), decision, &mut rng);
                assert!(allowed.contains(&next.get()), "{from} to {next}");
            }
        }
    }
}
