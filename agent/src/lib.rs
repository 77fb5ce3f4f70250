//! A DDPG agent that turns vectors of floats into actions between 0 and 1.
//!
//! It is the agent of HAQ (Wang et al., CVPR 2019, section 3.6), which is DDPG (Lillicrap et al., ICLR
//! 2016) with truncated-normal exploration and a moving-average reward baseline. It knows nothing of
//! layers, bits or hardware, does no I/O, and everything random in it follows from one seed.
//!
//! In reading order:
//!
//! - [`ddpg`]: the agent as a caller sees it: `explore`, `observe`, `end_episode`, and `act` without noise
//! - [`learner`]: one update from one batch, in the paper's order
//! - [`config`]: every hyper-parameter with its default, range and origin
//! - `networks`, `parameters`, `adam`: actor and critic, their weights in one flat tensor each, the optimizer
//! - [`replay`], [`exploration`]: where batches and noise come from
//! - [`checkpoint`], `block`: everything needed to go on as if never stopped, as bytes
//!
//! ```
//! use haq_agent::{Ddpg, DdpgConfig, Transition};
//!
//! let mut agent = Ddpg::new(DdpgConfig::default(), 2, 234)?;
//! for _episode in 0..3 {
//!     let observation = vec![0.0, 1.0];
//!     let action = agent.explore(&observation);
//!     let reward = -(action - 0.3).abs();
//!     let next_observation = observation.clone();
//!     agent.observe(Transition { observation, action, reward, next_observation, not_done: false })?;
//!     let report = agent.end_episode()?;
//!     assert_eq!(report.updates, 0, "the first episodes only fill the replay buffer");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adam;
mod block;
pub mod checkpoint;
pub mod config;
pub mod ddpg;
pub mod exploration;
pub mod learner;
mod networks;
mod parameters;
mod random;
pub mod replay;

pub use checkpoint::CheckpointError;
pub use config::{ConfigError, DdpgConfig};
pub use ddpg::{Ddpg, LearnError, LearnReport};
pub use exploration::TruncatedNormal;
pub use learner::{Learner, Losses};
pub use replay::{Batch, ReplayBuffer, Transition, TransitionError};
