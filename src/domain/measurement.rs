//! What is measured without a search: methods side by side, and layers one by one.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::domain::{Bits, LayerBits, Quality};

/// Which of a layer's two tensors, and so which of its two widths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Operand {
    #[serde(rename = "weights")]
    Weight,
    #[serde(rename = "activations")]
    Activation,
}

impl Operand {
    pub const ALL: [Operand; 2] = [Operand::Weight, Operand::Activation];

    pub const fn word(self) -> &'static str {
        match self {
            Operand::Weight => "weights",
            Operand::Activation => "activations",
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Operand {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Operand::ALL
            .into_iter()
            .find(|operand| operand.word() == text)
            .ok_or_else(|| format!("{text:?} is no tensor of a layer; weights or activations is"))
    }
}

/// What figures belong to: a network, the images it is judged on, those it is calibrated on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubjectDescription {
    /// File name, or `embedded`.
    pub model: String,
    /// SHA-256, hexadecimal.
    pub model_digest: String,
    /// Path, or `embedded`.
    pub data: String,
    /// SHA-256 over both sets of images and their labels, hexadecimal.
    pub data_digest: String,
    /// The split the network is judged on: `test` or `search`.
    pub split: String,
    pub images: u64,
    pub calibration_images: u64,
    pub seed: u64,
}

/// A method as it is known, and what its name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MethodKey {
    pub name: String,
    /// JSON; a method whose recipe changed is another one.
    pub recipe: String,
}

/// One method at one choice of bits, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantizationRecord {
    pub method: MethodKey,
    /// Of every layer that `pins` does not name.
    pub bits: LayerBits,
    /// As `--pin` takes it.
    pub pins: String,
    pub quality: Quality,
    /// Weights at their bits and one f32 scale an output channel.
    pub size_bytes: u64,
    /// Shared by all bits of the method.
    pub calibrate_s: f64,
    /// What other bits of the method had rounded already is not in it.
    pub round_s: f64,
    pub evaluate_s: f64,
}

/// The float network with one tensor of one layer rounded, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SensitivityRecord {
    pub layer_index: usize,
    pub name: String,
    pub operand: Operand,
    pub bits: Bits,
    pub quality: Quality,
    /// Sum of squared changes of the weights; none for activations.
    pub squared_error: Option<f64>,
}

/// Trace of the Hessian of the mean loss by one layer's weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HessianTrace {
    pub layer_index: usize,
    pub name: String,
    pub weights: u64,
    /// Mean over random probes, in nats by squared weight.
    pub trace: f64,
    /// Of that mean.
    pub standard_error: f64,
}

impl HessianTrace {
    /// HAWQ-V2's rank of a layer whose rounding changes its weights by `squared_error` in sum.
    ///
    /// Source: Dong et al. 2020, "HAWQ-V2", section 3.
    pub fn omega(&self, squared_error: f64) -> f64 {
        self.trace / self.weights as f64 * squared_error
    }
}
