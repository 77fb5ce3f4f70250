//! Whether arithmetic on codes may stand for floats: both are tried on the first images.

use tch::{Kind, Tensor};

use crate::{
    network::{Arithmetic, Executable, Graph},
    quantization::{error::QuantizationError, evaluate::Evaluator},
};

/// Codes may move the outputs by this share of what rounding itself moves them, as mean
/// divergence an image, and by so much in any case. Both arithmetics round the same network; they
/// part where a sum falls on the other side of a step, which later layers carry on: 1 to 2 % on
/// ResNet-20, 12 % on EfficientNet-Lite0. A wrong sum moves them as far as rounding does, or more.
const SHARE_OF_ROUNDING: f64 = 0.25;
const ALWAYS_ALLOWED: f64 = 1e-4;

impl Evaluator {
    /// This evaluator in the arithmetic it was made for, or in floats where that disagrees with
    /// floats on the first batch.
    ///
    /// - `graph`: a rounded network
    ///
    /// # Errors
    /// When the network does not run in floats.
    pub fn verified(mut self, graph: &Graph) -> Result<Self, QuantizationError> {
        if self.arithmetic() == Arithmetic::Codes {
            let on_codes = Executable::in_arithmetic(graph, self.device(), Arithmetic::Codes)?;
            // Where the method leaves no codes there is nothing to gain.
            let agrees = on_codes.n_layers_on_codes() > 0 && self.codes_agree(graph, &on_codes)?;
            if !agrees {
                self.settings_mut().arithmetic = Arithmetic::Float;
            }
        }
        Ok(self)
    }

    /// What rounded networks are computed in.
    pub fn arithmetic(&self) -> Arithmetic {
        self.settings().arithmetic
    }

    fn codes_agree(&self, graph: &Graph, on_codes: &Executable) -> Result<bool, QuantizationError> {
        let batch = &self.batches()[0];
        let Ok(codes) = on_codes.run(&batch.images) else { return Ok(false) };
        let floats = Executable::new(graph, self.device())?.run(&batch.images)?.flatten(1, -1);
        let apart = divergence(&floats, &codes.flatten(1, -1));
        let of_rounding = divergence(batch.float_outputs(), &floats);
        let agrees = are_close(apart, of_rounding);
        if !agrees {
            tracing::warn!(
                apart,
                of_rounding,
                "codes and floats disagree on the first images; floats are used"
            );
        }
        Ok(agrees)
    }
}

/// Whether two arithmetics agree that lie so far apart where rounding itself moves the outputs so
/// far, both as divergence.
fn are_close(apart: f64, of_rounding: f64) -> bool {
    apart <= ALWAYS_ALLOWED + SHARE_OF_ROUNDING * of_rounding
}

/// Mean Kullback-Leibler divergence an image.
fn divergence(from: &Tensor, to: &Tensor) -> f64 {
    let (log_p, log_q) = (from.log_softmax(1, Kind::Double), to.log_softmax(1, Kind::Double));
    let sum = (log_p.exp() * (&log_p - &log_q)).sum(Kind::Double).double_value(&[]);
    sum / from.size()[0] as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_agree_when_they_differ_less_than_rounding_does() {
        let outputs = |second: f32| Tensor::from_slice(&[1.0f32, second, 0.0]).view([1, 3]);
        for (name, float_network, floats, codes, expected) in [
            ("equal", 0.5, 0.5, 0.5, true),
            ("a last bit", 0.5, 0.5, 0.500_001, true),
            ("far less than rounding", 0.5, 1.5, 1.52, true),
            ("as much as rounding", 0.5, 1.5, 2.5, false),
            ("where rounding changes nothing", 0.5, 0.5, 1.5, false),
            ("not a number", 0.5, 0.5, f32::NAN, false),
        ] {
            let apart = divergence(&outputs(floats), &outputs(codes));
            let of_rounding = divergence(&outputs(float_network), &outputs(floats));
            assert_eq!(are_close(apart, of_rounding), expected, "{name}");
        }
    }
}
