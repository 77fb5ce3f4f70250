//! A plan with its network calibrated and its images at hand: policies can be judged.

use std::cell::OnceCell;

use crate::{
    data::{Images, Splits},
    domain::{BitwidthPolicy, Quality},
    quantization::{EvaluationSettings, Evaluator, Quantizer},
    search::{error::SearchError, plan::Plan, run::PolicyEvaluator},
};

/// Judges policies on the search images, and at the end on the test images.
pub struct Session {
    quantizer: Quantizer,
    search: Evaluator,
    n_calibration_images: usize,
    test: OnceCell<Evaluator>,
    test_images: Images,
    settings: EvaluationSettings,
}

impl Session {
    /// Calibrates the network and runs it once in float over the search images.
    ///
    /// # Errors
    /// When images and network do not fit, or the measure needs labels that are not there.
    pub fn new(
        plan: &Plan,
        splits: Splits,
        settings: EvaluationSettings,
    ) -> Result<Self, SearchError> {
        let graph = plan.model.graph.clone();
        let calibration = splits.calibration.to_tensor();
        let quantizer = Quantizer::calibrate(graph, &calibration, plan.request.method)?;
        drop(calibration);
        let n_calibration_images = splits.calibration.len();
        let search = evaluator(&quantizer, &splits.search, settings)?;
        let measure = plan.request.measure;
        if measure.of(&search.float().quality).is_none() {
            return Err(crate::quantization::QuantizationError::NoLabels { measure }.into());
        }
        let test = OnceCell::new();
        let test_images = splits.test;
        Ok(Self { quantizer, search, n_calibration_images, test, test_images, settings })
    }

    pub fn float_quality(&self) -> Quality {
        self.search.float().quality
    }

    pub fn n_calibration_images(&self) -> usize {
        self.n_calibration_images
    }

    pub fn n_search_images(&self) -> usize {
        self.search.n_images()
    }

    pub fn n_test_images(&self) -> usize {
        self.test_images.len()
    }

    /// Float and `policy` on the test images, which nothing was chosen by.
    pub fn test(&self, policy: &BitwidthPolicy) -> Result<(Quality, Quality), SearchError> {
        let evaluator = match self.test.get() {
            Some(evaluator) => evaluator,
            None => {
                let made = evaluator(&self.quantizer, &self.test_images, self.settings)?;
                self.test.get_or_init(|| made)
            }
        };
        let quantized = evaluator.evaluate(&self.quantizer.apply(policy)?)?;
        Ok((evaluator.float().quality, quantized.quality))
    }
}

fn evaluator(
    quantizer: &Quantizer,
    images: &Images,
    settings: EvaluationSettings,
) -> Result<Evaluator, SearchError> {
    let labels = images.labels();
    Ok(Evaluator::new(quantizer.graph(), &images.to_tensor(), labels, settings)?)
}

impl PolicyEvaluator for Session {
    fn evaluate(&self, policy: &BitwidthPolicy) -> Result<Quality, SearchError> {
        let graph = self.quantizer.apply(policy)?;
        Ok(self.search.evaluate(&graph)?.quality)
    }
}
