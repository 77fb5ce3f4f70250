//! The loop's two seams: what a policy reaches, and what it costs.

use serde::{Deserialize, Serialize};

use crate::{
    domain::{BitwidthPolicy, Cost, JudgedBy, Measure, Quality},
    search::error::SearchError,
};

/// Bitwidths → quality. One forward pass of the search images, or a closure in a test.
pub trait PolicyEvaluator {
    fn evaluate(&self, policy: &BitwidthPolicy) -> Result<Quality, SearchError>;

    /// The same for as long as the policy may still be better than `rival`, which was judged
    /// on all images.
    fn race(
        &self,
        policy: &BitwidthPolicy,
        _rival: &BitwidthPolicy,
        _measure: Measure,
    ) -> Result<Judged, SearchError> {
        Ok(Judged::on_all_images(self.evaluate(policy)?))
    }

    fn judge(&self, trial: &Trial, measure: Measure) -> Result<Judged, SearchError> {
        match &trial.rival {
            Some(rival) => self.race(&trial.policy, rival, measure),
            None => Ok(Judged::on_all_images(self.evaluate(&trial.policy)?)),
        }
    }

    /// Judges the first of these policies, at least one. The others are asked for later, and may be
    /// judged meanwhile.
    fn judge_first(&self, trials: &[Trial], measure: Measure) -> Result<Judged, SearchError> {
        self.judge(&trials[0], measure)
    }

    /// The same with whichever of them is done first, and its place.
    fn judge_any(
        &self,
        trials: &[Trial],
        measure: Measure,
    ) -> Result<(usize, Judged), SearchError> {
        Ok((0, self.judge_first(trials, measure)?))
    }

    /// What the policy is known to reach already, such as from another run on the same images.
    fn known(&self, _policy: &BitwidthPolicy) -> Option<Quality> {
        None
    }
}

/// A policy to be judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    pub policy: BitwidthPolicy,
    /// Judged on all images before; the policy is judged for as long as it may be better.
    pub rival: Option<BitwidthPolicy>,
}

/// What judging a policy gave; see [`EpisodeRecord`](crate::domain::EpisodeRecord).
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    pub quality: Quality,
    pub stopped_after_images: Option<u32>,
    /// None: this process.
    pub by: Option<JudgedBy>,
}

impl Judged {
    pub fn on_all_images(quality: Quality) -> Self {
        Self { quality, stopped_after_images: None, by: None }
    }
}

/// Bitwidths → cost. The simulator, or a closure in a test.
pub trait PolicyCost {
    fn cost(&self, policy: &BitwidthPolicy) -> Cost;
}

impl<F: Fn(&BitwidthPolicy) -> Cost> PolicyCost for F {
    fn cost(&self, policy: &BitwidthPolicy) -> Cost {
        self(policy)
    }
}
