//! Analytical clipping: ranges from the moments of a tensor, as if it were a Laplace or a normal
//! number. Beside it what its authors do with weights: channels share out their layer's bits,
//! and rounded channels get their mean and spread back.
//!
//! Source: Banner et al. 2019, "Post-training 4-bit quantization of convolution networks for
//! rapid-deployment".

mod allocation;
mod clipping;
mod correction;
mod distribution;
mod points;

pub use allocation::allocate_bits;
pub use clipping::AciqForm;
pub(super) use clipping::{activation_limits, weight_limits, weight_step};
pub use correction::correct_moments;
pub(super) use correction::mean_and_spread;
pub use distribution::{Distribution, Fit};
pub use points::{
    Points, clipping_constant, clipping_constant_one_sided, error_of_points, finite_constant,
};
