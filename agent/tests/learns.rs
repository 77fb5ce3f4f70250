//! The agent beats random actions where there is something to learn.
//!
//! Rewards are costs below 0: reaching 0.6 of random's means that 4 tenths of its cost are gone.

use haq_agent::{Ddpg, DdpgConfig, Transition};

/// Small networks and faster rates than the defaults: a toy needs no more, and tests should be quick.
fn config() -> DdpgConfig {
    DdpgConfig {
        hidden_units: [48, 32],
        actor_learning_rate: 1e-3,
        critic_learning_rate: 5e-3,
        warmup_episodes: 20,
        noise_decay: 0.96,
        ..DdpgConfig::default()
    }
}

/// Six decisions judged together at the end, like a network's bitwidths: each has its own best action, known only
/// through the observation, and the reward is one number for all.
mod judged_at_the_end {
    use super::*;

    const BEST: [f32; 6] = [0.9, 0.2, 0.7, 0.1, 0.5, 0.8];

    fn observation(step: usize, last_action: f32) -> Vec<f32> {
        let position = step as f32 / BEST.len() as f32;
        vec![position, BEST[step % BEST.len()] * 0.5, 1.0 - position, last_action]
    }

    fn reward(actions: &[f32]) -> f32 {
        let squared = actions.iter().zip(BEST).map(|(action, best)| (action - best).powi(2));
        -squared.sum::<f32>()
    }

    fn episode(agent: &mut Ddpg, choose: fn(&mut Ddpg, &[f32]) -> f32) -> (Vec<f32>, f32) {
        let mut actions = Vec::new();
        let mut last_action = 1.0;
        for step in 0..BEST.len() {
            last_action = choose(agent, &observation(step, last_action));
            actions.push(last_action);
        }
        let reward = reward(&actions);
        (actions, reward)
    }

    fn learn_from(agent: &mut Ddpg, actions: &[f32], reward: f32) {
        let mut last_action = 1.0;
        for (step, &action) in actions.iter().enumerate() {
            let transition = Transition {
                observation: observation(step, last_action),
                action,
                reward,
                next_observation: observation(step + 1, action),
                not_done: step + 1 < actions.len(),
            };
            agent.observe(transition).unwrap();
            last_action = action;
        }
        agent.end_episode().unwrap();
    }

    #[test]
    fn the_agent_beats_random_over_five_seeds() {
        for seed in 0..5 {
            let mut agent = Ddpg::new(config(), 4, seed).unwrap();
            let mut random_rewards = Vec::new();
            while agent.episode() < 170 {
                let warming_up = agent.is_warming_up();
                let (actions, reward) = episode(&mut agent, |agent, seen| agent.explore(seen));
                if warming_up {
                    random_rewards.push(reward);
                }
                learn_from(&mut agent, &actions, reward);
            }
            let (_, learned) = episode(&mut agent, |agent, seen| agent.act(seen));
            let random = random_rewards.iter().sum::<f32>() / random_rewards.len() as f32;
            assert!(learned > 0.6 * random, "seed {seed}: {learned} against {random} at random");
        }
    }
}

/// A cart on a line, pushed left or right, rewarded at each step for being near the middle.
mod cart {
    use super::*;

    const STEPS: usize = 25;

    struct Cart {
        position: f32,
        velocity: f32,
    }

    impl Cart {
        fn push(&mut self, action: f32) -> f32 {
            self.velocity = (self.velocity + 0.4 * (action - 0.5)).clamp(-0.5, 0.5);
            self.position = (self.position + self.velocity).clamp(-1.0, 1.0);
            -self.position.abs()
        }

        fn observation(&self) -> Vec<f32> {
            vec![self.position, self.velocity]
        }
    }

    /// Mean reward of a step; the start alternates between both sides.
    fn episode(agent: &mut Ddpg, learning: bool) -> f32 {
        let side = if agent.episode().is_multiple_of(2) { 0.8 } else { -0.8 };
        let mut cart = Cart { position: side, velocity: 0.0 };
        let mut sum = 0.0;
        for step in 1..=STEPS {
            let observation = cart.observation();
            let action =
                if learning { agent.explore(&observation) } else { agent.act(&observation) };
            let reward = cart.push(action);
            sum += reward;
            if learning {
                let next_observation = cart.observation();
                let not_done = step < STEPS;
                let transition =
                    Transition { observation, action, reward, next_observation, not_done };
                agent.observe(transition).unwrap();
            }
        }
        if learning {
            agent.end_episode().unwrap();
        }
        sum / STEPS as f32
    }

    #[test]
    fn the_agent_beats_random_over_five_seeds() {
        for seed in 0..5 {
            let config = DdpgConfig { discount: 0.9, ..config() };
            let mut agent = Ddpg::new(config, 2, seed).unwrap();
            let mut random = 0.0;
            while agent.is_warming_up() {
                random += episode(&mut agent, true) / 20.0;
            }
            while agent.episode() < 60 {
                episode(&mut agent, true);
            }
            let learned = episode(&mut agent, false);
            assert!(learned > 0.4 * random, "seed {seed}: {learned} against {random} at random");
        }
    }
}
