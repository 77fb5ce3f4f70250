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
pub mod fleet;
mod inputs;
mod job;
mod layered_policy;
mod model;
mod prepared;
mod profiles;
mod proposers;
mod run;
mod sensitivity;
mod shared_sensitivities;
mod subject;
mod submission;
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
pub use inputs::{
    data_name, load_dataset, load_splits, one_image_shape, open_dataset, plan, preprocessing,
};
pub use job::{INTERRUPTED_EXIT, JobOutcome, STORAGE_TROUBLE_EXIT, work_on_job};
pub use layered_policy::{LayeredPolicy, layered_policy, policy_file, policy_file_of};
pub use model::{ModelSource, load_model};
pub use prepared::Prepared;
pub use profiles::{FoundProfile, ProfileSource, find_profile, profile_names};
pub use run::Runner;
pub use sensitivity::{
    HessianRequest, Sensitivity, SensitivityEvent, SensitivityRequest, sensitivity,
};
pub use subject::{FloatFigures, Subject, SubjectRequest};
pub use submission::{FieldError, NamedProfile, Places, Submission};
pub use tuning::{Tuner, TuningEvent, TuningRequest, tuned_network, tuned_onnx, tuning_request};
pub use view::view;
