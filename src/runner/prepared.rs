//! Network and images made ready once, for one run or for many: calibrated, the float network
//! measured, and every policy that was judged remembered.

use std::{cell::RefCell, collections::HashMap, time::Instant};

use crate::{
    domain::{BitwidthPolicy, EpisodeRecord, Measure, Quality},
    network::Arithmetic,
    quantization::EvaluationSettings,
    runner::{RunnerError, config::ImageCounts, inputs},
    search::{Judged, Plan, PolicyEvaluator, SearchError, Session},
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
    /// Policies are judged in the fastest arithmetic of the processor, on blends of the search
    /// images as well.
    ///
    /// # Errors
    /// When data and network do not fit.
    pub fn new(plan: &Plan, settings: EvaluationSettings) -> Result<Self, RunnerError> {
        let arithmetic = Arithmetic::fastest();
        Self::judging(plan, EvaluationSettings { arithmetic, blends: true, ..settings })
    }

    /// Policies are judged as those of a stored run were. Sums of codes are exact on every
    /// processor, if slow on some.
    ///
    /// - `evaluation_key`: of the stored run
    ///
    /// # Errors
    /// When data and network do not fit.
    pub fn like(
        plan: &Plan,
        settings: EvaluationSettings,
        evaluation_key: &str,
    ) -> Result<Self, RunnerError> {
        Self::judging(plan, settings_like(settings, evaluation_key))
    }

    fn judging(plan: &Plan, settings: EvaluationSettings) -> Result<Self, RunnerError> {
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
        if self.session.has_blends() {
            key += ON_BLENDS;
        }
        key
    }

    /// Remembers what a policy reached on all images, wherever it was judged.
    pub fn remember_judged(&self, policy: &BitwidthPolicy, judged: &Judged) {
        if judged.stopped_after_images.is_none() {
            self.judged.borrow_mut().insert(policy.key(), judged.quality);
        }
    }

    /// Remembers what an earlier run on the same images found.
    pub fn remember(&self, records: &[EpisodeRecord]) {
        let whole = records.iter().filter(|record| record.is_whole());
        let known = whole.map(|record| (record.policy.key(), record.quality));
        self.judged.borrow_mut().extend(known);
    }
}

impl PolicyEvaluator for Prepared {
    fn evaluate(&self, policy: &BitwidthPolicy) -> Result<Quality, SearchError> {
        let quality = self.session.evaluate(policy)?;
        self.judged.borrow_mut().insert(policy.key(), quality);
        Ok(quality)
    }

    fn race(
        &self,
        policy: &BitwidthPolicy,
        rival: &BitwidthPolicy,
        measure: Measure,
    ) -> Result<Judged, SearchError> {
        let judged = self.session.race(policy, rival, measure)?;
        self.remember_judged(policy, &judged);
        Ok(judged)
    }

    fn known(&self, policy: &BitwidthPolicy) -> Option<Quality> {
        self.judged.borrow().get(&policy.key()).copied()
    }
}

/// What the evaluation key of a run holds whose policies are judged on codes, and on blends of
/// the search images as well.
const ON_CODES: &str = " arithmetic codes";
const ON_BLENDS: &str = " blends";

/// How policies of runs with this evaluation key were judged.
pub fn settings_like(settings: EvaluationSettings, evaluation_key: &str) -> EvaluationSettings {
    let blends = evaluation_key.contains(ON_BLENDS);
    let arithmetic =
        if is_on_codes(evaluation_key) { Arithmetic::Codes } else { Arithmetic::Float };
    EvaluationSettings { arithmetic, blends, ..settings }
}

/// Whether policies of runs with this evaluation key were judged on integer codes.
pub fn is_on_codes(evaluation_key: &str) -> bool {
    evaluation_key.contains(ON_CODES)
}
