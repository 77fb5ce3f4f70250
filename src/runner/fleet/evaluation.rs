//! What a worker is asked, and what it answers.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    domain::{BitwidthPolicy, JudgedBy, Measure, Quality, hexadecimal},
    network::Arithmetic,
    queue::Blob,
    search::{Judged, Trial},
};

/// One policy to be judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// A [`Testbed`](super::Testbed) as JSON.
    pub testbed: Blob,
    pub policy: BitwidthPolicy,
    /// Judged on all images before; the policy is judged for as long as it may be better.
    pub rival: Option<BitwidthPolicy>,
    pub measure: Measure,
    /// Seconds after which a worker gives up.
    pub time_limit_s: u64,
}

impl Evaluation {
    pub fn new(testbed: &Blob, trial: &Trial, measure: Measure, time_limit_s: u64) -> Self {
        let Trial { policy, rival } = trial.clone();
        Self { testbed: testbed.clone(), policy, rival, measure, time_limit_s }
    }

    /// What is to be judged.
    pub fn trial(&self) -> Trial {
        Trial { policy: self.policy.clone(), rival: self.rival.clone() }
    }

    /// SHA-256 over all that the answer depends on, hexadecimal.
    ///
    /// - `testbed`: what the trial is judged on
    pub fn id(testbed: &Blob, trial: &Trial, measure: Measure) -> String {
        let Trial { policy, rival } = trial;
        let rival = rival.as_ref().map_or_else(String::new, BitwidthPolicy::key);
        let text = format!("{} {} against {rival} by {measure}", testbed.digest, policy.key());
        hexadecimal(&Sha256::digest(text))
    }
}

/// What a worker found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub quality: Quality,
    /// See [`Judged::stopped_after_images`].
    pub stopped_after_images: Option<u32>,
    /// What it was judged in.
    pub arithmetic: FoundIn,
    /// Seconds of the evaluation alone.
    pub wall_s: f64,
    /// As the worker's machine calls it.
    pub device: String,
    pub libtorch_version: String,
}

/// See [`Arithmetic`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FoundIn {
    Codes,
    Floats,
}

impl From<Arithmetic> for FoundIn {
    fn from(arithmetic: Arithmetic) -> Self {
        match arithmetic {
            Arithmetic::Codes => Self::Codes,
            Arithmetic::Float => Self::Floats,
        }
    }
}

impl Finding {
    /// - `worker`: who found it
    pub fn judged_by(self, worker: &str) -> Judged {
        let Self { quality, stopped_after_images, wall_s, device, libtorch_version, .. } = self;
        let by =
            JudgedBy { worker: worker.to_owned(), device, libtorch_version, evaluation_s: wall_s };
        Judged { quality, stopped_after_images, by: Some(by) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Bits, LayerBits};

    #[test]
    fn an_id_changes_with_all_that_the_answer_depends_on_and_with_nothing_else() {
        let bits = Bits::new(4).unwrap();
        let policy = BitwidthPolicy::uniform(3, LayerBits::new(bits, bits));
        let (testbed, one) = (Blob::of(b"testbed"), Trial { policy, rival: None });
        let id = Evaluation::id(&testbed, &one, Measure::Top1);
        let eight = BitwidthPolicy::uniform(3, LayerBits::EIGHT);
        let other = Trial { policy: eight.clone(), ..one.clone() };
        let raced = Trial { rival: Some(eight), ..one.clone() };
        for (testbed, trial, measure) in [
            (&Blob::of(b"another"), &one, Measure::Top1),
            (&testbed, &other, Measure::Top1),
            (&testbed, &raced, Measure::Top1),
            (&testbed, &one, Measure::Kl),
        ] {
            assert_ne!(Evaluation::id(testbed, trial, measure), id, "{trial:?} by {measure}");
        }
        let asked = Evaluation::new(&testbed, &raced, Measure::Top1, 60);
        let read: Evaluation =
            serde_json::from_value(serde_json::to_value(&asked).unwrap()).unwrap();
        assert_eq!((read.trial(), &read), (raced, &asked));
    }
}
