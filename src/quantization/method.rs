//! Named recipes: how weights are clipped and rounded, how activation ranges are chosen.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::quantization::{
    aciq::AciqForm,
    clip::{RangeRule, WeightClip, WeightLevels},
    error::QuantizationError,
    reconstruction::ReconstructionUnit,
    rounding::DAMPING,
    scaling::Preparation,
    weight_grids::Granularity,
};

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
    #[serde(default, skip_serializing_if = "is_usual")]
    pub weight_levels: WeightLevels,
    #[serde(default, skip_serializing_if = "is_usual")]
    pub granularity: Granularity,
    /// Whether rounded channels get the mean and spread of their float weights back.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub moment_correction: bool,
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

/// What recipes did not know at first is left out where it is as it was, so that stored recipes
/// stay the same.
fn is_usual<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

const GPTQ: Method = Method {
    weight_clip: WeightClip::Mse,
    weight_levels: WeightLevels::Full,
    granularity: Granularity::Channel,
    moment_correction: false,
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

const MIN_MAX: Method =
    Method { weight_clip: WeightClip::MinMax, activation_range: RangeRule::MinMax, ..MSE };

const ACIQ: Method = Method {
    weight_clip: WeightClip::Aciq(AciqForm::Closed),
    activation_range: RangeRule::Aciq(AciqForm::Closed),
    moment_correction: true,
    ..MSE
};

/// Name, recipe and one line on it: the usual one, those that build on it, then the simpler ones.
const NAMED: [(&str, Method, &str); 22] = [
    ("gptq", GPTQ, "clips by squared error, second-order rounding, bias correction"),
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
    (
        "gptq-stored",
        Method { rounded_reads: RoundedReads::All, ..GPTQ },
        "gptq, and skip connections read rounded tensors too",
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
        "affine",
        Method { weight_levels: WeightLevels::Affine, ..MSE },
        "mse, and each channel's weights on a range of their own around 0",
    ),
    (
        "per-tensor",
        Method { granularity: Granularity::Tensor, ..MSE },
        "mse, with one scale for all weights of a layer",
    ),
    (
        "dynamic",
        Method { activation_range: RangeRule::Dynamic { per_row: false }, ..MSE },
        "weights as mse; activation ranges are those of each batch at run time",
    ),
    (
        "dynamic-row",
        Method { activation_range: RangeRule::Dynamic { per_row: true }, ..MSE },
        "dynamic, and each row of a linear layer's input has its own range",
    ),
    (
        "aciq",
        ACIQ,
        "analytic clips of Laplace and normal tensors, nearest rounding, weight moments corrected",
    ),
    (
        "aciq-finite",
        Method {
            weight_clip: WeightClip::Aciq(AciqForm::Finite),
            activation_range: RangeRule::Aciq(AciqForm::Finite),
            ..ACIQ
        },
        "aciq, with the clips that are best for the levels there really are",
    ),
    (
        "aciq-allocated",
        Method { granularity: Granularity::AllocatedChannel, ..ACIQ },
        "aciq, and up to 4 bits channels share out their layer's weight bits",
    ),
    (
        "kl",
        Method { weight_clip: WeightClip::MinMax, activation_range: RangeRule::Kl, ..MSE },
        "activations cut by relative entropy of histograms, as TensorRT does; weights unclipped",
    ),
    (
        "haq",
        Method {
            weight_clip: WeightClip::Haq,
            weight_levels: WeightLevels::Narrow,
            granularity: Granularity::Tensor,
            activation_range: RangeRule::Haq,
            ..MSE
        },
        "HAQ's own linear quantizer without its fine-tuning: one scale a layer, its clip search",
    ),
    (
        "codebook",
        Method { weight_levels: WeightLevels::Codebook, activation_range: RangeRule::Float, ..MSE },
        "each layer's weights share 2^bits values found by k-means; activations stay float",
    ),
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
        "ema",
        Method { activation_range: RangeRule::Ema(0.9), ..MIN_MAX },
        "activation ranges are moving averages over batches, weights unclipped, nearest rounding",
    ),
    ("min-max", MIN_MAX, "nothing is clipped, nearest rounding"),
];

impl Method {
    /// Names and one line on each, the usual one first.
    pub fn named() -> impl Iterator<Item = (&'static str, Method, &'static str)> {
        NAMED.into_iter()
    }

    /// # Errors
    /// When parts of the recipe exclude each other.
    pub(super) fn check(&self) -> Result<(), QuantizationError> {
        let codebook = self.weight_levels == WeightLevels::Codebook;
        let second_order = self.rounding == Rounding::SecondOrder;
        let learned = self.reconstruction.is_some();
        let own_bits = self.granularity == Granularity::AllocatedChannel;
        let percent = |share: f64| (0.0..=100.0).contains(&share);
        let problem = match self.activation_range {
            RangeRule::Ema(kept) if !(0.0..1.0).contains(&kept) => {
                "a moving average keeps from 0 to below 1 of the old"
            }
            RangeRule::Percentile(kept) if !percent(kept) => "a percentile is from 0 to 100",
            _ if codebook && (second_order || self.moment_correction || learned) => {
                "a codebook's weights are only rounded to the nearest centroid"
            }
            _ if learned && (self.moment_correction || own_bits) => {
                "roundings are learned on plain grids: without moment correction or own bits of channels"
            }
            _ => return Ok(()),
        };
        Err(QuantizationError::Recipe { problem })
    }
}

impl Method {
    /// Whether activations are rounded at all; where not, a policy's activation bits mean nothing.
    pub fn rounds_activations(&self) -> bool {
        self.activation_range != RangeRule::Float
    }

    /// Whether a layer's weights are numbers of a codebook's entries.
    pub fn has_codebooks(&self) -> bool {
        self.weight_levels == WeightLevels::Codebook
    }

    /// Whether weights and activations lie on plain grids, which training can learn.
    pub(super) fn is_trainable(&self) -> bool {
        let plain = self.weight_levels == WeightLevels::Full
            && self.granularity != Granularity::AllocatedChannel
            && !self.moment_correction;
        plain && !matches!(self.activation_range, RangeRule::Dynamic { .. } | RangeRule::Float)
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
            let names: Vec<&str> = Method::named().map(|(name, ..)| name).collect();
            format!("{text:?} is not a method; {} are", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_stands_for_a_recipe_of_its_own_that_holds_together() {
        let names: BTreeSet<&str> = Method::named().map(|(name, ..)| name).collect();
        assert_eq!(names.len(), NAMED.len());
        for (name, method, line) in Method::named() {
            method.check().unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((name.parse(), method.to_string().as_str()), (Ok(method), name));
            assert!(!line.is_empty() && !line.ends_with('.'), "{name}");
            let stored = serde_json::to_string(&method).unwrap();
            assert_eq!(serde_json::from_str::<Method>(&stored).unwrap(), method, "{name}");
        }
        assert_eq!(Method::named().next().unwrap().1, Method::default());
    }

    /// Rows of earlier versions are found by it.
    #[test]
    fn the_usual_recipe_is_stored_as_ever() {
        let expected = r#"{"weight_clip":"mse","rounding":"second-order","activation_range":"mse","damping":0.01,"bias_correction":true,"mean_input":"measured","rounded_reads":"layers","preparation":null,"reconstruction":null}"#;
        assert_eq!(serde_json::to_string(&Method::default()).unwrap(), expected);
    }

    #[test]
    fn parts_that_exclude_each_other_are_named() {
        let codebook = "codebook".parse::<Method>().unwrap();
        let learned = Some(ReconstructionUnit::Layer);
        for (method, expected) in [
            (Method { rounding: Rounding::SecondOrder, ..codebook }, "nearest centroid"),
            (Method { moment_correction: true, ..codebook }, "nearest centroid"),
            (Method { reconstruction: learned, ..codebook }, "nearest centroid"),
            (Method { reconstruction: learned, ..ACIQ }, "plain grids"),
            (Method { activation_range: RangeRule::Ema(1.0), ..GPTQ }, "below 1"),
            (Method { activation_range: RangeRule::Ema(f64::NAN), ..GPTQ }, "below 1"),
            (Method { activation_range: RangeRule::Percentile(101.0), ..GPTQ }, "0 to 100"),
        ] {
            let error = method.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
