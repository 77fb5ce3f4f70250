//! Searches whose policies are judged by workers on other machines.
//!
//! A [`Testbed`] is what all evaluations of a search share: network, images, method. An
//! [`Evaluation`] is one policy to be judged on it, a [`Finding`] what came of it. The
//! [`FleetEvaluator`] hands evaluations out for the search loop; a [`Worker`] takes them and has its
//! [`Bench`] judge.

mod bench;
mod coordinator;
mod desk;
mod error;
mod evaluation;
mod keeper;
mod testbed;
mod worker;

pub use bench::Bench;
pub use coordinator::{FleetEvaluator, FleetReport, FleetSettings};
pub use error::FleetError;
pub use evaluation::{Evaluation, Finding, FoundIn};
pub use keeper::{FleetKeeper, FleetState};
pub use testbed::{Testbed, TestbedBytes, TestbedError};
pub use worker::{Worked, Worker};
