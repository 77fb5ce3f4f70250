//! How reconstruction is done.

use serde::{Deserialize, Serialize};

/// What is learned at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReconstructionUnit {
    /// One layer and the activation that follows it (AdaRound).
    Layer,
    /// What lies between two tensors that carry the whole network, a residual block say
    /// (BRECQ).
    Block,
}

/// Where the learned roundings start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoundingStart {
    /// At the weight itself, between the two levels beside it.
    Fraction,
    /// At the level that the method's own rounding chose, leaning to the weight.
    Rounded,
}

/// What reconstruction may spend, and how it learns.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReconstructionSettings {
    pub unit: ReconstructionUnit,
    /// A block with more layers is learned layer by layer.
    pub largest_block: usize,
    /// Steps of Adam for each segment.
    pub iterations: usize,
    /// Images in one step; 0 counts as 1.
    pub batch: usize,
    /// Learning rate of the variables behind the roundings.
    pub rounding_rate: f64,
    /// Learning rate of the logarithm of an activation grid's scale; 0 leaves the grids alone.
    pub step_rate: f64,
    /// Learning rate of biases, as a share of the spread of the segment's output; 0 leaves the
    /// biases alone.
    pub bias_rate: f64,
    /// What one undecided rounding costs beside the squared error of one output vector.
    pub regularization: f64,
    /// The exponent of that cost at the start and at the end: it falls along a half cosine.
    pub beta: [f64; 2],
    /// Share of the steps before that cost sets in.
    pub warm_up: f64,
    /// Chance that one activation is left unrounded in one step (QDrop).
    pub drop: f64,
    /// Whether an output's error counts by how much the network's answer depends on it.
    pub fisher: bool,
    pub start: RoundingStart,
    pub seed: u64,
}

impl ReconstructionSettings {
    /// One layer at a time, activation grids as they are.
    pub fn layers() -> Self {
        Self { unit: ReconstructionUnit::Layer, step_rate: 0.0, ..Self::blocks() }
    }

    /// Block by block, activation grids learned too. QDrop is off: at a chance of 0.5 no gain
    /// was seen on ResNet-20.
    pub fn blocks() -> Self {
        Self {
            unit: ReconstructionUnit::Block,
            largest_block: 8,
            iterations: 1000,
            batch: 32,
            rounding_rate: 1e-2,
            step_rate: 1e-3,
            bias_rate: 1e-3,
            regularization: 0.01,
            beta: [20.0, 2.0],
            warm_up: 0.2,
            drop: 0.0,
            fisher: false,
            start: RoundingStart::Rounded,
            seed: 0,
        }
    }

    /// The settings with which a method that names this unit is run.
    pub fn of_unit(unit: ReconstructionUnit) -> Self {
        match unit {
            ReconstructionUnit::Layer => Self::layers(),
            ReconstructionUnit::Block => Self::blocks(),
        }
    }

    /// The exponent at one step; none during warm-up.
    ///
    /// Source: the schedule of AdaRound's section 5.
    pub fn beta_at(&self, step: usize) -> Option<f64> {
        let done = step as f64 / self.iterations as f64;
        if done < self.warm_up {
            return None;
        }
        let [start, end] = self.beta;
        let share = (done - self.warm_up) / (1.0 - self.warm_up);
        Some(end + 0.5 * (start - end) * (1.0 + (share * std::f64::consts::PI).cos()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beta_sets_in_after_warm_up_and_falls_to_its_end() {
        let settings =
            ReconstructionSettings { iterations: 100, ..ReconstructionSettings::blocks() };
        assert_eq!(settings.beta_at(19), None);
        assert_eq!(settings.beta_at(20), Some(20.0));
        assert!((settings.beta_at(60).unwrap() - 11.0).abs() < 1e-9);
        assert!((settings.beta_at(99).unwrap() - 2.0).abs() < 0.02);
        let betas: Vec<f64> = (20..100).map(|step| settings.beta_at(step).unwrap()).collect();
        assert!(betas.windows(2).all(|pair| pair[1] < pair[0]));
    }
}
