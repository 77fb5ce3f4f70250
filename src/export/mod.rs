//! What leaves the program for other tools to read. So far: the policy file.

mod policy_file;

pub use policy_file::{PolicyFile, PolicyFileError, PolicyLayer, PolicyMetrics};
