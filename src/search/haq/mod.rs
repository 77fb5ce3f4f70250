//! The search of the HAQ paper, kept as it was published: the reference for `--strategy haq`.
//!
//! An episode decides layer by layer, weights first, then activations; the loop repairs the
//! finished policy to its budget and judges it; every transition of the episode gets that one
//! reward. Nothing is given to start from: the first episodes are uniformly random.
//!
//! | in the paper | here |
//! |---|---|
//! | equations 1 and 2, the observation | [`observer`] |
//! | equation 3, action to bits | [`action`](super::action) |
//! | section 3.3, repair to the budget | [`projection`](super::projection) |
//! | section 3.5, reward | [`reward`](super::reward) |
//! | section 3.6, the agent | [`proposer`], with the agent's own crate |
//!
//! `docs/haq.md` lists every difference between paper, released code and this.

mod observer;
mod proposer;
#[cfg(test)]
mod tests;

pub use proposer::HaqProposer;
