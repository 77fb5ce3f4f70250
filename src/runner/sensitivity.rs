//! Layers one by one: what the network loses when a single tensor is rounded, and how strongly
//! its loss curves along each layer's weights. Every figure is kept as it comes.

use crate::{
    domain::{Bits, HessianTrace, Operand, SensitivityRecord},
    network::QuantizableLayer,
    quantization::{
        HessianSettings, KEPT_BYTES, MeasuredAlone, Method, PrefixEvaluator, Quantizer,
        SingleRounding, hessian_traces, sweep,
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
    let is_known = |single: &SingleRounding| known.iter().any(is(single));
    let missing: Vec<SingleRounding> =
        wanted.iter().copied().filter(|one| !is_known(one)).collect();
    if !missing.is_empty() {
        listener(SensitivityEvent::Calibrating { method: name });
        let images = subject.calibration.to_tensor();
        let quantizer = Quantizer::calibrate(subject.model.graph.clone(), &images, *method)?;
        let evaluator = match evaluator {
            Some(evaluator) => evaluator,
            None => subject.evaluator()?,
        };
        let mut prefix = PrefixEvaluator::new(&evaluator, quantizer.graph(), KEPT_BYTES)?;
        let mut done = wanted.len() - missing.len();
        sweep(&quantizer, &mut prefix, &missing, &mut |measured| {
            let records: Vec<_> =
                measured.iter().map(|one| record(quantizer.layers(), one)).collect();
            store.keep_sensitivities(float.subject, &key, &records)?;
            done += records.len();
            if let Some(first) = records.first() {
                let (layer, all) = (first.name.as_str(), wanted.len());
                listener(SensitivityEvent::Measured { layer, done, all });
            }
            Ok::<(), RunnerError>(())
        })?;
    }
    let stored = store.sensitivities(float.subject, &key)?;
    let of_wanted =
        |single: &SingleRounding| stored.iter().find(|record| is(single)(record)).cloned();
    let records = wanted.iter().filter_map(of_wanted).collect();
    let (traces, probed_images) = match request.hessian {
        Some(hessian) => traces(store, subject, float, hessian, request.again, listener)?,
        None => (Vec::new(), 0),
    };
    Ok(Sensitivity { float, records, n_measured: missing.len(), traces, probed_images })
}

fn record(layers: &[QuantizableLayer], measured: &MeasuredAlone) -> SensitivityRecord {
    let SingleRounding { layer_index, operand, bits } = measured.rounding;
    SensitivityRecord {
        layer_index,
        name: layers[layer_index].name.clone(),
        operand,
        bits,
        quality: measured.quality,
        squared_error: measured.squared_error,
    }
}

fn is(single: &SingleRounding) -> impl Fn(&SensitivityRecord) -> bool {
    move |record| {
        (record.layer_index, record.operand, record.bits)
            == (single.layer_index, single.operand, single.bits)
    }
}

fn wanted(request: &SensitivityRequest, n_layers: usize) -> Vec<SingleRounding> {
    let mut wanted = Vec::new();
    for layer_index in 0..n_layers {
        for operand in Operand::ALL.into_iter().filter(|one| request.operands.contains(one)) {
            let at = |&bits: &Bits| SingleRounding { layer_index, operand, bits };
            wanted.extend(request.bits.iter().map(at));
        }
    }
    wanted
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
