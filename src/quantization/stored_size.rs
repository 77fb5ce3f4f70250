//! What the weights of a quantized network take to store.

use crate::{
    domain::{Bits, BitwidthPolicy},
    quantization::{
        clip::WeightLevels, error::QuantizationError, quantized_network::Quantizer,
        weight_grids::Granularity,
    },
};

/// One f32.
const NUMBER_BYTES: u64 = 4;

impl Quantizer {
    /// The weights of all layers at the policy's bits, packed layer by layer, with what decodes
    /// them: one f32 scale a grid and, where a method has them, a byte for its zero point, a byte
    /// for its bits and an f32 offset; or a layer's centroids as f32. Biases stay as they are and
    /// are not counted.
    ///
    /// # Errors
    /// As [`Quantizer::apply`].
    pub fn stored_bytes(&self, policy: &BitwidthPolicy) -> Result<u64, QuantizationError> {
        self.check(policy)?;
        let layers = policy.layers().iter().enumerate();
        layers.map(|(index, bits)| self.stored_bytes_of_layer(index, bits.weight)).sum()
    }

    fn stored_bytes_of_layer(&self, index: usize, bits: Bits) -> Result<u64, QuantizationError> {
        let (rows, method) = (self.weight_rows(index), self.method());
        let codes = (rows.values.len() as u64 * u64::from(bits.get())).div_ceil(8);
        if method.weight_levels == WeightLevels::Codebook {
            let codebook = &self.rounded(index, bits)?.codebook;
            return Ok(codes + NUMBER_BYTES * codebook.len() as u64);
        }
        let n_rows = rows.n_rows as u64;
        let n_grids = if method.granularity == Granularity::Tensor { 1 } else { n_rows };
        let mut bytes_per_grid = NUMBER_BYTES;
        if method.weight_levels == WeightLevels::Affine {
            bytes_per_grid += 1;
        }
        if method.granularity == Granularity::AllocatedChannel {
            bytes_per_grid += 1;
        }
        // Moments are corrected channel by channel, whatever shares a grid.
        let corrected = if method.moment_correction { n_rows } else { 0 };
        let n_scales = n_grids.max(corrected);
        Ok(codes + bytes_per_grid * n_scales + NUMBER_BYTES * corrected)
    }
}
