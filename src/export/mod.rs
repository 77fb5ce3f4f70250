//! What leaves the program for other tools to read: policies, and quantized networks.

mod aimet;
mod deployment;
mod policy_file;
mod target;

pub use aimet::{AimetVersion, aimet_encodings, bits_of_encodings};
pub use deployment::Deployment;
pub use policy_file::{PolicyFile, PolicyFileError, PolicyLayer, PolicyMetrics, TensorLevels};
pub use target::{Change, ExportError, Target};
