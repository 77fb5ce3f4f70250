//! Arithmetic on codes alone: what a device without floats computes.
//!
//! An accumulator is a sum of products of codes ([`Convolution`], exact in 32 bits or refused);
//! a [`Requantization`] takes it to the codes of the next tensor with one fixed-point multiplier.
//! Below 8 bits the same sums can come from packed bits ([`Kernel`]), and batch norm before a
//! sign is one comparison ([`SignThreshold`]). [`IntegerNetwork`] puts them together.

mod error;
mod fixed_point;
mod kernel;
mod measure;
mod network;
mod requantizer;
mod threshold;

pub use error::IntegerError;
pub use fixed_point::{
    FixedPointMultiplier, Requantization, rounding_divide_by_power_of_two,
    saturating_rounding_doubling_high_mul,
};
pub use kernel::{CodeRange, Convolution, ConvolutionScratch, ConvolutionShape, Kernel};
pub use measure::IntegerMeasured;
pub use network::{
    IntegerNetwork, IntegerWorkspace, KernelChoice, WeightGrids, with_integer_points,
};
pub use threshold::{BatchNormSign, SignThreshold};
