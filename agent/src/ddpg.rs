//! The agent as its caller sees it: explore, observe, learn at the end of an episode.
//!
//! Differences from the paper and the code published with it:
//!
//! - Warm-up lasts exactly `warmup_episodes`; the released code plays one more.
//! - A transition holds its successor, where the released code takes the next record of the buffer and so has to
//!   append one more after each episode.
//! - While the buffer holds less than a batch, transitions are drawn with repetition, as the released code does.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::config::{ConfigError, DdpgConfig};
use crate::exploration::{TruncatedNormal, sigma_of_episode};
use crate::learner::{Learner, Losses};
use crate::random::Stream;
use crate::replay::{ReplayBuffer, Transition, TransitionError};

/// A deep deterministic policy gradient agent with one action in [0, 1].
#[derive(Debug)]
pub struct Ddpg {
    pub(crate) config: DdpgConfig,
    pub(crate) observation_len: usize,
    pub(crate) seed: u64,
    pub(crate) learner: Learner,
    pub(crate) replay: ReplayBuffer,
    /// Counted from 0.
    pub(crate) episode: u64,
    /// Transitions observed since the episode began.
    pub(crate) n_transitions: u64,
    /// This episode's stream: what it draws does not depend on how often earlier episodes drew.
    pub(crate) exploration: ChaCha8Rng,
}

/// What happened in an episode and in the learning after it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearnReport {
    /// The episode that ended, counted from 0.
    pub episode: u64,
    /// Updates made; 0 during warm-up.
    pub updates: u64,
    /// Mean over the updates; none without one.
    pub losses: Option<Losses>,
    /// Moving-average reward after the last update.
    pub baseline: Option<f64>,
    /// σ the episode explored with; none during warm-up, where actions are uniform.
    pub sigma: Option<f64>,
}

/// Why the agent could not take in an episode.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LearnError {
    #[error(transparent)]
    Transition(#[from] TransitionError),
    /// The agent's actions mean nothing from here on.
    #[error(
        "the agent's weights are no longer finite after episode {episode}; lower learning rates would help"
    )]
    Diverged { episode: u64 },
}

impl Ddpg {
    /// # Errors
    /// The first hyper-parameter out of range.
    ///
    /// # Panics
    /// If `observation_len` is 0.
    pub fn new(config: DdpgConfig, observation_len: usize, seed: u64) -> Result<Self, ConfigError> {
        assert!(observation_len > 0, "an observation has at least one value");
        let learner = Learner::new(&config, observation_len, seed)?;
        Ok(Self {
            learner,
            replay: ReplayBuffer::new(config.replay_capacity),
            episode: 0,
            n_transitions: 0,
            exploration: Stream::Exploration.rng(seed, 0),
            config,
            observation_len,
            seed,
        })
    }

    /// The actor's action, in [0, 1], without noise.
    ///
    /// # Panics
    /// If the observation has another length than the agent was made for.
    pub fn act(&self, observation: &[f32]) -> f32 {
        let expected = self.observation_len;
        assert_eq!(observation.len(), expected, "this agent's observations have {expected} values");
        self.learner.act(observation)
    }

    /// The action to try, in [0, 1]: uniform during warm-up, then around the actor's.
    ///
    /// # Panics
    /// As [`Self::act`], and on observations that are not finite.
    pub fn explore(&mut self, observation: &[f32]) -> f32 {
        match self.sigma() {
            None => self.exploration.random(),
            Some(sigma) => {
                let mean = f64::from(self.act(observation));
                TruncatedNormal::new(mean, sigma).sample(&mut self.exploration) as f32
            }
        }
    }

    /// Remembers a step of the current episode.
    ///
    /// HAQ gives all steps of an episode its final reward: such a caller observes them once that is known.
    ///
    /// # Errors
    /// A transition of another shape, or one that is not finite; nothing is remembered then.
    pub fn observe(&mut self, transition: Transition) -> Result<(), LearnError> {
        transition.check(self.observation_len)?;
        self.replay.push(transition);
        self.n_transitions += 1;
        Ok(())
    }

    /// Ends the episode and, after warm-up, learns: `updates_per_transition` updates for each of its transitions.
    ///
    /// # Errors
    /// [`LearnError::Diverged`]; the agent is of no use then.
    pub fn end_episode(&mut self) -> Result<LearnReport, LearnError> {
        let (episode, sigma) = (self.episode, self.sigma());
        let updates = match self.is_warming_up() {
            true => 0,
            false => self.n_transitions * self.config.updates_per_transition,
        };
        let losses = self.learn(updates);
        if !self.learner.is_finite() {
            return Err(LearnError::Diverged { episode });
        }
        self.episode += 1;
        self.n_transitions = 0;
        self.exploration = Stream::Exploration.rng(self.seed, self.episode);
        Ok(LearnReport { episode, updates, losses, baseline: self.learner.baseline(), sigma })
    }

    /// DDPG's inner loop: a batch from the replay buffer, then [`Learner::update`].
    fn learn(&mut self, updates: u64) -> Option<Losses> {
        let mut rng = Stream::Replay.rng(self.seed, self.episode);
        let (mut critic, mut actor) = (0.0, 0.0);
        for _ in 0..updates {
            let batch = self.replay.sample(self.config.batch_size, &mut rng);
            let losses = self.learner.update(&batch);
            critic += losses.critic;
            actor += losses.actor;
        }
        let mean = |sum: f64| sum / updates as f64;
        (updates > 0).then(|| Losses { critic: mean(critic), actor: mean(actor) })
    }

    /// Whether the current episode's actions are uniform and nothing will be learned from it yet.
    pub fn is_warming_up(&self) -> bool {
        self.episode < self.config.warmup_episodes
    }

    /// The current episode, counted from 0.
    pub fn episode(&self) -> u64 {
        self.episode
    }

    /// σ of the current episode's noise; none during warm-up.
    pub fn sigma(&self) -> Option<f64> {
        sigma_of_episode(&self.config, self.episode)
    }

    pub fn config(&self) -> &DdpgConfig {
        &self.config
    }

    pub fn observation_len(&self) -> usize {
        self.observation_len
    }

    pub fn replay(&self) -> &ReplayBuffer {
        &self.replay
    }

    pub fn learner(&self) -> &Learner {
        &self.learner
    }
}
