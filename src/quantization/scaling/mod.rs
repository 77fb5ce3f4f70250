//! Scaling that leaves the float function alone and makes it easier to quantize: a channel is
//! made smaller where it is written and larger where it is read.
//!
//! [`equalize`] and [`absorb_high_biases`] are data-free quantization's steps, [`smooth`] is
//! SmoothQuant. What they need to know of activations, [`ChannelStatistics`] measures.
//!
//! Sources: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
//! Correction"; Xiao et al. 2023, "SmoothQuant".

mod absorption;
mod analytic;
mod channels;
mod equalization;
mod preparation;
mod smoothing;
mod source;
mod statistics;

pub use absorption::absorb_high_biases;
pub use analytic::{
    analytic_bias_error, analytic_input_means, before_clip, clipped_gaussian_mean,
    rectified_gaussian_mean,
};
pub use equalization::{Equalization, equalize};
pub use preparation::Preparation;
pub use smoothing::{Smoothing, smooth};
pub use statistics::ChannelStatistics;
