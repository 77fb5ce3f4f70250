//! Reconstruction: rounding that is learned so that a part of the network answers as the float
//! network does.
//!
//! A [`Segment`] is one layer with the activation that follows (AdaRound) or a residual block
//! (BRECQ). Segments are learned one after the other in network order. Each sees the input
//! that the rounded network before it gives, and aims at the output of the float network.
//! Nothing but the roundings, the biases and the steps of the activation grids changes.
//!
//! Sources: Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization";
//! Li et al. 2021, "BRECQ"; Wei et al. 2022, "QDrop"; Esser et al. 2020, "Learned Step Size
//! Quantization".

mod activation_step;
mod adam;
mod fisher;
mod learned;
mod prefix;
mod random;
mod refine;
mod segments;
mod settings;
mod soft_rounding;

pub use refine::{Reconstruction, SegmentErrors};
pub use segments::Segment;
pub use settings::{ReconstructionSettings, ReconstructionUnit, RoundingStart};
