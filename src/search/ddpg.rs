//! The agent as a proposer: it decides layer by layer and learns at the end of the episode.
//!
//! Source: HAQ, section 3. We differ in what is remembered: where the budget lowered a width,
//! the transition holds the executed action, not the one that was overruled; and in that the first
//! episodes can be given. As in the paper every transition of an episode carries the final
//! reward.

use haq_agent::{
    Ddpg, DdpgConfig, Transition,
    checkpoint::{decode_transitions, encode_transitions},
};

use crate::{
    domain::{BitwidthPolicy, EpisodeKind},
    search::{
        action::{action_of_bits, bits_of_action},
        error::SearchError,
        observation::Observer,
        proposer::{EpisodeContext, Judgement, Proposal, Proposer, ProposerState, executed_action},
        space::SearchSpace,
    },
};

/// Proposes with a DDPG agent.
pub struct DdpgProposer {
    space: SearchSpace,
    observer: Observer,
    agent: Ddpg,
    /// What was seen and done in the episode that waits for its judgement.
    trajectory: Vec<(Vec<f32>, f32)>,
    /// Transitions of the last episode, as the agent writes them.
    last_memory: Vec<u8>,
    /// Policies proposed first, for the agent to learn from.
    starts: Vec<BitwidthPolicy>,
}

impl DdpgProposer {
    /// # Errors
    /// When a hyper-parameter is out of range.
    pub fn new(
        space: SearchSpace,
        observer: Observer,
        config: DdpgConfig,
        seed: u64,
    ) -> Result<Self, SearchError> {
        let agent = Ddpg::new(config, observer.n_features(), seed).map_err(agent_error)?;
        Ok(Self::with_agent(space, observer, agent))
    }

    fn with_agent(space: SearchSpace, observer: Observer, agent: Ddpg) -> Self {
        let (trajectory, last_memory, starts) = (Vec::new(), Vec::new(), Vec::new());
        Self { space, observer, agent, trajectory, last_memory, starts }
    }

    /// Proposes these policies in the first episodes, instead of random ones.
    #[must_use]
    pub fn with_starts(mut self, starts: Vec<BitwidthPolicy>) -> Self {
        self.starts = starts;
        self
    }

    /// Goes on from what [`Proposer::state`] gave: the last state, and all memory parts in order.
    ///
    /// # Errors
    /// When the parts are damaged or from another configuration.
    pub fn restore(
        space: SearchSpace,
        observer: Observer,
        config: DdpgConfig,
        state: &[u8],
        memory: &[Vec<u8>],
    ) -> Result<Self, SearchError> {
        let damaged = |error: haq_agent::CheckpointError| SearchError::Resume(error.to_string());
        let mut transitions = Vec::new();
        for part in memory.iter().filter(|part| !part.is_empty()) {
            transitions.extend(decode_transitions(part).map_err(damaged)?);
        }
        let agent = Ddpg::resume(config, state, transitions).map_err(damaged)?;
        Ok(Self::with_agent(space, observer, agent))
    }
}

fn agent_error(error: impl std::fmt::Display) -> SearchError {
    SearchError::Agent(error.to_string())
}

impl Proposer for DdpgProposer {
    fn propose(&mut self, context: &EpisodeContext) -> Result<Option<Proposal>, SearchError> {
        let start = self.starts.get(context.proposal_index as usize).cloned();
        let is_warm_up = self.agent.is_warming_up();
        let mut policy = self.space.widest();
        let mut previous_width = 1.0;
        self.trajectory.clear();
        for &decision in self.space.decisions() {
            let observation = self.observer.observe(decision, previous_width, context.budget_share);
            let widths = self.space.widths(decision);
            let action = match &start {
                Some(start) => action_of_bits(self.space.get(start, decision), widths),
                None => self.agent.explore(&observation),
            };
            let bits = bits_of_action(action, widths);
            let widest = widths[widths.len() - 1];
            previous_width = f32::from(bits.get()) / f32::from(widest.get());
            self.space.set(&mut policy, decision, bits);
            self.trajectory.push((observation, action));
        }
        let kind = match (start, is_warm_up) {
            (Some(_), _) => EpisodeKind::Start,
            (None, true) => EpisodeKind::WarmUp,
            (None, false) => EpisodeKind::Proposal,
        };
        Ok(Some(Proposal { policy, kind }))
    }

    fn learn(&mut self, judgement: &Judgement<'_>) -> Result<(), SearchError> {
        let transitions = self.transitions(judgement.executed, judgement.reward as f32);
        self.last_memory = encode_transitions(transitions.iter());
        for transition in transitions {
            self.agent.observe(transition).map_err(agent_error)?;
        }
        let report = self.agent.end_episode().map_err(agent_error)?;
        tracing::debug!(
            episode.index = report.episode,
            updates = report.updates,
            sigma = report.sigma,
            baseline = report.baseline,
            "the agent learned"
        );
        Ok(())
    }

    fn state(&mut self) -> ProposerState {
        ProposerState { state: self.agent.state(), memory: std::mem::take(&mut self.last_memory) }
    }
}

impl DdpgProposer {
    fn transitions(&self, executed: &BitwidthPolicy, reward: f32) -> Vec<Transition> {
        let last = self.trajectory.len().saturating_sub(1);
        let steps = self.trajectory.iter().zip(self.space.decisions()).enumerate();
        steps
            .map(|(index, ((observation, action), &decision))| Transition {
                observation: observation.clone(),
                action: executed_action(&self.space, decision, *action, executed),
                reward,
                next_observation: self.trajectory[(index + 1).min(last)].0.clone(),
                not_done: index != last,
            })
            .collect()
    }
}

/// The paper's agent, its replay as long as the released code's: 128 episodes.
pub fn agent_config(space: &SearchSpace) -> DdpgConfig {
    let replay_capacity = 128 * space.decisions().len().max(1);
    DdpgConfig { replay_capacity, ..DdpgConfig::default() }
}
