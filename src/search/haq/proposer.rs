//! The paper's agent as a proposer.

use haq_agent::{Ddpg, DdpgConfig, Transition, checkpoint::encode_transitions};

use crate::{
    domain::{BitwidthPolicy, EpisodeKind, Layer},
    search::{
        action::bits_of_action,
        agent_memory,
        error::SearchError,
        haq::observer::HaqObserver,
        proposer::{EpisodeContext, Judgement, Proposal, Proposer, ProposerState},
        space::SearchSpace,
    },
};

/// Episodes of `layers` transitions that the replay buffer of HAQ's code holds: half as many of
/// ours where activations are decided too.
const REPLAY_EPISODES: usize = 128;

/// Proposes as the paper does.
///
/// What the agent remembers is the action it took, also where the budget's repair overruled it:
/// the paper and its code learn from the original action and accept the mismatch.
pub struct HaqProposer {
    space: SearchSpace,
    observer: HaqObserver,
    agent: Ddpg,
    /// Transitions of the last episode, as the agent writes them.
    last_memory: Vec<u8>,
}

struct Step {
    observation: Vec<f32>,
    action: f32,
}

impl HaqProposer {
    /// - `layers`: those of the network, one for each of the space's
    ///
    /// # Errors
    /// When the agent refuses its settings.
    pub fn new(space: SearchSpace, layers: &[Layer], seed: u64) -> Result<Self, SearchError> {
        let observer = HaqObserver::new(layers, &space);
        let agent = Ddpg::new(config(&space), observer.n_features(), seed)?;
        Ok(Self::with_agent(space, observer, agent))
    }

    /// Goes on from what [`Proposer::state`] gave: the last state, and all memory parts in order.
    ///
    /// # Errors
    /// When the parts are damaged or from another network.
    pub fn restore(
        space: SearchSpace,
        layers: &[Layer],
        state: &[u8],
        memory: &[Vec<u8>],
    ) -> Result<Self, SearchError> {
        let observer = HaqObserver::new(layers, &space);
        let agent = Ddpg::resume(config(&space), state, agent_memory::transitions(memory)?)?;
        Ok(Self::with_agent(space, observer, agent))
    }

    fn with_agent(space: SearchSpace, observer: HaqObserver, agent: Ddpg) -> Self {
        Self { space, observer, agent, last_memory: Vec::new() }
    }

    /// Every transition carries the reward that the finished episode earned.
    fn transitions(steps: &[Step], reward: f32) -> Vec<Transition> {
        let last = steps.len().saturating_sub(1);
        let transition = |(index, step): (usize, &Step)| Transition {
            observation: step.observation.clone(),
            action: step.action,
            reward,
            next_observation: steps[(index + 1).min(last)].observation.clone(),
            not_done: index != last,
        };
        steps.iter().enumerate().map(transition).collect()
    }
}

/// One decision after the other: the policy that the actions make, and what was seen before each.
///
/// - `act`: from the decision's place and what is seen to an action
fn walk(
    space: &SearchSpace,
    observer: &HaqObserver,
    act: &mut dyn FnMut(usize, &[f32]) -> f32,
) -> (BitwidthPolicy, Vec<Step>) {
    let mut policy = space.widest();
    let mut previous_width = 1.0;
    let mut steps = Vec::with_capacity(space.decisions().len());
    for (index, &decision) in space.decisions().iter().enumerate() {
        let observation = observer.observe(decision, previous_width);
        let action = act(index, &observation);
        let widths = space.widths(decision);
        let bits = bits_of_action(action, widths);
        let widest = widths[widths.len() - 1];
        previous_width = f32::from(bits.get()) / f32::from(widest.get());
        space.set(&mut policy, decision, bits);
        steps.push(Step { observation, action });
    }
    (policy, steps)
}

/// The agent's own defaults are the paper's; only the replay's length follows the network.
fn config(space: &SearchSpace) -> DdpgConfig {
    let replay_capacity = REPLAY_EPISODES * space.layers().len();
    DdpgConfig { replay_capacity, ..DdpgConfig::default() }
}

impl Proposer for HaqProposer {
    fn propose(&mut self, _: &EpisodeContext<'_>) -> Result<Option<Proposal>, SearchError> {
        let kind = match self.agent.is_warming_up() {
            true => EpisodeKind::WarmUp,
            false => EpisodeKind::Proposal,
        };
        let agent = &mut self.agent;
        let (policy, steps) = walk(&self.space, &self.observer, &mut |_, seen| agent.explore(seen));
        let actions = steps.iter().map(|step| step.action).collect();
        Ok(Some(Proposal { policy, kind, actions }))
    }

    fn learn(
        &mut self,
        _: &EpisodeContext<'_>,
        proposal: &Proposal,
        judgement: &Judgement<'_>,
    ) -> Result<(), SearchError> {
        let Proposal { actions, .. } = proposal;
        if actions.len() != self.space.decisions().len() {
            let (found, expected) = (actions.len(), self.space.decisions().len());
            return Err(SearchError::Resume(format!(
                "a proposal in flight has {found} actions for {expected} decisions"
            )));
        }
        let (_, steps) = walk(&self.space, &self.observer, &mut |index, _| actions[index]);
        let transitions = Self::transitions(&steps, judgement.reward as f32);
        self.last_memory = encode_transitions(transitions.iter());
        for transition in transitions {
            self.agent.observe(transition)?;
        }
        let report = self.agent.end_episode()?;
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
