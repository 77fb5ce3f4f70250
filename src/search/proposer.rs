//! Who proposes the next policy: the seam between the search loop and its strategies.

use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{BitwidthPolicy, Budget, EpisodeKind},
    search::{action::bits_of_action, error::SearchError, space::SearchSpace},
};

/// What a proposer is told of the episode it proposes for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpisodeContext<'a> {
    /// Counts proposals from 0; reference policies are not among them.
    pub proposal_index: u32,
    /// Where the episode's budget lies between the cheapest policy (0) and the 8/8 policy (1).
    pub budget_share: f32,
    /// The budgets that hold in the episode.
    pub budgets: &'a [Budget],
    /// What was proposed and is not judged yet, the oldest first.
    pub in_flight: &'a [BitwidthPolicy],
}

/// A policy to be projected and judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    pub policy: BitwidthPolicy,
    pub kind: EpisodeKind,
    /// What an agent did in each decision, for proposers that learn from that and not from the bits
    /// it led to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<f32>,
}

impl Proposal {
    pub fn new(policy: BitwidthPolicy, kind: EpisodeKind) -> Self {
        Self { policy, kind, actions: Vec::new() }
    }
}

/// What became of a proposal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement<'a> {
    /// The policy that was evaluated.
    pub executed: &'a BitwidthPolicy,
    pub reward: f64,
    /// What rounding costs, as [`crate::search::reward::loss`] gives it.
    pub loss: f64,
}

/// What a resumed search needs of a proposer, apart from its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProposerState {
    /// Replaces the one before; empty for a proposer that remembers nothing.
    pub state: Vec<u8>,
    /// What the last episode added to its memory; all such parts in order make the memory.
    pub memory: Vec<u8>,
}

/// Proposes policies one episode after the other and may learn from what became of them.
///
/// Several proposals may be in flight at once and be judged in any order: whoever asks keeps them.
/// Equal seeds and equal judgements, heard after equally many proposals, give equal proposals.
pub trait Proposer {
    /// The next policy; `None` when there is nothing left to propose.
    fn propose(&mut self, context: &EpisodeContext<'_>) -> Result<Option<Proposal>, SearchError>;

    /// Hears what became of a proposal, exactly once for each.
    ///
    /// - `_context`: what it was made in; what was in flight then is not told again
    fn learn(
        &mut self,
        _context: &EpisodeContext<'_>,
        _proposal: &Proposal,
        _judgement: &Judgement<'_>,
    ) -> Result<(), SearchError> {
        Ok(())
    }

    /// Hears of a policy it did not propose, or had proposed before the run was resumed; in the
    /// order in which they were judged.
    fn witness(&mut self, _: &Judgement<'_>) {}

    /// Whether what it proposes need not be judged on all images once it is beyond doubt that it
    /// is not the best: what it then learns is foretold.
    fn races(&self) -> bool {
        false
    }

    /// What is needed to go on after the last judgement that was heard, beside the proposals that
    /// are in flight.
    fn state(&mut self) -> ProposerState;
}

/// A generator for one purpose and index of a run, so that no draw depends on how many were
/// made before elsewhere.
pub fn stream(seed: u64, name: &str, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // FNV-1a: any fixed map from names to streams does.
    let name = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    rng.set_stream(name);
    let mut indexed = ChaCha8Rng::seed_from_u64(rng.next_u64());
    indexed.set_stream(index);
    indexed
}

/// A number from the standard normal distribution (Box and Muller).
pub fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (radius, angle) = (1.0 - rng.random::<f64>(), rng.random::<f64>());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// Draws every width evenly.
pub struct RandomProposer {
    space: SearchSpace,
    seed: u64,
}

impl RandomProposer {
    pub fn new(space: SearchSpace, seed: u64) -> Self {
        Self { space, seed }
    }
}

impl Proposer for RandomProposer {
    fn propose(&mut self, context: &EpisodeContext<'_>) -> Result<Option<Proposal>, SearchError> {
        let mut rng = stream(self.seed, "random", context.proposal_index.into());
        let mut policy = self.space.widest();
        for &decision in self.space.decisions() {
            let bits = bits_of_action(rng.random::<f32>(), self.space.widths(decision));
            self.space.set(&mut policy, decision, bits);
        }
        Ok(Some(Proposal::new(policy, EpisodeKind::Proposal)))
    }

    fn state(&mut self) -> ProposerState {
        ProposerState::default()
    }
}

/// Gives the policies of a list, one after the other.
pub struct ListProposer {
    policies: Vec<BitwidthPolicy>,
}

impl ListProposer {
    pub fn new(policies: Vec<BitwidthPolicy>) -> Self {
        Self { policies }
    }
}

impl Proposer for ListProposer {
    fn propose(&mut self, context: &EpisodeContext<'_>) -> Result<Option<Proposal>, SearchError> {
        let policy = self.policies.get(context.proposal_index as usize).cloned();
        Ok(policy.map(|policy| Proposal::new(policy, EpisodeKind::Proposal)))
    }

    fn state(&mut self) -> ProposerState {
        ProposerState::default()
    }
}

#[cfg(test)]
#[path = "proposer_contract.rs"]
mod contract;
