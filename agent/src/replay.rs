//! The replay buffer: past transitions, drawn uniformly.
//!
//! A transition holds its successor explicitly, so no draw depends on what its neighbour in the buffer is.

use std::collections::VecDeque;

use rand::{RngExt, seq::index};
use serde::{Deserialize, Serialize};

/// One step and what followed it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    pub observation: Vec<f32>,
    /// The action as the agent chose it, in [0, 1].
    pub action: f32,
    pub reward: f32,
    /// As long as `observation`; not looked at when the episode ended here.
    pub next_observation: Vec<f32>,
    /// Whether the episode goes on; 1.0 or 0.0 in formulas.
    pub not_done: bool,
}

/// A transition that must not reach the networks.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TransitionError {
    #[error("{field} has {found} values; this agent's observations have {expected}")]
    Length { field: &'static str, found: usize, expected: usize },
    #[error("{field} is {found}; it needs to be a finite number")]
    NotFinite { field: &'static str, found: f32 },
    #[error("action is {found}; it needs to be at least 0 and at most 1")]
    Action { found: f32 },
}

impl Transition {
    /// # Errors
    /// Another length, a value that is not finite, or an action outside [0, 1].
    pub fn check(&self, observation_len: usize) -> Result<(), TransitionError> {
        let observations =
            [("observation", &self.observation), ("next_observation", &self.next_observation)];
        for (field, values) in observations {
            if values.len() != observation_len {
                let (found, expected) = (values.len(), observation_len);
                return Err(TransitionError::Length { field, found, expected });
            }
            if let Some(&found) = values.iter().find(|value| !value.is_finite()) {
                return Err(TransitionError::NotFinite { field, found });
            }
        }
        if !self.reward.is_finite() {
            return Err(TransitionError::NotFinite { field: "reward", found: self.reward });
        }
        if !(0.0..=1.0).contains(&self.action) {
            return Err(TransitionError::Action { found: self.action });
        }
        Ok(())
    }
}

/// Transitions side by side, field by field: row-major `[batch, observation_len]` or `[batch]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    pub observations: Vec<f32>,
    pub actions: Vec<f32>,
    pub rewards: Vec<f32>,
    pub next_observations: Vec<f32>,
    /// 1.0 while the episode goes on, 0.0 at its end.
    pub not_done: Vec<f32>,
}

impl Batch {
    pub fn len(&self) -> usize {
        self.rewards.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rewards.is_empty()
    }

    pub(crate) fn mean_reward(&self) -> f64 {
        self.rewards.iter().map(|&reward| f64::from(reward)).sum::<f64>() / self.len() as f64
    }

    fn push(&mut self, transition: &Transition) {
        self.observations.extend_from_slice(&transition.observation);
        self.actions.push(transition.action);
        self.rewards.push(transition.reward);
        self.next_observations.extend_from_slice(&transition.next_observation);
        self.not_done.push(f32::from(u8::from(transition.not_done)));
    }
}

impl<'a> FromIterator<&'a Transition> for Batch {
    fn from_iter<I: IntoIterator<Item = &'a Transition>>(transitions: I) -> Self {
        let mut batch = Batch::default();
        transitions.into_iter().for_each(|transition| batch.push(transition));
        batch
    }
}

/// The newest transitions, up to a capacity; the oldest makes room.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayBuffer {
    /// Oldest first: a draw depends on ages alone, so a buffer rebuilt from its own content draws the same.
    transitions: VecDeque<Transition>,
    capacity: usize,
}

impl ReplayBuffer {
    /// `capacity` is at least 1.
    pub fn new(capacity: usize) -> Self {
        assert!(capacity >= 1, "a replay buffer holds at least one transition");
        Self { transitions: VecDeque::new(), capacity }
    }

    pub fn push(&mut self, transition: Transition) {
        if self.transitions.len() == self.capacity {
            self.transitions.pop_front();
        }
        self.transitions.push_back(transition);
    }

    pub fn len(&self) -> usize {
        self.transitions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.transitions.is_empty()
    }

    /// Oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Transition> {
        self.transitions.iter()
    }

    /// The newest `n`, or all if there are fewer; oldest of them first.
    pub fn newest(&self, n: usize) -> impl ExactSizeIterator<Item = &Transition> {
        self.transitions.range(self.len().saturating_sub(n)..)
    }

    /// `batch_size` different transitions, uniformly; while there are fewer, each is drawn from all.
    ///
    /// # Panics
    /// If the buffer is empty.
    pub fn sample(&self, batch_size: usize, rng: &mut impl RngExt) -> Batch {
        assert!(!self.is_empty(), "a batch is drawn after something was observed");
        if batch_size <= self.len() {
            let drawn = index::sample(rng, self.len(), batch_size);
            drawn.iter().map(|age| &self.transitions[age]).collect()
        } else {
            let drawn = (0..batch_size).map(|_| rng.random_range(0..self.len()));
            drawn.map(|age| &self.transitions[age]).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Stream;

    /// Every field tells which transition it belongs to.
    fn numbered(number: usize) -> Transition {
        let number = number as f32;
        Transition {
            observation: vec![number, number + 0.25],
            action: number / 1024.0,
            reward: -number,
            next_observation: vec![number + 0.5, number + 0.75],
            not_done: number % 3.0 != 0.0,
        }
    }

    fn filled(capacity: usize, written: usize) -> ReplayBuffer {
        let mut replay = ReplayBuffer::new(capacity);
        (0..written).for_each(|number| replay.push(numbered(number)));
        replay
    }

    proptest! {
        #[test]
        fn a_draw_is_always_something_written_and_not_yet_dropped(
            capacity in 1..50_usize,
            written in 1..200_usize,
            batch_size in 1..80_usize,
            seed: u64,
        ) {
            let replay = filled(capacity, written);
            prop_assert_eq!(replay.len(), written.min(capacity));
            let batch = replay.sample(batch_size, &mut Stream::Replay.rng(seed, 0));
            prop_assert_eq!(batch.len(), batch_size);

            let numbers: Vec<usize> = batch.rewards.iter().map(|&reward| -reward as usize).collect();
            prop_assert!(numbers.iter().all(|&n| n < written && n + capacity >= written));
            let expected: Vec<Transition> = numbers.iter().map(|&n| numbered(n)).collect();
            prop_assert_eq!(&batch, &expected.iter().collect::<Batch>());

            let mut different = numbers.clone();
            different.sort_unstable();
            different.dedup();
            prop_assert!(batch_size > replay.len() || different.len() == batch_size);
        }

        #[test]
        fn a_buffer_rebuilt_from_its_content_draws_the_same(
            capacity in 1..50_usize,
            written in 1..200_usize,
            seed: u64,
        ) {
            let replay = filled(capacity, written);
            let mut rebuilt = ReplayBuffer::new(capacity);
            replay.iter().cloned().for_each(|transition| rebuilt.push(transition));
            let draw = |replay: &ReplayBuffer| replay.sample(8, &mut Stream::Replay.rng(seed, 0));
            prop_assert_eq!(draw(&replay), draw(&rebuilt));
        }
    }

    #[test]
    fn every_transition_is_drawn_equally_often() {
        const DRAWS: usize = 20_000;
        let replay = filled(10, 14);
        let mut counts = [0_usize; 14];
        let mut rng = Stream::Replay.rng(3, 0);
        for _ in 0..DRAWS {
            for reward in replay.sample(4, &mut rng).rewards {
                counts[-reward as usize] += 1;
            }
        }
        assert_eq!(counts[..4], [0; 4]);
        for count in &counts[4..] {
            let share = *count as f64 / (4 * DRAWS) as f64;
            assert!((share - 0.1).abs() < 0.005, "{counts:?}");
        }
    }

    #[test]
    fn newest_are_the_last_written() {
        let replay = filled(5, 9);
        let rewards = |n| replay.newest(n).map(|t| -t.reward).collect::<Vec<f32>>();
        assert_eq!(rewards(2), [7.0, 8.0]);
        assert_eq!(rewards(99), [4.0, 5.0, 6.0, 7.0, 8.0]);
    }

    #[test]
    fn a_transition_that_would_spoil_the_networks_is_named() {
        type Case = (&'static str, fn(&mut Transition));
        let cases: [Case; 6] = [
            ("observation has 3 values; this agent's observations have 2", |t| {
                t.observation.push(0.0);
            }),
            ("next_observation has 0 values; this agent's observations have 2", |t| {
                t.next_observation.clear();
            }),
            ("observation is NaN; it needs to be a finite number", |t| t.observation[1] = f32::NAN),
            ("reward is inf; it needs to be a finite number", |t| t.reward = f32::INFINITY),
            ("action is 1.5; it needs to be at least 0 and at most 1", |t| t.action = 1.5),
            ("action is NaN; it needs to be at least 0 and at most 1", |t| t.action = f32::NAN),
        ];
        numbered(1).check(2).unwrap();
        for (expected, spoil) in cases {
            let mut transition = numbered(1);
            spoil(&mut transition);
            assert_eq!(transition.check(2).unwrap_err().to_string(), expected);
        }
    }
}
