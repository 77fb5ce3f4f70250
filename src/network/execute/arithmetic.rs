//! In what numbers a quantized network is computed.

/// The numbers layers multiply and add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arithmetic {
    /// f32 throughout, rounded where the grids say so.
    #[default]
    Float,
    /// Convolutions whose weights and inputs are rounded to 8 bits or fewer multiply the codes
    /// and add up whole numbers; all else is f32.
    Codes,
}

impl Arithmetic {
    /// The faster one on this processor: codes where it adds up products of bytes (AVX-512 VNNI).
    pub fn fastest() -> Self {
        if haq_kernels::has_byte_products() { Self::Codes } else { Self::Float }
    }
}
