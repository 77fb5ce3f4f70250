//! Layers one by one: what the network loses when a single tensor is rounded, and how strongly
//! its loss curves along each layer's weights. Every figure is kept as it comes.

use crate::{
    domain::{Bits, HessianTrace, MethodKey, Operand, SensitivityRecord},
    network::QuantizableLayer,
    quantization::{
        HessianSettings, KEPT_BYTES, Method, PrefixEvaluator, Quantizer, RoundedAlone,
        SingleRoundings, hessian_traces,
    },
    runner::{
        RunnerError,
        comparison::method_key,
        subject::{FloatFigures, Subject},
    },
    store::BlockingStore,
};

/// What is looked at.
#[derive(Debug, Clone)]
pub struct SensitivityRequest {
    /// Name, and what it stands for.
    pub method: (String, Method),
    pub bits: Vec<Bits>,
    pub operands: Vec<Operand>,
    pub hessian: Option<HessianRequest>,
    /// Measures again what is known already.
    pub again: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HessianRequest {
    pub probes: u32,
    /// Calibration images at most.
    pub images: usize,
}

/// What happens during the work.
#[derive(Debug, Clone, Copy)]
pub enum SensitivityEvent<'a> {
    Calibrating {
        method: &'a str,
    },
    /// So many of all single roundings are known.
    Measured {
        layer: &'a str,
        done: usize,
        all: usize,
    },
    Probing {
        probes: u32,
        images: u64,
    },
}

/// All that is known of one subject's layers.
#[derive(Debug, Clone)]
pub struct Sensitivity {
    pub float: FloatFigures,
    /// By layer, weights before activations, by rising bits.
    pub records: Vec<SensitivityRecord>,
    /// How many of them were measured now.
    pub n_measured: usize,
    /// By layer; empty where not asked for.
    pub traces: Vec<HessianTrace>,
    pub probed_images: u64,
}

/// Measures what is missing on one subject and gives all of it.
///
/// # Errors
/// When the network does not run, the method does more than to round tensors, or the database
/// cannot be written.
pub fn sensitivity(
    store: &BlockingStore,
    subject: &Subject<'_>,
    request: &SensitivityRequest,
    listener: &mut dyn FnMut(SensitivityEvent<'_>),
) -> Result<Sensitivity, RunnerError> {
    let (float, evaluator) = subject.float(store)?;
    let (name, method) = &request.method;
    let key = method_key(name, *method);
    let known = if request.again { vec![] } else { store.sensitivities(float.subject, &key)? };
    let wanted = wanted(request, subject.model.layers.len());
    let is_known = |&(layer, operand, bits): &Single| known.iter().any(is(layer, operand, bits));
    let missing: Vec<Single> = wanted.iter().copied().filter(|one| !is_known(one)).collect();
    if !missing.is_empty() {
        listener(SensitivityEvent::Calibrating { method: name });
        let images = subject.calibration.to_tensor();
        let quantizer = Quantizer::calibrate(subject.model.graph.clone(), &images, *method)?;
        let evaluator = match evaluator {
            Some(evaluator) => evaluator,
            None => subject.evaluator()?,
        };
        let mut prefix = PrefixEvaluator::new(&evaluator, quantizer.graph(), KEPT_BYTES)?;
        let n_known = wanted.len() - missing.len();
        let work = Work { store, float, key: &key, quantizer: &quantizer };
        work.measure(&missing, &mut prefix, &mut |layer, done| {
            listener(SensitivityEvent::Measured { layer, done: n_known + done, all: wanted.len() });
        })?;
    }
    let stored = store.sensitivities(float.subject, &key)?;
    let of_wanted = |&(layer, operand, bits): &Single| {
        stored.iter().find(|record| is(layer, operand, bits)(record)).cloned()
    };
    let records = wanted.iter().filter_map(of_wanted).collect();
    let (traces, probed_images) = match request.hessian {
        Some(hessian) => traces(store, subject, float, hessian, request.again, listener)?,
        None => (Vec::new(), 0),
    };
    Ok(Sensitivity { float, records, n_measured: missing.len(), traces, probed_images })
}

/// Layer, tensor and bits of a single rounding.
type Single = (usize, Operand, Bits);

fn is(layer: usize, operand: Operand, bits: Bits) -> impl Fn(&SensitivityRecord) -> bool {
    move |record| (record.layer_index, record.operand, record.bits) == (layer, operand, bits)
}

fn wanted(request: &SensitivityRequest, n_layers: usize) -> Vec<Single> {
    let mut wanted = Vec::new();
    for layer in 0..n_layers {
        for operand in Operand::ALL.into_iter().filter(|one| request.operands.contains(one)) {
            wanted.extend(request.bits.iter().map(|&bits| (layer, operand, bits)));
        }
    }
    wanted
}

struct Work<'a> {
    store: &'a BlockingStore,
    float: FloatFigures,
    key: &'a MethodKey,
    quantizer: &'a Quantizer,
}

impl Work<'_> {
    /// Measures single roundings from the front of the network to its end, all that first
    /// change one node together, and keeps them.
    fn measure(
        &self,
        missing: &[Single],
        prefix: &mut PrefixEvaluator<'_>,
        told: &mut dyn FnMut(&str, usize),
    ) -> Result<(), RunnerError> {
        let layers = self.quantizer.layers();
        let mut roundings = SingleRoundings::new(self.quantizer);
        let mut done = 0;
        for (first_changed, singles) in self.stops(missing, &mut roundings)? {
            let rounded = singles
                .iter()
                .map(|&(layer, operand, bits)| roundings.at(layer, operand, bits))
                .collect::<Result<Vec<RoundedAlone>, _>>()?;
            let squared_errors: Vec<_> = rounded.iter().map(|one| one.squared_error).collect();
            let graphs: Vec<_> = rounded.into_iter().map(|one| one.graph).collect();
            let qualities = prefix.evaluate(first_changed, &graphs)?;
            let mut records = Vec::new();
            for ((single, squared_error), quality) in
                singles.iter().zip(squared_errors).zip(qualities)
            {
                let &(_, operand, bits) = single;
                let same = missing.iter().filter(|other| is_same_change(layers, single, other));
                records.extend(same.map(|&(layer_index, ..)| SensitivityRecord {
                    layer_index,
                    name: layers[layer_index].name.clone(),
                    operand,
                    bits,
                    quality,
                    squared_error,
                }));
            }
            self.store.keep_sensitivities(self.float.subject, self.key, &records)?;
            done += records.len();
            told(&layers[singles[0].0].name, done);
        }
        Ok(())
    }

    /// Single roundings by the node that they change first; of equal ones only the first.
    fn stops(
        &self,
        missing: &[Single],
        roundings: &mut SingleRoundings<'_>,
    ) -> Result<Vec<(usize, Vec<Single>)>, RunnerError> {
        let layers = self.quantizer.layers();
        let mut stops = std::collections::BTreeMap::<usize, Vec<Single>>::new();
        for (index, single) in missing.iter().enumerate() {
            if missing[..index].iter().any(|earlier| is_same_change(layers, single, earlier)) {
                continue;
            }
            let &(layer, operand, bits) = single;
            let first_changed = roundings.at(layer, operand, bits)?.first_changed;
            stops.entry(first_changed).or_default().push(*single);
        }
        Ok(stops.into_iter().collect())
    }
}

/// Whether two single roundings change the same tensor in the same way: layers that read one
/// tensor share it.
fn is_same_change(layers: &[QuantizableLayer], a: &Single, b: &Single) -> bool {
    let (one, other) = (&layers[a.0], &layers[b.0]);
    let shared = a.1 == Operand::Activation && one.input == other.input;
    (a.1, a.2) == (b.1, b.2) && (a.0 == b.0 || shared)
}

/// The Hessian's traces, from the database or estimated now, and the images they are from.
fn traces(
    store: &BlockingStore,
    subject: &Subject<'_>,
    float: FloatFigures,
    request: HessianRequest,
    again: bool,
    listener: &mut dyn FnMut(SensitivityEvent<'_>),
) -> Result<(Vec<HessianTrace>, u64), RunnerError> {
    let n_images = request.images.min(subject.calibration.len());
    let images = n_images as u64;
    if !again {
        let known = store.hessian_traces(float.subject, request.probes, images)?;
        if !known.is_empty() {
            return Ok((known, images));
        }
    }
    listener(SensitivityEvent::Probing { probes: request.probes, images });
    let model = subject.model;
    let settings = HessianSettings {
        probes: request.probes,
        seed: subject.description.seed,
        threads: subject.threads(),
    };
    let tensor = subject.calibration.batch(0..n_images);
    let labels = subject.calibration.labels().map(|labels| &labels[..n_images]);
    let estimates = hessian_traces(&model.graph, &model.layers, &tensor, labels, settings)?;
    let of_layer = |(layer_index, estimate): (usize, crate::quantization::TraceEstimate)| {
        let layer = &model.layers[layer_index];
        let weight = model.graph.constant(layer.weight);
        HessianTrace {
            layer_index,
            name: layer.name.clone(),
            weights: weight.expect("a quantizable layer's weight is constant").len() as u64,
            trace: estimate.trace,
            standard_error: estimate.standard_error,
        }
    };
    let traces: Vec<HessianTrace> = estimates.into_iter().enumerate().map(of_layer).collect();
    store.keep_hessian_traces(float.subject, request.probes, images, &traces)?;
    Ok((traces, images))
}
