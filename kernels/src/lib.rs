//! Convolutions of 8-bit codes on the processor: products and sums are exact, and cost a third
//! of what floats cost where the processor multiplies bytes (AVX-512 VNNI). Elsewhere plain
//! loops give the same numbers.
//!
//! A layer packs its weights once ([`DenseWeights`], [`DepthwiseWeights`]), reads codes that
//! [`encode`] made, and gives its sums tile by tile to a [`Finish`]: scale, bias, skip
//! connection, clip, and the codes of the layer that reads next, before they leave the registers.
//!
//! A crate of its own so that it is always compiled with all optimisations, and rarely.

mod dense;
mod depthwise;
mod encode;
mod finish;
mod grid;

pub use self::{
    dense::{DenseWeights, Places, Tile},
    depthwise::{DepthwiseScratch, DepthwiseWeights, Sweep},
    encode::encode,
    finish::{Addend, Finish, Outputs},
    grid::Grid,
};

/// Whether the processor adds up products of bytes, sixteen sums at once.
pub fn has_byte_products() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512vnni") && has!("fma")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}
