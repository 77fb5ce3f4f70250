//! Work that is kept: joins searches, comparisons and the database, so that each can be
//! interrupted at any moment and gone on with.
//!
//! The terminal and the service both work through here.

mod across_devices;
mod comparison;
mod config;
mod contest;
mod error;
mod explanation;
mod export;
mod inputs;
mod model;
mod prepared;
mod profiles;
mod proposers;
mod run;
mod sensitivity;
mod shared_sensitivities;
mod subject;
mod tuning;
mod view;

pub use across_devices::across_devices;
pub use comparison::{
    Comparison, ComparisonEvent, ComparisonRequest, compare, float_size_bytes, method_key,
    pinned_policy,
};
pub use config::{ImageCounts, RunConfig};
pub use contest::{Contest, ContestEvent, ContestRequest, Finished, Place};
pub use error::RunnerError;
pub use export::{Difference, ExportSubject, Origin, Verified, policy_bytes, stem, verify};
pub use inputs::{load_dataset, load_splits, one_image_shape, open_dataset, plan, preprocessing};
pub use model::{ModelSource, load_model};
pub use prepared::Prepared;
pub use profiles::{FoundProfile, ProfileSource, find_profile, profile_names};
pub use run::Runner;
pub use sensitivity::{
    HessianRequest, Sensitivity, SensitivityEvent, SensitivityRequest, sensitivity,
};
pub use subject::{FloatFigures, Subject, SubjectRequest};
pub use tuning::{Tuner, TuningEvent, TuningRequest, tuned_network, tuned_onnx, tuning_request};
pub use view::view;
