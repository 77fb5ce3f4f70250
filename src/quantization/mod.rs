//! Turning bits into a changed network and a measured quality.
//!
//! A recipe ([`Method`]) and some calibration images make a [`Quantizer`]; a bitwidth policy
//! turns it into a network; an [`Evaluator`] says how well that network still answers.

mod alone;
mod calibration;
mod clip;
mod error;
mod evaluate;
mod hessian;
mod integer;
mod layer_matrix;
mod method;
mod moments;
mod prefix;
mod quantized_network;
mod reconstruction;
mod rounding;
mod scaling;
mod sweep;
mod uniform;

pub use alone::{RoundedAlone, SingleRoundings};
pub use clip::RangeRule;
pub use error::QuantizationError;
pub use evaluate::{EvaluationSettings, Evaluator, Measured};
pub use hessian::{HessianSettings, TraceEstimate, hessian_traces};
pub use integer::{
    BatchNormSign, BitPlanes, Convolution, ConvolutionShape, FixedPointMultiplier, IntegerError,
    Requantization, SignBits, SignThreshold, rounding_divide_by_power_of_two,
    saturating_rounding_doubling_high_mul,
};
pub use method::{MeanInput, Method, RoundedReads, Rounding, WeightClip};
pub use prefix::{KEPT_BYTES, PrefixEvaluator};
pub use quantized_network::{Quantizer, RoundedWeights};
pub use reconstruction::{
    Reconstruction, ReconstructionSettings, ReconstructionUnit, RoundingStart, Segment,
    SegmentErrors,
};
pub use scaling::{
    ChannelStatistics, Equalization, Preparation, Smoothing, absorb_high_biases,
    analytic_bias_error, analytic_input_means, clipped_gaussian_mean, equalize,
    rectified_gaussian_mean, smooth,
};
pub use sweep::{MeasuredAlone, SingleRounding, sweep};
pub use uniform::{WeightGrid, activation_grid};
