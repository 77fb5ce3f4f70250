//! A plan with its network calibrated and its images at hand: policies can be judged.

use std::cell::OnceCell;

use crate::{
    data::{Images, Splits},
    domain::{Bits, BitwidthPolicy, Operand, Quality},
    quantization::{EvaluationSettings, Evaluator, QuantizationError, Quantizer},
    search::{
        error::SearchError,
        plan::Plan,
        run::{BudgetRange, PolicyCost as _, PolicyEvaluator},
        space::Decision,
        starts::starts,
    },
};

/// First episodes that are given when the search covers a range of budgets.
const STARTS_OVER_A_RANGE: u32 = 8;

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
            return Err(QuantizationError::NoLabels { measure }.into());
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

    /// Policies to start from, worked out from the noise of rounding alone.
    ///
    /// With budgets they meet them; without, the first episodes' own limits, one each.
    ///
    /// # Errors
    /// When a layer's weights cannot be rounded.
    pub fn starts(&self, plan: &Plan) -> Result<Vec<BitwidthPolicy>, SearchError> {
        let table = self.noise(plan)?;
        let noise = |decision: Decision, bits: Bits| {
            let of_layer = &table[decision.layer];
            let widths = match decision.operand {
                Operand::Weight => &of_layer.weight,
                Operand::Activation => &of_layer.activation,
            };
            widths[usize::from(bits.get()) - 1]
        };
        let cost = |policy: &BitwidthPolicy| plan.cost.cost(policy);
        if !plan.budgets.is_empty() {
            return Ok(starts(&plan.space, &plan.budgets, &noise, &cost));
        }
        let range = BudgetRange::of(&plan.space, &plan.cost, plan.objective);
        let own = |index| {
            let found = starts(&plan.space, &[range.limit_of(index)], &noise, &cost);
            found.into_iter().next().unwrap_or_else(|| plan.cheapest())
        };
        Ok((0..STARTS_OVER_A_RANGE).map(own).collect())
    }

    fn noise(&self, plan: &Plan) -> Result<Vec<LayerNoise>, SearchError> {
        let layers = plan.space.layers().iter().enumerate();
        layers
            .map(|(layer, choices)| {
                let mut noise = LayerNoise::default();
                for &bits in &choices.weight {
                    noise.weight[usize::from(bits.get()) - 1] =
                        self.quantizer.weight_noise(layer, bits)?;
                }
                for &bits in &choices.activation {
                    noise.activation[usize::from(bits.get()) - 1] =
                        self.quantizer.activation_noise(layer, bits);
                }
                Ok(noise)
            })
            .collect()
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

/// What rounding adds to one layer at 1 to 8 bits, relative to its signal; 0 where a width is
/// not offered.
#[derive(Debug, Clone, Copy, Default)]
struct LayerNoise {
    weight: [f64; 8],
    activation: [f64; 8],
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
