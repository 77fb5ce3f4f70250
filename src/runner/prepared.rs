//! Network and images made ready once, for one run or for many: calibrated, the float network
//! measured, and every policy that was judged remembered.

use std::{cell::RefCell, collections::HashMap, time::Instant};

use crate::{
    domain::{BitwidthPolicy, EpisodeRecord, Quality},
    quantization::EvaluationSettings,
    runner::{RunnerError, config::ImageCounts, inputs},
    search::{Plan, PolicyEvaluator, SearchError, Session},
};

/// What runs with one network, one set of images and one method share.
pub struct Prepared {
    pub session: Session,
    pub images: ImageCounts,
    /// SHA-256 over the images and labels of all splits, hexadecimal.
    pub data_digest: String,
    /// Seconds that calibration and the float network's pass took.
    pub prepare_s: f64,
    /// Policies judged so far, by key.
    judged: RefCell<HashMap<String, Quality>>,
}

impl Prepared {
    /// # Errors
    /// When data and network do not fit.
    pub fn new(plan: &Plan, settings: EvaluationSettings) -> Result<Self, RunnerError> {
        let start = Instant::now();
        let splits = inputs::load_splits(plan)?;
        let data_digest = splits.digest();
        let images = ImageCounts {
            calibration: splits.calibration.len(),
            search: splits.search.len(),
            test: splits.test.len(),
        };
        let session = Session::new(plan, splits, settings)?;
        let (prepare_s, judged) = (start.elapsed().as_secs_f64(), RefCell::default());
        Ok(Self { session, images, data_digest, prepare_s, judged })
    }

    /// Remembers what an earlier run on the same images found.
    pub fn remember(&self, records: &[EpisodeRecord]) {
        let known = records.iter().map(|record| (record.policy.key(), record.quality));
        self.judged.borrow_mut().extend(known);
    }
}

impl PolicyEvaluator for Prepared {
    fn evaluate(&self, policy: &BitwidthPolicy) -> Result<Quality, SearchError> {
        let quality = self.session.evaluate(policy)?;
        self.judged.borrow_mut().insert(policy.key(), quality);
        Ok(quality)
    }

    fn known(&self, policy: &BitwidthPolicy) -> Option<Quality> {
        self.judged.borrow().get(&policy.key()).copied()
    }
}
