//! Network and images made ready once, for one run or for many: calibrated, the float network
//! measured, and every policy that was judged remembered.

use std::{cell::RefCell, collections::HashMap, time::Instant};

use crate::{
    domain::{BitwidthPolicy, EpisodeRecord, Quality},
    network::Arithmetic,
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
    /// Policies are judged in the fastest arithmetic of the processor.
    ///
    /// # Errors
    /// When data and network do not fit.
    pub fn new(plan: &Plan, settings: EvaluationSettings) -> Result<Self, RunnerError> {
        Self::in_arithmetic(plan, settings, Arithmetic::fastest())
    }

    /// # Errors
    /// When data and network do not fit.
    pub fn in_arithmetic(
        plan: &Plan,
        settings: EvaluationSettings,
        arithmetic: Arithmetic,
    ) -> Result<Self, RunnerError> {
        let settings = EvaluationSettings { arithmetic, ..settings };
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

    /// All that quality depends on but the policy. The digest covers which images serve for what
    /// and how they were normalised.
    pub fn evaluation_key(&self, plan: &Plan) -> String {
        let method = serde_json::to_string(&plan.request.method).expect("a method is plain data");
        let (model, data) = (&plan.model.digest, &self.data_digest);
        let mut key = format!("model {model} data {data} method {method}");
        if plan.request.episode_finetune > 0 {
            let (epochs, seed) = (plan.request.episode_finetune, plan.request.seed);
            key += &format!(" finetune {epochs} seed {seed}");
        }
        if self.session.arithmetic() == Arithmetic::Codes {
            key += ON_CODES;
        }
        key
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

/// How the evaluation key of a run ends whose policies are judged on codes.
const ON_CODES: &str = " arithmetic codes";

/// What a stored run goes on in. Sums of codes are exact on every processor, if slow on
/// some.
pub(super) fn arithmetic_of(evaluation_key: &str) -> Arithmetic {
    if evaluation_key.ends_with(ON_CODES) { Arithmetic::Codes } else { Arithmetic::Float }
}
