//! Turning bits into a changed network and a measured quality.
//!
//! A recipe ([`Method`]) and some calibration images make a [`Quantizer`]; a bitwidth policy
//! turns it into a network; an [`Evaluator`] says how well that network still answers.

mod aciq;
mod alone;
mod blends;
mod calibration;
mod clip;
mod codebook;
mod error;
mod evaluate;
mod hessian;
mod integer;
mod layer_matrix;
mod method;
mod moments;
mod normal;
mod prefix;
mod quantized_network;
mod race;
mod reconstruction;
mod rounding;
mod scaling;
mod stored_size;
mod sweep;
mod training;
mod uniform;
mod verified;
mod weight_grids;

pub use aciq::{
    AciqForm, Distribution, Points, allocate_bits, clipping_constant, clipping_constant_one_sided,
    error_of_points, finite_constant,
};
pub use alone::{RoundedAlone, SingleRoundings};
pub use clip::{RangeRule, WeightClip, WeightLevels};
pub use error::QuantizationError;
pub use evaluate::{EvaluationSettings, Evaluator, Measured};
pub use hessian::{HessianSettings, TraceEstimate, hessian_traces};
pub use integer::{
    BatchNormSign, CodeRange, Convolution, ConvolutionScratch, ConvolutionShape,
    FixedPointMultiplier, IntegerError, IntegerMeasured, IntegerNetwork, IntegerWorkspace, Kernel,
    KernelChoice, Requantization, SignThreshold, WeightGrids, rounding_divide_by_power_of_two,
    saturating_rounding_doubling_high_mul, with_integer_points,
};
pub use method::{MeanInput, Method, RoundedReads, Rounding};
pub use prefix::{KEPT_BYTES, PrefixEvaluator};
pub use quantized_network::{Quantizer, RoundedWeights};
pub use race::{Course, Raced};
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
pub use training::{
    Augmentation, BatchNormTraining, EpochReport, RangeLearning, StepReport, Training,
    TrainingImages, TrainingSettings, TunedLayer, TunedNetwork, TunedRounding, train_codebooks,
};
pub use uniform::{ActivationLevels, WeightGrid, activation_grid};
pub use weight_grids::Granularity;
