//! A plan with its network calibrated and its images at hand: policies can be judged.

use std::{
    cell::{OnceCell, RefCell},
    collections::{HashMap, HashSet},
    rc::Rc,
};

use crate::{
    data::{Images, Splits},
    domain::{Bits, BitwidthPolicy, Layer, LayerBits, Measure, Operand, Quality},
    network::{Arithmetic, Graph},
    quantization::{
        Course, EvaluationSettings, Evaluator, KEPT_BYTES, Measured, MeasuredAlone,
        PrefixEvaluator, QuantizationError, Quantizer, SingleRounding, TraceEstimate,
        hessian_traces, sweep,
    },
    search::{
        alone::{Alone, place, single_roundings},
        episode_finetune::EpisodeFinetune,
        error::SearchError,
        evaluator::{Judged, PolicyCost as _, PolicyEvaluator},
        loss_table::LossTable,
        plan::Plan,
        planned::Planner,
        space::Decision,
        starts::starts,
        weight_losses::{HESSIAN_IMAGES, WeightLosses, hessian_settings, put_curvature},
    },
};

/// First episodes that are given when the search covers a range of budgets; under budgets there
/// are fewer.
const STARTS_OVER_A_RANGE: u32 = 8;

/// Judges policies on the search images, and at the end on the test images.
pub struct Session {
    quantizer: Quantizer,
    finetune: Option<EpisodeFinetune>,
    search: Evaluator,
    n_calibration_images: usize,
    test: OnceCell<Evaluator>,
    test_images: Images,
    settings: EvaluationSettings,
    alone: Alone,
    hessian: OnceCell<Vec<TraceEstimate>>,
    /// Evaluations that others may be raced against, by policy.
    courses: RefCell<HashMap<String, Rc<Course>>>,
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
        let mut search = evaluator(&quantizer, &splits.search, learned_in_floats(plan, settings))?;
        if search.arithmetic() == Arithmetic::Codes {
            let eight_bit = plan.space.nearest_uniform(LayerBits::EIGHT);
            search = search.verified(&quantizer.apply(&eight_bit)?)?;
        }
        // What is reported at the end is measured in floats, on images alone, whatever led there.
        let arithmetic = Arithmetic::Float;
        let settings = EvaluationSettings { arithmetic, blends: false, ..settings };
        let alone = Alone::new(plan, &search, &splits);
        let measure = plan.request.measure;
        if measure.of(&search.float().quality).is_none() {
            return Err(QuantizationError::NoLabels { measure }.into());
        }
        let test = OnceCell::new();
        let test_images = splits.test;
        let finetune = match plan.request.episode_finetune {
            0 => None,
            _ => {
                let images = splits.calibration;
                Some(EpisodeFinetune::new(plan, &quantizer, images, settings.threads)?)
            }
        };
        Ok(Self {
            quantizer,
            finetune,
            search,
            n_calibration_images,
            test,
            test_images,
            settings,
            alone,
            hessian: OnceCell::new(),
            courses: RefCell::default(),
        })
    }

    pub fn float_quality(&self) -> Quality {
        self.search.float().quality
    }

    /// What policies are judged in on the search images.
    pub fn arithmetic(&self) -> Arithmetic {
        self.search.arithmetic()
    }

    /// Whether divergence on the search images is measured on blends of them as well.
    pub fn has_blends(&self) -> bool {
        self.search.has_blends()
    }

    pub fn n_calibration_images(&self) -> usize {
        self.n_calibration_images
    }

    pub fn n_search_images(&self) -> usize {
        self.search.n_images()
    }

    /// What each tensor alone loses at each width: measured, or for a method that learns anew at
    /// every policy, and so has no losses of single tensors, the noise that rounding adds.
    ///
    /// # Errors
    /// When a layer's weights cannot be rounded, or a network does not run.
    pub fn losses(&self, plan: &Plan) -> Result<LossTable, SearchError> {
        match plan.request.method.reconstruction {
            None => self.sensitivities(plan),
            Some(_) => self.noise(plan),
        }
    }

    /// Policies to start from: the one of a file that is quantized already, and those worked out
    /// from what rounding does to each layer alone.
    ///
    /// With budgets they meet them; without, the first episodes' own limits, one each.
    ///
    /// - `losses`: what [`Session::losses`] gave
    ///
    /// # Errors
    /// When a layer's weights cannot be rounded, or the integer programme fails.
    pub fn starts(
        &self,
        plan: &Plan,
        losses: &LossTable,
    ) -> Result<Vec<BitwidthPolicy>, SearchError> {
        let stored = plan.model.stored.iter().map(|stored| plan.space.nearest(&stored.policy));
        let mut policies: Vec<BitwidthPolicy> = stored.collect();
        policies.extend(Planner::IntegerProgramme.policies(plan, losses, STARTS_OVER_A_RANGE)?);
        if plan.budgets.is_empty() {
            return Ok(policies);
        }
        policies.extend(Planner::Greedy.policies(plan, losses, STARTS_OVER_A_RANGE)?);
        policies.extend(self.noise_starts(plan)?);
        let mut seen = HashSet::new();
        policies.retain(|policy| seen.insert(policy.key()));
        Ok(policies)
    }

    fn noise_starts(&self, plan: &Plan) -> Result<Vec<BitwidthPolicy>, SearchError> {
        let table = self.noise(plan)?;
        let noise = |decision: Decision, bits: Bits| table.get(decision, bits);
        let cost = |policy: &BitwidthPolicy| plan.cost.cost(policy);
        Ok(starts(&plan.space, &plan.budgets, &noise, &cost))
    }

    /// What rounding adds to each layer relative to its signal, in every layer that reads it.
    fn noise(&self, plan: &Plan) -> Result<LossTable, SearchError> {
        let space = &plan.space;
        let mut table = LossTable::new(space.layers().len());
        for &decision in space.decisions() {
            for &bits in space.widths(decision) {
                let noise = match decision.operand {
                    Operand::Weight => self.quantizer.weight_noise(decision.layer, bits)?,
                    Operand::Activation => {
                        let n_readers = space.readers(decision.layer).count() as f64;
                        n_readers * self.quantizer.activation_noise(decision.layer, bits)
                    }
                };
                table.set(decision, bits, noise);
            }
        }
        Ok(table)
    }

    /// The KL divergence from float that each decision alone brings at each width, on some of
    /// the search images. What is known already is not measured again.
    ///
    /// # Errors
    /// When a network does not run, or the method does more than to round tensors.
    pub fn sensitivities(&self, plan: &Plan) -> Result<LossTable, SearchError> {
        self.measure_sensitivities(plan, &mut |_| Ok::<(), SearchError>(()))?;
        let known = self.alone.known.borrow();
        let kl = |decision: Decision, bits: Bits| {
            let kl = known[&(decision, bits)].quality.kl.filter(|kl| !kl.is_nan());
            Some(kl.unwrap_or(f64::INFINITY))
        };
        let mut table =
            LossTable::measured(&plan.space, kl).expect("all single roundings were measured");
        if plan.request.weight_losses == WeightLosses::Hessian {
            let n_weights: Vec<u64> = plan.workload.layers.iter().map(Layer::weights).collect();
            let squared_error = |layer: usize, bits: Bits| {
                let one = known[&(Decision { layer, operand: Operand::Weight }, bits)];
                one.squared_error.expect("weights were rounded")
            };
            put_curvature(
                &mut table,
                &plan.space,
                self.traces_of_hessian(plan)?,
                &n_weights,
                &squared_error,
            );
        }
        Ok(table)
    }

    /// Of each layer's weights, estimated once, on some of the search images.
    fn traces_of_hessian(&self, plan: &Plan) -> Result<&[TraceEstimate], SearchError> {
        if let Some(traces) = self.hessian.get() {
            return Ok(traces);
        }
        let images = self.search.leading_images(HESSIAN_IMAGES);
        let settings = hessian_settings(plan.request.images_seed(), self.settings.threads);
        let (graph, layers) = (self.quantizer.graph(), self.quantizer.layers());
        let traces = hessian_traces(graph, layers, &images, None, settings)?;
        Ok(self.hessian.get_or_init(|| traces))
    }

    /// Measures the single roundings of the plan that are not known yet.
    ///
    /// - `keep`: is given what was measured together, as soon as it is known
    ///
    /// # Errors
    /// As [`Session::sensitivities`], and when `keep` fails.
    pub fn measure_sensitivities<E: From<QuantizationError>>(
        &self,
        plan: &Plan,
        keep: &mut dyn FnMut(&[MeasuredAlone]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut known = self.alone.known.borrow_mut();
        let missing: Vec<SingleRounding> = single_roundings(plan)
            .into_iter()
            .filter(|one| !known.contains_key(&place(one)))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let evaluator = self.search.first_images(self.alone.n_images);
        let mut prefix = PrefixEvaluator::new(&evaluator, self.quantizer.graph(), KEPT_BYTES)?;
        sweep(&self.quantizer, &mut prefix, &missing, &mut |measured| {
            known.extend(measured.iter().map(|one| (place(&one.rounding), *one)));
            keep(measured)
        })
    }

    /// Takes single roundings as measured, such as by an earlier session on the same images.
    pub fn know_sensitivities(&self, measured: impl IntoIterator<Item = MeasuredAlone>) {
        let keyed = measured.into_iter().map(|one| (place(&one.rounding), one));
        self.alone.known.borrow_mut().extend(keyed);
    }

    /// The float network on the images that sensitivities are measured on.
    pub fn sensitivity_float(&self) -> Measured {
        self.search.first_images(self.alone.n_images).float()
    }

    /// Images that sensitivities are measured on, from the front of the search images.
    pub fn n_sensitivity_images(&self) -> usize {
        self.alone.n_images
    }

    /// SHA-256 over those and the calibration images, hexadecimal.
    pub fn sensitivity_digest(&self) -> &str {
        &self.alone.data_digest
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
        let quantized = evaluator.evaluate(&self.network(policy)?)?;
        Ok((evaluator.float().quality, quantized.quality))
    }

    /// How the policy's evaluation came along; it is made again where it was another session's.
    fn course_of(&self, policy: &BitwidthPolicy) -> Result<Rc<Course>, SearchError> {
        let key = policy.key();
        if let Some(course) = self.courses.borrow().get(&key) {
            return Ok(Rc::clone(course));
        }
        let course = Rc::new(self.search.course(&self.network(policy)?)?.1);
        self.courses.borrow_mut().insert(key, Rc::clone(&course));
        Ok(course)
    }

    /// What is judged of a policy.
    fn network(&self, policy: &BitwidthPolicy) -> Result<Graph, QuantizationError> {
        match &self.finetune {
            Some(finetune) => finetune.network(&self.quantizer, policy),
            None => self.quantizer.apply(policy),
        }
    }
}

/// Weights that are learned at every policy are no codes of a known scale: nothing would be
/// computed on codes.
fn learned_in_floats(plan: &Plan, settings: EvaluationSettings) -> EvaluationSettings {
    let learns = plan.request.method.reconstruction.is_some() || plan.request.episode_finetune > 0;
    let arithmetic = if learns { Arithmetic::Float } else { settings.arithmetic };
    EvaluationSettings { arithmetic, ..settings }
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
        Ok(self.search.evaluate(&self.network(policy)?)?.quality)
    }

    fn race(
        &self,
        policy: &BitwidthPolicy,
        rival: &BitwidthPolicy,
        measure: Measure,
    ) -> Result<Judged, SearchError> {
        let rival = self.course_of(rival)?;
        let raced = self.search.race(&self.network(policy)?, &rival, measure)?;
        if let Some(course) = raced.course {
            self.courses.borrow_mut().insert(policy.key(), Rc::new(course));
        }
        let stopped_after_images = raced.stopped_after.map(|images| images as u32);
        Ok(Judged { quality: raced.quality, stopped_after_images, by: None })
    }
}
