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
    pub fn id(&self) -> String {
        let Self { testbed, policy, rival, measure, time_limit_s: _ } = self;
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

    fn evaluation() -> Evaluation {
        let bits = Bits::new(4).unwrap();
        let policy = BitwidthPolicy::uniform(3, LayerBits::new(bits, bits));
        let trial = Trial { policy, rival: None };
        Evaluation::new(&Blob::of(b"testbed"), &trial, Measure::Top1, 60)
    }

    #[test]
    fn an_id_changes_with_all_that_the_answer_depends_on_and_with_nothing_else() {
        let one = evaluation();
        let eight = BitwidthPolicy::uniform(3, LayerBits::EIGHT);
        for other in [
            Evaluation { testbed: Blob::of(b"another"), ..one.clone() },
            Evaluation { policy: eight.clone(), ..one.clone() },
            Evaluation { rival: Some(eight), ..one.clone() },
            Evaluation { measure: Measure::Kl, ..one.clone() },
        ] {
            assert_ne!(other.id(), one.id(), "{other:?}");
        }
        assert_eq!(Evaluation { time_limit_s: 5, ..one.clone() }.id(), one.id());
        let read: Evaluation = serde_json::from_value(serde_json::to_value(&one).unwrap()).unwrap();
        assert_eq!((read.id(), &read), (one.id(), &one));
    }
}
