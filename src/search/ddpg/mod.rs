//! The default search: an agent that learns mostly from a model of the loss, and a local search
//! on that model that refines what the agent proposes.
//!
//! Every judged policy corrects the model ([`Surrogate`]); between evaluations the agent plays
//! episodes that only the model judges (Sutton's Dyna). A proposal starts from the agent's policy,
//! from the best known for the budget, from a cross of the two or from an integer programme on the
//! corrected losses, in turn, and is refined under the most likely version of the model or one
//! drawn near it, so that it is both good and worth knowing.
//!
//! Source of the agent: HAQ, section 3, with Lillicrap et al. 2016. We differ: actions leave the
//! budgets reachable, so that what is executed is what is remembered; the budget and what is left
//! of it are seen; a step's return is the episode's, with nothing bootstrapped; the reward is
//! minus the logarithm of the loss.

mod view;
mod world;

use std::collections::HashSet;

use haq_agent::{Ddpg, DdpgConfig, Transition, checkpoint::encode_transitions};
use rand_chacha::ChaCha8Rng;

use self::world::{Step, World};
use crate::{
    domain::{Bits, BitwidthPolicy, Budget, Cost, EpisodeKind, Layer},
    search::{
        agent_memory,
        error::SearchError,
        evaluator::PolicyCost,
        ilp::least_loss,
        limits::{Limits, share_of},
        loss_table::LossTable,
        proposer::{EpisodeContext, Judgement, Proposal, Proposer, ProposerState, stream},
        refine::Refinement,
        space::{Decision, SearchSpace},
        surrogate::{Forecast, Nearby, Surrogate},
    },
};

/// Episodes that only the model judges before the first proposal, for each planned episode; and
/// their least and largest number.
const FIRST_MODEL_EPISODES: u32 = 2;
const FIRST_MODEL_EPISODES_RANGE: std::ops::RangeInclusive<u32> = 24..=256;

/// The same after every episode.
const MODEL_EPISODES: u32 = 2;

/// How far from the most likely version of the model a drawn one lies, relative to what is still
/// possible. With 1, and as many unknowns as there are widths, what looks best is what is known
/// least.
const BOLDNESS: f64 = 0.3;

/// How far from the least foretold sum a programme may stop, as a share: the forecast itself is no
/// nearer to the truth.
const PROGRAMME_GAP: f32 = 0.02;

/// Losses below this are all as good.
const LEAST_LOSS: f64 = 1e-6;

/// Where a proposal starts, and how far from there it may end. What is far from all that was
/// judged looks better than it is: most steps are small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    /// The agent's policy.
    Agent,
    /// The best policy known for the budgets, with widths of the agent's.
    Crossed,
    /// The best policy known for the budgets, of which so many widths change at most.
    Incumbent { changes: usize },
    /// What is the least sum of losses as they are foretold.
    Programme,
}

/// What a refinement may change.
#[derive(Debug)]
enum Reach {
    Everything,
    /// So many widths at most.
    Changes(usize),
    /// Any width to that of another policy.
    Towards(BitwidthPolicy),
}

/// How one proposal is made.
#[derive(Debug, Clone, Copy)]
struct Turn {
    base: Base,
    /// Whether the most likely version of the model is believed, or one drawn.
    is_certain: bool,
}

impl Turn {
    fn of(proposal_index: u32) -> Self {
        let base = match proposal_index % 8 {
            0 => Base::Agent,
            2 | 4 => Base::Crossed,
            6 => Base::Programme,
            3 => Base::Incumbent { changes: usize::MAX },
            5 => Base::Incumbent { changes: 4 },
            _ => Base::Incumbent { changes: 2 },
        };
        Self { base, is_certain: proposal_index % 4 < 2 }
    }
}

/// What a search is about, as the agent has to know it.
pub struct DdpgInputs<'a> {
    pub space: SearchSpace,
    pub cost: Box<dyn PolicyCost>,
    pub limits: Limits,
    /// One for each layer of the space.
    pub layers: &'a [Layer],
    /// What each tensor loses alone.
    pub losses: LossTable,
    /// Policies proposed first.
    pub starts: Vec<BitwidthPolicy>,
    /// Proposals in all: a short search does not pay for a long preparation.
    pub episodes: u32,
    pub seed: u64,
}

/// Proposes with a DDPG agent and a model of the loss.
pub struct DdpgProposer {
    world: World,
    surrogate: Surrogate,
    agent: Ddpg,
    starts: Vec<BitwidthPolicy>,
    first_model_episodes: u32,
    seed: u64,
    /// Each policy once.
    judged: Vec<Judged>,
    known: HashSet<BitwidthPolicy>,
    /// Transitions that no checkpoint holds yet.
    fresh: Vec<Transition>,
}

/// A policy that was judged.
struct Judged {
    policy: BitwidthPolicy,
    loss: f64,
    cost: Cost,
}

impl DdpgProposer {
    /// # Errors
    /// When a hyper-parameter is out of range.
    pub fn new(inputs: DdpgInputs<'_>) -> Result<Self, SearchError> {
        let seed = inputs.seed;
        Self::with_agent(inputs, |n_features| Ok(Ddpg::new(agent_config(), n_features, seed)?))
    }

    /// Goes on from what [`Proposer::state`] gave: the last state, and all memory parts in order.
    /// It then has to [`Proposer::witness`] every policy that was judged before.
    ///
    /// # Errors
    /// When the parts are damaged or from another configuration.
    pub fn restore(
        inputs: DdpgInputs<'_>,
        state: &[u8],
        memory: &[Vec<u8>],
    ) -> Result<Self, SearchError> {
        let transitions = agent_memory::transitions(memory)?;
        Self::with_agent(inputs, |_| Ok(Ddpg::resume(agent_config(), state, transitions)?))
    }

    fn with_agent(
        inputs: DdpgInputs<'_>,
        make: impl FnOnce(usize) -> Result<Ddpg, SearchError>,
    ) -> Result<Self, SearchError> {
        let DdpgInputs { space, cost, limits, layers, losses, starts, episodes, seed } = inputs;
        let (least, most) = FIRST_MODEL_EPISODES_RANGE.into_inner();
        let first_model_episodes = episodes.saturating_mul(FIRST_MODEL_EPISODES).clamp(least, most);
        let surrogate = Surrogate::new(space.clone(), &losses);
        let world = World::new(space, cost, limits, layers, &surrogate);
        let agent = make(world.n_features())?;
        Ok(Self {
            world,
            surrogate,
            agent,
            starts,
            first_model_episodes,
            seed,
            judged: Vec::new(),
            known: HashSet::new(),
            fresh: Vec::new(),
        })
    }

    /// The agent learns from one episode.
    fn end_episode(&mut self, steps: Vec<Step>, log_loss: f64) -> Result<(), SearchError> {
        for Step { observation, action } in steps {
            let transition = Transition {
                next_observation: observation.clone(),
                observation,
                action,
                reward: -log_loss as f32,
                not_done: false,
            };
            self.agent.observe(transition.clone())?;
            self.fresh.push(transition);
        }
        self.agent.end_episode()?;
        Ok(())
    }

    /// Plays episodes that the model judges.
    fn dream(&mut self, n_episodes: u32) -> Result<(), SearchError> {
        let forecast = self.surrogate.mean();
        for _ in 0..n_episodes {
            let share = share_of(self.agent.episode());
            let budgets = self.world.budgets(share);
            let agent = &mut self.agent;
            let walk = self.world.walk(&budgets, share as f32, &mut |seen| agent.explore(seen));
            let log_loss = self.surrogate.log_loss(&forecast, &walk.policy);
            self.end_episode(walk.steps, log_loss.max(LEAST_LOSS.ln()))?;
        }
        Ok(())
    }

    /// The judged policy with the least loss that meets the budgets.
    fn incumbent(&self, budgets: &[Budget]) -> Option<&BitwidthPolicy> {
        let meeting = self.judged.iter().filter(|judged| Budget::all_met(budgets, &judged.cost));
        meeting.min_by(|a, b| a.loss.total_cmp(&b.loss)).map(|judged| &judged.policy)
    }

    fn of_agent(&mut self, context: &EpisodeContext<'_>) -> BitwidthPolicy {
        let agent = &mut self.agent;
        let mut explore = |seen: &[f32]| agent.explore(seen);
        self.world.walk(context.budgets, context.budget_share, &mut explore).policy
    }

    /// The least sum of losses, each as the forecast corrects it. A solver that fails leaves the
    /// best known policy: the search does not need its answer.
    fn of_programme(&self, context: &EpisodeContext<'_>, forecast: &Forecast) -> BitwidthPolicy {
        let near = self.incumbent(context.budgets).unwrap_or(self.world.way_out());
        let loss = |decision: Decision, bits: Bits| self.surrogate.part(forecast, decision, bits);
        let cost = |policy: &BitwidthPolicy| self.world.cost(policy);
        let found =
            least_loss(self.world.space(), context.budgets, &loss, &cost, near, PROGRAMME_GAP);
        found.unwrap_or_else(|error| {
            tracing::warn!(%error, "the best known policy is taken instead");
            near.clone()
        })
    }

    /// `base` made better under `forecast`; a policy that was not judged before, where there is one
    /// within reach.
    fn refined(
        &self,
        base: &BitwidthPolicy,
        reach: &Reach,
        context: &EpisodeContext<'_>,
        forecast: &Forecast,
        rng: &mut ChaCha8Rng,
    ) -> Option<BitwidthPolicy> {
        let space = self.world.space();
        let is_near = |policy: &BitwidthPolicy| {
            let changed = |&&d: &&Decision| space.get(policy, d) != space.get(base, d);
            let mut changed = space.decisions().iter().filter(changed);
            match reach {
                Reach::Everything => true,
                Reach::Changes(most) => changed.count() <= *most,
                Reach::Towards(other) => {
                    changed.all(|&d| space.get(policy, d) == space.get(other, d))
                }
            }
        };
        let is_allowed = |policy: &BitwidthPolicy| {
            is_near(policy)
                && Budget::all_met(context.budgets, &self.world.cost(policy))
                && !self.known.contains(policy)
                && !context.in_flight.contains(policy)
        };
        let mut nearby = Nearby::new(&self.surrogate, forecast, base);
        Refinement { space, is_allowed: &is_allowed }.of(base, &mut nearby, rng)
    }

    /// A policy made from where its turn starts, better under the model than that.
    fn searched(&mut self, context: &EpisodeContext<'_>) -> BitwidthPolicy {
        let mut rng = stream(self.seed, "ddpg", context.proposal_index.into());
        let turn = Turn::of(context.proposal_index);
        let forecast = match turn.is_certain {
            true => self.surrogate.mean(),
            false => self.surrogate.sample(BOLDNESS, &mut rng),
        };
        let (base, reach) = match (turn.base, self.incumbent(context.budgets).cloned()) {
            (Base::Programme, _) => (self.of_programme(context, &forecast), Reach::Everything),
            (Base::Incumbent { changes }, Some(known)) => (known, Reach::Changes(changes)),
            (Base::Crossed, Some(known)) => (known, Reach::Towards(self.of_agent(context))),
            (Base::Agent, _) | (_, None) => (self.of_agent(context), Reach::Everything),
        };
        let foretold = self.surrogate.log_loss(&forecast, &base);
        let policy = self
            .refined(&base, &reach, context, &forecast, &mut rng)
            .or_else(|| self.refined(&base, &Reach::Everything, context, &forecast, &mut rng))
            .unwrap_or(base);
        tracing::debug!(
            base = ?turn.base,
            foretold = foretold.exp(),
            refined = self.surrogate.log_loss(&forecast, &policy).exp(),
            "a proposal was refined"
        );
        policy
    }
}

impl Proposer for DdpgProposer {
    fn propose(&mut self, context: &EpisodeContext<'_>) -> Result<Option<Proposal>, SearchError> {
        if self.agent.episode() == 0 {
            self.dream(self.first_model_episodes)?;
        }
        Ok(Some(match self.starts.get(context.proposal_index as usize) {
            Some(start) => Proposal::new(start.clone(), EpisodeKind::Start),
            None => Proposal::new(self.searched(context), EpisodeKind::Proposal),
        }))
    }

    fn learn(
        &mut self,
        context: &EpisodeContext<'_>,
        _: &Proposal,
        judgement: &Judgement<'_>,
    ) -> Result<(), SearchError> {
        tracing::debug!(loss = judgement.loss, "a policy was judged");
        self.witness(judgement);
        if judgement.loss.is_finite() {
            let EpisodeContext { budgets, budget_share, .. } = *context;
            let steps = self.world.retrace(judgement.executed, budgets, budget_share);
            self.end_episode(steps, judgement.loss.max(LEAST_LOSS).ln())?;
        }
        self.dream(MODEL_EPISODES)
    }

    fn witness(&mut self, judgement: &Judgement<'_>) {
        let &Judgement { executed, loss, .. } = judgement;
        if self.known.insert(executed.clone()) {
            self.surrogate.add(executed, loss);
            let cost = self.world.cost(executed);
            self.judged.push(Judged { policy: executed.clone(), loss, cost });
        }
    }

    fn races(&self) -> bool {
        true
    }

    fn state(&mut self) -> ProposerState {
        let memory = encode_transitions(self.fresh.iter());
        self.fresh.clear();
        ProposerState { state: self.agent.state(), memory }
    }
}

/// Smaller than the paper's, for it learns far more often.
fn agent_config() -> DdpgConfig {
    DdpgConfig {
        hidden_units: [64, 64],
        actor_learning_rate: 1e-3,
        discount: 0.0,
        replay_capacity: 1 << 14,
        noise_sigma: 0.3,
        noise_decay: 0.99,
        ..DdpgConfig::default()
    }
}
