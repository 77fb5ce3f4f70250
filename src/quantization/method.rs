//! Named recipes: how weights are clipped and rounded, how activation ranges are chosen.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::quantization::{
    clip::RangeRule, reconstruction::ReconstructionUnit, rounding::DAMPING, scaling::Preparation,
};

/// How the scale of a weight row is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightClip {
    /// The largest magnitude stays inside.
    MinMax,
    /// The least squared error, weighted by the mean square of each weight's input.
    Mse,
}

/// How weights go to their grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    Nearest,
    /// GPTQ: later weights make up for the error of earlier ones.
    SecondOrder,
}

/// Who reads the rounded form of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoundedReads {
    /// The layers with weights, as in HAQ: an addition of a skip connection works on what the
    /// accumulators held.
    #[default]
    Layers,
    /// Every reader, skip connections too: the tensor exists in its rounded form only.
    All,
}

/// Where bias correction takes a layer's mean input from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MeanInput {
    /// Measured before and after rounding, place by place.
    #[default]
    Measured,
    /// From the mean and spread before the activation, as of a normal number; what rounding the
    /// activation adds is left out.
    Analytic,
}

/// A complete post-training recipe.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Method {
    pub weight_clip: WeightClip,
    pub rounding: Rounding,
    pub activation_range: RangeRule,
    /// Of second-order rounding: added to the diagonal, as a share of its mean; above 0.
    #[serde(default = "usual_damping")]
    pub damping: f64,
    pub bias_correction: bool,
    /// Of bias correction.
    #[serde(default)]
    pub mean_input: MeanInput,
    pub rounded_reads: RoundedReads,
    /// What is done to the float network first, if anything.
    #[serde(default)]
    pub preparation: Option<Preparation>,
    /// What is learned after rounding, if anything.
    #[serde(default)]
    pub reconstruction: Option<ReconstructionUnit>,
}

impl Default for Method {
    /// `gptq`.
    fn default() -> Self {
        GPTQ
    }
}

fn usual_damping() -> f64 {
    DAMPING
}

const GPTQ: Method = Method {
    weight_clip: WeightClip::Mse,
    rounding: Rounding::SecondOrder,
    activation_range: RangeRule::Mse,
    damping: DAMPING,
    bias_correction: true,
    mean_input: MeanInput::Measured,
    rounded_reads: RoundedReads::Layers,
    preparation: None,
    reconstruction: None,
};

const MSE: Method = Method { rounding: Rounding::Nearest, bias_correction: false, ..GPTQ };

/// Name, recipe and one line on it, best first.
const NAMED: [(&str, Method, &str); 11] = [
    (
        "block",
        Method { reconstruction: Some(ReconstructionUnit::Block), ..GPTQ },
        "gptq, then roundings, biases and steps learned block by block; minutes a policy",
    ),
    (
        "adaround",
        Method { reconstruction: Some(ReconstructionUnit::Layer), ..GPTQ },
        "gptq, then roundings and biases learned layer by layer; minutes a policy",
    ),
    ("gptq", GPTQ, "clips by squared error, second-order rounding, bias correction"),
    (
        "gptq-stored",
        Method { rounded_reads: RoundedReads::All, ..GPTQ },
        "the same, and skip connections read rounded tensors too",
    ),
    (
        "equalized",
        Method { preparation: Some(Preparation::Equalize), ..GPTQ },
        "channels equalized across layers and high biases absorbed, then gptq",
    ),
    (
        "smooth",
        Method { preparation: Some(Preparation::Smooth(0.5)), ..GPTQ },
        "outliers of linear layers' inputs moved into the weights, then gptq",
    ),
    (
        "mse-corrected",
        Method { bias_correction: true, ..MSE },
        "clips by squared error, nearest rounding, bias correction",
    ),
    (
        "dfq",
        Method {
            preparation: Some(Preparation::Equalize),
            weight_clip: WeightClip::MinMax,
            activation_range: RangeRule::MinMax,
            bias_correction: true,
            mean_input: MeanInput::Analytic,
            ..MSE
        },
        "as data-free quantization: equalized, unclipped, nearest rounding, analytic bias correction",
    ),
    ("mse", MSE, "clips by squared error, nearest rounding"),
    (
        "percentile",
        Method {
            weight_clip: WeightClip::MinMax,
            activation_range: RangeRule::Percentile(99.99),
            ..MSE
        },
        "activations cut at 99.99 %, weights unclipped, nearest rounding",
    ),
    (
        "min-max",
        Method { weight_clip: WeightClip::MinMax, activation_range: RangeRule::MinMax, ..MSE },
        "nothing is clipped, nearest rounding",
    ),
];

impl Method {
    /// Names and one line on each, best first.
    pub fn named() -> impl Iterator<Item = (&'static str, Method, &'static str)> {
        NAMED.into_iter()
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMED.iter().find(|(_, method, _)| method == self) {
            Some((name, ..)) => f.pad(name),
            None => write!(f, "{self:?}"),
        }
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = NAMED.iter().find(|(name, ..)| *name == text);
        found.map(|(_, method, _)| *method).ok_or_else(|| {
            let names: Vec<&str> = NAMED.iter().map(|(name, ..)| *name).collect();
            format!("{text:?} is not a method; {} are", names.join(", "))
        })
    }
}
