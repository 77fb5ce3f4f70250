//! One DDPG update from one batch, in the order of the paper.

use tch::{Kind, Tensor};

use crate::adam::Adam;
use crate::config::{ConfigError, DdpgConfig};
use crate::networks::{Actor, Critic};
use crate::parameters::{LinearShape, Parameters, uniform_fan_in};
use crate::random::Stream;
use crate::replay::Batch;

/// Actor and critic, their slow targets, their optimizers and the reward baseline.
#[derive(Debug)]
pub struct Learner {
    actor: Actor,
    critic: Critic,
    target_actor: Actor,
    target_critic: Critic,
    actor_optimizer: Adam,
    critic_optimizer: Adam,
    /// Overwritten by every update.
    actor_gradient: Parameters,
    critic_gradient: Parameters,
    /// Moving average of batches' mean rewards; none before the first update.
    baseline: Option<f64>,
    discount: f64,
    tau: f64,
    baseline_rate: f64,
}

/// What an update minimised, before its steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Losses {
    /// Mean squared error of the critic against its target.
    pub critic: f64,
    /// −Q of the actor's own actions, mean over the batch.
    pub actor: f64,
}

impl Learner {
    /// A learner with seeded weights; its targets start as copies.
    ///
    /// # Errors
    /// The first hyper-parameter out of range.
    pub fn new(
        config: &DdpgConfig,
        observation_len: usize,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut rng = Stream::InitialWeights.rng(seed, 0);
        let actor = uniform_fan_in(&Actor::shapes(observation_len, config.hidden_units), &mut rng);
        let critic =
            uniform_fan_in(&Critic::shapes(observation_len, config.hidden_units), &mut rng);
        Self::from_parameters(config, observation_len, &actor, &critic)
    }

    /// A learner with given weights: each layer's weight `[outputs, inputs]`, then its bias, layers from the input
    /// on; the critic's are observation layer, action layer, hidden, output.
    ///
    /// # Errors
    /// The first hyper-parameter out of range.
    ///
    /// # Panics
    /// If there are not as many weights as the networks hold.
    pub fn from_parameters(
        config: &DdpgConfig,
        observation_len: usize,
        actor: &[f32],
        critic: &[f32],
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let actor_shapes = Actor::shapes(observation_len, config.hidden_units);
        let critic_shapes = Critic::shapes(observation_len, config.hidden_units);
        let target_actor = Actor::new(actor, &actor_shapes);
        let target_critic = Critic::new(critic, &critic_shapes);
        let actor = Actor::new(actor, &actor_shapes);
        let critic = Critic::new(critic, &critic_shapes);
        Ok(Self {
            actor_optimizer: Adam::new(config.actor_learning_rate, config, &actor.parameters),
            critic_optimizer: Adam::new(config.critic_learning_rate, config, &critic.parameters),
            actor_gradient: Parameters::zeros(&actor_shapes),
            critic_gradient: Parameters::zeros(&critic_shapes),
            actor,
            critic,
            target_actor,
            target_critic,
            baseline: None,
            discount: config.discount,
            tau: config.tau,
            baseline_rate: config.baseline_rate,
        })
    }

    /// A learner to be overwritten by a checkpoint.
    pub(crate) fn zeros(config: &DdpgConfig, observation_len: usize) -> Result<Self, ConfigError> {
        let [actor, critic] = n_parameters(config, observation_len);
        let zeros = |n: u64| vec![0.0; n as usize];
        Self::from_parameters(config, observation_len, &zeros(actor), &zeros(critic))
    }

    /// How many values its tensors hold: for each network itself, its target and two moments.
    pub(crate) fn n_values(config: &DdpgConfig, observation_len: usize) -> u64 {
        4 * n_parameters(config, observation_len).iter().sum::<u64>()
    }

    /// Learns from one batch: DDPG's algorithm 1 from "set y" on, with HAQ's baseline in the target.
    ///
    /// | tensor | shape |
    /// |---|---|
    /// | observations, next observations | `[batch, observation_len]` |
    /// | actions, rewards, `not_done`, values | `[batch, 1]` |
    pub fn update(&mut self, batch: &Batch) -> Losses {
        // The chain rule is written out: nothing needs to be recorded.
        tch::no_grad(|| {
            let n = batch.len() as f64;
            let column = |values: &[f32]| Tensor::from_slice(values).view([-1, 1]);
            let rows = |values: &[f32]| Tensor::from_slice(values).view([batch.len() as i64, -1]);
            let observations = rows(&batch.observations);

            // Target: y = (r − baseline) + γ · not_done · Q'(s', μ'(s'))
            let baseline = self.move_baseline(batch.mean_reward());
            let mut targets = column(&batch.rewards) - baseline;
            if self.discount > 0.0 {
                let next_observations = rows(&batch.next_observations);
                let next = self.target_actor.forward(&next_observations);
                let next = self.target_critic.forward(&next_observations, &next.actions);
                targets += column(&batch.not_done) * next.values * self.discount;
            }

            // Critic: towards y, by the gradient of mean (Q − y)².
            let taken = column(&batch.actions);
            let pass = self.critic.forward(&observations, &taken);
            let errors = &pass.values - targets;
            let critic_loss = errors.square().mean(Kind::Float);
            self.critic.set_gradient(&self.critic_gradient, &pass, &(errors * (2.0 / n)));
            drop(pass);
            self.critic_optimizer.step(&mut self.critic.parameters, self.critic_gradient.flat());

            // Actor: towards what the new critic values more, by the gradient of −mean Q.
            let own = self.actor.forward(&observations);
            let valued = self.critic.forward(&observations, &own.actions);
            let actor_loss = -valued.values.mean(Kind::Float);
            let by_actions = self.critic.by_actions(&valued, &valued.values.full_like(-1.0 / n));
            self.actor.set_gradient(&self.actor_gradient, &own, &by_actions);
            self.actor_optimizer.step(&mut self.actor.parameters, self.actor_gradient.flat());

            // Targets: θ' ← θ' + τ (θ − θ')
            let actor_target = self.target_actor.parameters.flat_mut();
            let _ = actor_target.lerp_(self.actor.parameters.flat(), self.tau);
            let critic_target = self.target_critic.parameters.flat_mut();
            let _ = critic_target.lerp_(self.critic.parameters.flat(), self.tau);

            Losses { critic: critic_loss.double_value(&[]), actor: actor_loss.double_value(&[]) }
        })
    }

    /// The first batch sets the baseline; later ones pull it towards their mean.
    fn move_baseline(&mut self, mean_reward: f64) -> f64 {
        let baseline = match self.baseline {
            None => mean_reward,
            Some(baseline) => baseline + self.baseline_rate * (mean_reward - baseline),
        };
        self.baseline = Some(baseline);
        baseline
    }

    /// The actor's action for one observation, in [0, 1].
    pub fn act(&self, observation: &[f32]) -> f32 {
        tch::no_grad(|| {
            let observation = Tensor::from_slice(observation).view([1, -1]);
            self.actor.forward(&observation).actions.double_value(&[0, 0]) as f32
        })
    }

    /// Moving average of batches' mean rewards; none before the first update.
    pub fn baseline(&self) -> Option<f64> {
        self.baseline
    }

    /// The weights of actor, critic, target actor and target critic, in the order of [`Self::from_parameters`].
    pub fn parameters(&self) -> [Vec<f32>; 4] {
        [
            self.actor.parameters.to_vec(),
            self.critic.parameters.to_vec(),
            self.target_actor.parameters.to_vec(),
            self.target_critic.parameters.to_vec(),
        ]
    }

    /// Everything that is a tensor, in the order of a checkpoint.
    pub(crate) fn tensors(&self) -> [&Tensor; 8] {
        [
            self.actor.parameters.flat(),
            self.critic.parameters.flat(),
            self.target_actor.parameters.flat(),
            self.target_critic.parameters.flat(),
            &self.actor_optimizer.first_moment,
            &self.actor_optimizer.second_moment,
            &self.critic_optimizer.first_moment,
            &self.critic_optimizer.second_moment,
        ]
    }

    /// The same tensors, to be overwritten in place.
    pub(crate) fn tensors_mut(&mut self) -> [&mut Tensor; 8] {
        [
            self.actor.parameters.flat_mut(),
            self.critic.parameters.flat_mut(),
            self.target_actor.parameters.flat_mut(),
            self.target_critic.parameters.flat_mut(),
            &mut self.actor_optimizer.first_moment,
            &mut self.actor_optimizer.second_moment,
            &mut self.critic_optimizer.first_moment,
            &mut self.critic_optimizer.second_moment,
        ]
    }

    /// Steps taken by the optimizers of actor and critic.
    pub(crate) fn optimizer_steps(&self) -> [u64; 2] {
        [self.actor_optimizer.n_steps, self.critic_optimizer.n_steps]
    }

    /// Sets what is not a tensor.
    pub(crate) fn set_counters(&mut self, baseline: Option<f64>, [actor, critic]: [u64; 2]) {
        self.baseline = baseline;
        self.actor_optimizer.n_steps = actor;
        self.critic_optimizer.n_steps = critic;
    }

    /// Whether every weight of actor and critic is still a number.
    pub(crate) fn is_finite(&self) -> bool {
        [&self.actor.parameters, &self.critic.parameters]
            .iter()
            .all(|parameters| parameters.flat().isfinite().all().int64_value(&[]) == 1)
    }
}

/// Of actor and critic.
fn n_parameters(config: &DdpgConfig, observation_len: usize) -> [u64; 2] {
    let sum = |shapes: &[LinearShape]| shapes.iter().map(|shape| shape.n_parameters() as u64).sum();
    let hidden_units = config.hidden_units;
    [
        sum(&Actor::shapes(observation_len, hidden_units)),
        sum(&Critic::shapes(observation_len, hidden_units)),
    ]
}
