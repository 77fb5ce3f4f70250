//! Everything needed to go on exactly as if never stopped, as bytes.
//!
//! A checkpoint is two blocks: the agent's *state* (weights, optimizers, counters, random state: about 3 MB with
//! 300 hidden units) and its *transitions*. A caller that keeps each episode's transitions as they come needs
//! only the state beside them ([`Ddpg::state`], [`encode_transitions`], [`Ddpg::resume`]); [`Ddpg::checkpoint`]
//! is both in one. Numbers are little-endian; `block` describes what encloses each payload.
//!
//! | state, bytes | content |
//! |---|---|
//! | 12 | observation length, units of both hidden layers (u32) |
//! | 24 | seed, episode, transitions of that episode so far (u64) |
//! | 16 | position in the episode's exploration stream (u128) |
//! | 9 | whether there is a baseline (u8), the baseline (f64) |
//! | 16 | steps of the actor's and of the critic's optimizer (u64) |
//! | 12 | transitions in the replay buffer (u64), CRC-32 of them (u32) |
//! | 4 each | actor, critic, target actor, target critic; the actor's first and second moment; the critic's (f32) |
//!
//! | transitions, bytes | content |
//! |---|---|
//! | 12 | their number (u64), observation length (u32) |
//! | each | observation, action, reward, next observation (f32), whether the episode goes on (u8) |

use tch::{Kind, Tensor};

use crate::block::{Block, Reader};
use crate::config::{ConfigError, DdpgConfig};
use crate::ddpg::Ddpg;
use crate::learner::Learner;
use crate::random::Stream;
use crate::replay::{ReplayBuffer, Transition, TransitionError};

/// Why bytes do not make an agent.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CheckpointError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("this is not an agent's {block}: it does not begin with {magic:?}")]
    NotABlock { block: &'static str, magic: &'static str },
    #[error("the {block} has format version {found}; this program reads version {expected}")]
    Version { block: &'static str, found: u32, expected: u32 },
    #[error("the {block} is cut short: {found} bytes of {expected}")]
    Truncated { block: &'static str, found: u64, expected: u64 },
    #[error("the {block} is followed by {found} bytes that do not belong to it")]
    Trailing { block: &'static str, found: usize },
    #[error("the {block} is damaged: its checksum is {found:08x}, {expected:08x} was written")]
    Checksum { block: &'static str, found: u32, expected: u32 },
    #[error("the state belongs to an agent whose {field} is {found}; here it is {expected}")]
    Shape { field: &'static str, found: u64, expected: u64 },
    #[error("the state holds {found} in {field}, which no agent writes")]
    Value { field: &'static str, found: String },
    #[error("transition {index}: {source}")]
    Transition { index: usize, source: TransitionError },
    #[error(
        "the replay buffer held {expected} transitions with checksum {expected_checksum:08x}; \
         those given make {found} with {found_checksum:08x}"
    )]
    Replay { found: usize, found_checksum: u32, expected: u64, expected_checksum: u32 },
}

impl Ddpg {
    /// State and transitions: all that [`Self::restore`] needs.
    pub fn checkpoint(&self) -> Vec<u8> {
        let mut bytes = self.state();
        bytes.extend(encode_transitions(self.replay.iter()));
        bytes
    }

    /// An agent that goes on where the one of [`Self::checkpoint`] stood.
    ///
    /// `config` is the one that agent had; what the bytes can tell of it is compared.
    ///
    /// # Errors
    /// Bytes that are damaged, cut short, of another version or of another agent, each by name.
    pub fn restore(config: DdpgConfig, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let (state, transitions) = Block::STATE.split(bytes)?;
        let transitions = decode_transitions(transitions)?;
        Self::from_payload(config, state, transitions)
    }

    /// Weights, optimizers, counters and random state, without the transitions.
    pub fn state(&self) -> Vec<u8> {
        let tensors = self.learner.tensors();
        let n_values: usize = tensors.iter().map(|tensor| tensor.numel()).sum();
        Block::STATE.write(128 + 4 * n_values, |bytes| {
            let [first, second] = self.config.hidden_units;
            for len in [self.observation_len, first, second] {
                put_u32(bytes, len);
            }
            for count in [self.seed, self.episode, self.n_transitions] {
                bytes.extend(count.to_le_bytes());
            }
            bytes.extend(self.exploration.get_word_pos().to_le_bytes());
            bytes.push(u8::from(self.learner.baseline().is_some()));
            bytes.extend(self.learner.baseline().unwrap_or(0.0).to_le_bytes());
            for steps in self.learner.optimizer_steps() {
                bytes.extend(steps.to_le_bytes());
            }
            bytes.extend((self.replay.len() as u64).to_le_bytes());
            bytes.extend(checksum(&self.replay).to_le_bytes());
            for tensor in tensors {
                let start = bytes.len();
                bytes.resize(start + 4 * tensor.numel(), 0);
                tensor.copy_data_u8(&mut bytes[start..], tensor.numel());
            }
        })
    }

    /// An agent from [`Self::state`] and the transitions observed until then, oldest first: all of them, or at
    /// least as many of the newest as the replay buffer held.
    ///
    /// # Errors
    /// As [`Self::restore`]; also if the transitions are not those the state was written with.
    pub fn resume(
        config: DdpgConfig,
        state: &[u8],
        transitions: impl IntoIterator<Item = Transition>,
    ) -> Result<Self, CheckpointError> {
        Self::from_payload(config, Block::STATE.only(state)?, transitions)
    }

    fn from_payload(
        config: DdpgConfig,
        payload: &[u8],
        transitions: impl IntoIterator<Item = Transition>,
    ) -> Result<Self, CheckpointError> {
        config.validate()?;
        let mut reader = Reader::new(Block::STATE, payload);
        let observation_len = reader.u32()? as usize;
        for (field, expected) in [
            ("hidden_units[0]", config.hidden_units[0]),
            ("hidden_units[1]", config.hidden_units[1]),
        ] {
            let (found, expected) = (u64::from(reader.u32()?), expected as u64);
            if found != expected {
                return Err(CheckpointError::Shape { field, found, expected });
            }
        }
        let seed = reader.u64()?;
        let episode = read_count(&mut reader, "episode")?;
        let n_transitions = read_count(&mut reader, "transitions of the episode")?;
        let mut exploration = Stream::Exploration.rng(seed, episode);
        exploration.set_word_pos(reader.u128()?);
        let baseline = read_baseline(&mut reader)?;
        let optimizer_steps = [
            read_count(&mut reader, "steps of the actor's optimizer")?,
            read_count(&mut reader, "steps of the critic's optimizer")?,
        ];
        let (replay_len, replay_checksum) = (reader.u64()?, reader.u32()?);

        let mut learner = read_tensors(&config, observation_len, reader)?;
        learner.set_counters(baseline, optimizer_steps);
        let replay = fill_replay(config.replay_capacity, observation_len, transitions)?;
        if (replay.len() as u64, checksum(&replay)) != (replay_len, replay_checksum) {
            return Err(CheckpointError::Replay {
                found: replay.len(),
                found_checksum: checksum(&replay),
                expected: replay_len,
                expected_checksum: replay_checksum,
            });
        }
        let agent = Self {
            config,
            observation_len,
            seed,
            learner,
            replay,
            episode,
            n_transitions,
            exploration,
        };
        Ok(agent)
    }
}

/// A counter that can go on counting.
fn read_count(reader: &mut Reader<'_>, field: &'static str) -> Result<u64, CheckpointError> {
    match reader.u64()? {
        count if count <= u64::from(u32::MAX) => Ok(count),
        found => Err(CheckpointError::Value { field, found: found.to_string() }),
    }
}

fn read_baseline(reader: &mut Reader<'_>) -> Result<Option<f64>, CheckpointError> {
    let (present, baseline) = (reader.u8()?, reader.f64()?);
    match present {
        0 => Ok(None),
        1 if baseline.is_finite() => Ok(Some(baseline)),
        _ => {
            let found = format!("{present} and {baseline}");
            Err(CheckpointError::Value { field: "baseline", found })
        }
    }
}

/// A learner with the eight tensors that are the rest of the payload.
fn read_tensors(
    config: &DdpgConfig,
    observation_len: usize,
    mut reader: Reader<'_>,
) -> Result<Learner, CheckpointError> {
    // Checked before anything is allocated: the length comes from the bytes.
    let n_values = Learner::n_values(config, observation_len);
    reader.expect_remaining(4 * n_values)?;
    if observation_len == 0 {
        let found = "0".to_owned();
        return Err(CheckpointError::Value { field: "observation length", found });
    }
    let mut learner = Learner::zeros(config, observation_len)?;
    for tensor in learner.tensors_mut() {
        let bytes = reader.take(4 * tensor.numel())?;
        let values = Tensor::from_data_size(bytes, &[tensor.numel() as i64], Kind::Float);
        tch::no_grad(|| tensor.copy_(&values));
    }
    match learner.is_finite() {
        true => Ok(learner),
        false => {
            Err(CheckpointError::Value { field: "weights", found: "infinity or NaN".to_owned() })
        }
    }
}

fn fill_replay(
    capacity: usize,
    observation_len: usize,
    transitions: impl IntoIterator<Item = Transition>,
) -> Result<ReplayBuffer, CheckpointError> {
    let mut replay = ReplayBuffer::new(capacity);
    for (index, transition) in transitions.into_iter().enumerate() {
        transition
            .check(observation_len)
            .map_err(|source| CheckpointError::Transition { index, source })?;
        replay.push(transition);
    }
    Ok(replay)
}

/// Transitions of one agent as a block of bytes, for example those of one episode.
pub fn encode_transitions<'a>(
    transitions: impl ExactSizeIterator<Item = &'a Transition>,
) -> Vec<u8> {
    let mut transitions = transitions.peekable();
    let observation_len = transitions.peek().map_or(0, |first| first.observation.len());
    let record_bytes = 8 * observation_len + 9;
    Block::TRANSITIONS.write(12 + transitions.len() * record_bytes, |bytes| {
        bytes.extend((transitions.len() as u64).to_le_bytes());
        put_u32(bytes, observation_len);
        transitions.for_each(|transition| put_transition(bytes, transition));
    })
}

/// What [`encode_transitions`] wrote.
///
/// # Errors
/// Bytes that are damaged, cut short, or of another version.
pub fn decode_transitions(bytes: &[u8]) -> Result<Vec<Transition>, CheckpointError> {
    let mut reader = Reader::new(Block::TRANSITIONS, Block::TRANSITIONS.only(bytes)?);
    let (n_transitions, observation_len) = (reader.u64()?, reader.u32()? as usize);
    let record_bytes = 8 * observation_len as u64 + 9;
    reader.expect_remaining(n_transitions.saturating_mul(record_bytes))?;
    (0..n_transitions)
        .map(|_| {
            Ok(Transition {
                observation: reader.f32s(observation_len)?,
                action: reader.f32()?,
                reward: reader.f32()?,
                next_observation: reader.f32s(observation_len)?,
                not_done: reader.u8()? != 0,
            })
        })
        .collect()
}

fn put_transition(bytes: &mut Vec<u8>, transition: &Transition) {
    let mut put = |values: &[f32]| values.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
    put(&transition.observation);
    put(&[transition.action, transition.reward]);
    put(&transition.next_observation);
    bytes.push(u8::from(transition.not_done));
}

/// Lengths of observations and layers; far below u32's limit wherever a network fits into memory.
fn put_u32(bytes: &mut Vec<u8>, len: usize) {
    let len = u32::try_from(len).expect("a layer's width fits in 32 bits");
    bytes.extend(len.to_le_bytes());
}

fn checksum(replay: &ReplayBuffer) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let mut record = Vec::new();
    for transition in replay.iter() {
        record.clear();
        put_transition(&mut record, transition);
        hasher.update(&record);
    }
    hasher.finalize()
}
