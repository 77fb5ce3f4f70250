//! How a quantized network is trained.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::network::FoldedNorm;

/// Where the ranges of activations come from during training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RangeLearning {
    /// The step of every grid is learned (Esser et al. 2020).
    Lsq,
    /// The upper end of tensors that are never negative is learned (Choi et al. 2018); the
    /// step of the others.
    Pact,
    /// The mean of the batches' smallest and largest values, later batches counting more
    /// (Jacob et al. 2018).
    Ema,
}

/// What becomes of batch normalization during training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchNormTraining {
    /// It is part of the weights and biases, which are trained as they are.
    Folded,
    /// Each batch folds it into the weights with its own statistics before they are rounded,
    /// as inference does with the running ones (Jacob et al. 2018).
    Fold,
    /// It normalizes what the rounded weights give, and goes into their scales at the end.
    Keep,
}

impl BatchNormTraining {
    /// Norms are kept where there are any: training them folded is weaker.
    pub fn usual(norms: &[FoldedNorm]) -> Self {
        if norms.is_empty() { Self::Folded } else { Self::Keep }
    }
}

/// Changes to images while they are trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augmentation {
    None,
    /// Moved by up to an eighth of a side, what comes in being pixels of value 0.
    Crop,
    /// Moved, and mirrored half of the time.
    CropFlip,
}

/// All that decides how training goes, but for the network, the bits and the images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainingSettings {
    /// Passes over the training images, at least 1.
    pub epochs: u32,
    /// Of the first step; falls to 0 along a half cosine.
    pub learning_rate: f64,
    /// Share of the last step that the next one keeps, below 1.
    pub momentum: f64,
    /// Pulls weights, and clips of PACT, towards 0: this share of them is added to their gradient.
    pub weight_decay: f64,
    /// Images in one step, at least 1; what is left of an epoch is dropped.
    pub batch: usize,
    /// Decides the order of images and how each is changed.
    pub seed: u64,
    pub ranges: RangeLearning,
    /// Steps at the start during which activations are not rounded.
    pub delay_steps: u64,
    /// What the Kullback-Leibler divergence from the float network counts beside the
    /// cross-entropy against the labels; without labels it is all there is.
    pub distillation: f64,
    pub batch_norm: BatchNormTraining,
    pub augmentation: Augmentation,
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self {
            epochs: 10,
            learning_rate: 0.01,
            momentum: 0.9,
            weight_decay: 1e-4,
            batch: 64,
            seed: 0,
            ranges: RangeLearning::Lsq,
            delay_steps: 0,
            distillation: 1.0,
            batch_norm: BatchNormTraining::Keep,
            augmentation: Augmentation::None,
        }
    }
}

impl TrainingSettings {
    /// What is wrong with them, if anything.
    ///
    /// # Errors
    /// Names the setting, what it is and what it needs to be.
    pub fn check(&self) -> Result<(), String> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        for (valid, what, found, needed) in [
            (self.epochs > 0, "epochs", f64::from(self.epochs), "above 0"),
            (self.batch > 0, "the batch", self.batch as f64, "above 0"),
            (positive(self.learning_rate), "the learning rate", self.learning_rate, "above 0"),
            ((0.0..1.0).contains(&self.momentum), "momentum", self.momentum, "from 0 to below 1"),
            (not_negative(self.weight_decay), "weight decay", self.weight_decay, "0 or more"),
            (not_negative(self.distillation), "distillation", self.distillation, "0 or more"),
        ] {
            if !valid {
                return Err(format!("{what} is {found}; it needs to be {needed}"));
            }
        }
        Ok(())
    }
}

/// Names as typed, by kind.
macro_rules! named {
    ($kind:ident, $what:literal, $($name:literal => $value:ident),+) => {
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $($kind::$value => $name),+ })
            }
        }

        impl FromStr for $kind {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($name => Ok($kind::$value),)+
                    other => Err(format!(
                        concat!("{:?} is not ", $what, "; {} are"), other, [$($name),+].join(", ")
                    )),
                }
            }
        }
    };
}

named!(RangeLearning, "a way to learn ranges", "lsq" => Lsq, "pact" => Pact, "ema" => Ema);
named!(BatchNormTraining, "a treatment of batch norm", "folded" => Folded, "fold" => Fold, "keep" => Keep);
named!(Augmentation, "an augmentation", "none" => None, "crop" => Crop, "crop-flip" => CropFlip);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        let good = TrainingSettings::default();
        assert_eq!(good.check(), Ok(()));
        for (settings, expected) in [
            (TrainingSettings { epochs: 0, ..good }, "epochs is 0"),
            (TrainingSettings { batch: 0, ..good }, "the batch is 0"),
            (TrainingSettings { learning_rate: 0.0, ..good }, "the learning rate is 0"),
            (TrainingSettings { learning_rate: f64::NAN, ..good }, "the learning rate is NaN"),
            (TrainingSettings { momentum: 1.0, ..good }, "momentum is 1"),
            (TrainingSettings { weight_decay: -1.0, ..good }, "weight decay is -1"),
            (TrainingSettings { distillation: f64::INFINITY, ..good }, "distillation is inf"),
        ] {
            let error = settings.check().unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn names_are_read_as_they_are_shown() {
        for ranges in [RangeLearning::Lsq, RangeLearning::Pact, RangeLearning::Ema] {
            assert_eq!(ranges.to_string().parse(), Ok(ranges));
        }
        let error = "kept".parse::<BatchNormTraining>().unwrap_err();
        assert!(error.contains("\"kept\"") && error.contains("folded, fold, keep"), "{error}");
    }
}
