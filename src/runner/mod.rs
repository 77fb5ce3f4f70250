//! A search that is kept: joins the loop and the database, so that a run can be interrupted at
//! any moment and gone on with.
//!
//! The terminal and the service both drive searches through here.

mod config;
mod error;
mod inputs;
mod profiles;
mod run;
mod view;

pub use config::{ImageCounts, RunConfig};
pub use error::RunnerError;
pub use inputs::{load_dataset, load_splits, one_image_shape, plan, preprocessing};
pub use profiles::{FoundProfile, ProfileSource, find_profile, profile_names};
pub use run::Runner;
pub use view::view;
