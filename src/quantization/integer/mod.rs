//! Arithmetic on codes alone: what a device without floats computes.
//!
//! An accumulator is a sum of products of codes ([`Convolution`], exact in 32 bits or refused);
//! a [`Requantization`] takes it to the codes of the next tensor with one fixed-point multiplier.
//! Below 8 bits the same sums come from packed bit planes ([`BitPlanes`]), at one bit from
//! [`SignBits`], and batch norm before a sign is one comparison ([`SignThreshold`]).

mod bit_plane;
mod convolution;
mod error;
mod fixed_point;
mod sign_bits;
mod threshold;

pub use bit_plane::BitPlanes;
pub use convolution::{Convolution, ConvolutionShape};
pub use error::IntegerError;
pub use fixed_point::{
    FixedPointMultiplier, Requantization, rounding_divide_by_power_of_two,
    saturating_rounding_doubling_high_mul,
};
pub use sign_bits::SignBits;
pub use threshold::{BatchNormSign, SignThreshold};
