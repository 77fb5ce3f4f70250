//! Quantization-aware training: a rounded network learns to answer well with its roundings in
//! place.
//!
//! [`Training`] starts from the post-training network, so that its first answers are already
//! that network's, and goes on in epochs. [`TunedNetwork`] is what comes out.
//!
//! Sources: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
//! Integer-Arithmetic-Only Inference"; Esser et al. 2020, "Learned Step Size Quantization"; Choi
//! et al. 2018, "PACT"; Hubara et al. 2016, "Binarized Neural Networks"; Hinton et al. 2015 for
//! the distillation. We differ from the first in that clips and steps start from the
//! post-training grids and not from the first batches.
//!
//! [`train_codebooks`] does the like for weights that share values.

mod batches;
mod checkpoint;
mod descent;
mod fake_quantize;
mod layer;
mod loss;
mod network;
mod norm;
#[cfg(test)]
mod reference;
mod rounding;
mod session;
mod settings;
mod shared;
mod state;
mod tuned;

pub use batches::TrainingImages;
pub use session::{EpochReport, StepReport, Training};
pub use settings::{Augmentation, BatchNormTraining, RangeLearning, TrainingSettings};
pub use shared::train_codebooks;
pub use tuned::{TunedLayer, TunedNetwork, TunedRounding};
