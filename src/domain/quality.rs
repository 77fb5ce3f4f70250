//! How well a network answers, and which figure of it a search maximizes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Every figure one pass over labelled or unlabelled images gives.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Quality {
    /// Share of images whose best class is the label, 0 to 1; `None` without labels.
    pub top1: Option<f64>,
    /// Share of images with the label among the best five classes, 0 to 1.
    pub top5: Option<f64>,
    /// Mean cross-entropy in nats against the labels.
    pub loss: Option<f64>,
    /// Share of images whose best class is the float network's, 0 to 1.
    pub agreement: Option<f64>,
    /// Mean Kullback-Leibler divergence in nats from the float network's softmax; in a search over
    /// its images and blends of them, which it has not seen in training.
    pub kl: Option<f64>,
    /// Mean squared difference of the outputs from the float network's, over the same.
    pub mse: Option<f64>,
}

/// The figure a search maximizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    #[default]
    Top1,
    Top5,
    Agreement,
    Kl,
    Mse,
}

impl Measure {
    pub const ALL: [Measure; 5] =
        [Measure::Top1, Measure::Top5, Measure::Agreement, Measure::Kl, Measure::Mse];

    pub const fn word(self) -> &'static str {
        match self {
            Measure::Top1 => "top1",
            Measure::Top5 => "top5",
            Measure::Agreement => "agreement",
            Measure::Kl => "kl",
            Measure::Mse => "mse",
        }
    }

    /// Whether the measure needs labels.
    pub const fn needs_labels(self) -> bool {
        matches!(self, Measure::Top1 | Measure::Top5)
    }

    /// A number where more is better: a share from 0 to 1, or a distance with its sign turned.
    pub fn of(self, quality: &Quality) -> Option<f64> {
        match self {
            Measure::Top1 => quality.top1,
            Measure::Top5 => quality.top5,
            Measure::Agreement => quality.agreement,
            Measure::Kl => quality.kl.map(|kl| -kl),
            Measure::Mse => quality.mse.map(|mse| -mse),
        }
    }

    /// As a person reads it: percent for shares, the plain distance otherwise.
    pub fn show(self, value: f64) -> String {
        match self {
            Measure::Top1 | Measure::Top5 | Measure::Agreement => {
                format!("{:.2} %", value * 100.0)
            }
            Measure::Kl | Measure::Mse if value != 0.0 && value.abs() < 0.001 => {
                format!("{:.1e}", -value)
            }
            // Adding zero turns -0 into 0.
            Measure::Kl | Measure::Mse => format!("{:.4}", -value + 0.0),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Measure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Measure::ALL.into_iter().find(|measure| measure.word() == text).ok_or_else(|| {
            format!("{text:?} is not a measure; top1, top5, agreement, kl or mse is")
        })
    }
}
