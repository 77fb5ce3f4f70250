//! Methods side by side: each quantizes the network at each choice of bits, and every figure is
//! kept as it comes.
//!
//! A method calibrates once for all its bits, and not at all when everything is known already.

use std::time::Instant;

use crate::{
    domain::{BitwidthPolicy, LayerBits, MethodKey, QuantizationRecord},
    network::{Graph, QuantizableLayer},
    quantization::{Evaluator, Method, QuantizationError, Quantizer},
    runner::{
        RunnerError,
        subject::{FloatFigures, Subject},
    },
    search::{Pins, with_shared_tensors},
    store::BlockingStore,
};

/// What is compared.
#[derive(Debug, Clone)]
pub struct ComparisonRequest {
    /// Names with what they stand for.
    pub methods: Vec<(String, Method)>,
    pub bits: Vec<LayerBits>,
    /// Layers with bits of their own.
    pub pins: Pins,
    /// Measures again what is known already.
    pub again: bool,
}

/// What happens during a comparison.
#[derive(Debug)]
pub enum ComparisonEvent<'a> {
    Calibrating {
        method: &'a str,
    },
    /// A row is known; measured now, or kept from before.
    Row {
        record: &'a QuantizationRecord,
        from_store: bool,
    },
    /// This method has no network at these bits; the others go on.
    Failed {
        method: &'a str,
        bits: LayerBits,
        error: &'a QuantizationError,
    },
}

/// The rows of one subject.
#[derive(Debug, Clone)]
pub struct Comparison {
    pub float: FloatFigures,
    /// Method by method, bits by bits, as they were asked for.
    pub rows: Vec<QuantizationRecord>,
    /// How many of them were measured now.
    pub n_measured: usize,
    pub n_failed: usize,
}

/// A method's name and recipe, as the database knows it.
pub fn method_key(name: &str, method: Method) -> MethodKey {
    let recipe = serde_json::to_string(&method).expect("a method is plain data");
    MethodKey { name: name.to_owned(), recipe }
}

/// `bits` everywhere but where a pin says otherwise; layers that read one tensor share its width.
///
/// # Errors
/// Names a layer that is pinned and does not exist.
pub fn pinned_policy(
    layers: &[QuantizableLayer],
    bits: LayerBits,
    pins: &Pins,
) -> Result<BitwidthPolicy, String> {
    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    let pinned = pins.resolve(&names)?;
    let policy = pinned.into_iter().map(|pin| pin.unwrap_or(bits)).collect();
    Ok(with_shared_tensors(layers, BitwidthPolicy::new(policy)))
}

/// Measures what is missing of a comparison on one subject and gives all of it.
///
/// # Errors
/// When the network does not run, or the database cannot be written. A method that cannot
/// quantize this network is told to the listener instead.
pub fn compare(
    store: &BlockingStore,
    subject: &Subject<'_>,
    request: &ComparisonRequest,
    listener: &mut dyn FnMut(ComparisonEvent<'_>),
) -> Result<Comparison, RunnerError> {
    let (float, evaluator) = subject.float(store)?;
    let mut work = Work { store, subject, request, float, evaluator, listener, n_failed: 0 };
    let known = if request.again { Vec::new() } else { store.quantizations(float.subject)? };
    let (mut rows, mut n_measured) = (Vec::new(), 0);
    for (name, method) in &request.methods {
        let key = method_key(name, *method);
        let mut quantizer = None;
        for &bits in &request.bits {
            let pins = request.pins.to_string();
            let same = |row: &&QuantizationRecord| {
                row.method == key && row.bits == bits && row.pins == pins
            };
            if let Some(record) = known.iter().find(same) {
                (work.listener)(ComparisonEvent::Row { record, from_store: true });
                rows.push(record.clone());
            } else if let Some(record) = work.measure(&key, *method, bits, &mut quantizer)? {
                rows.push(record);
                n_measured += 1;
            }
        }
    }
    Ok(Comparison { float, rows, n_measured, n_failed: work.n_failed })
}

/// A method's quantizer with the seconds it took, once it was tried; none where it cannot.
type Calibrated = Option<Option<(Quantizer, f64)>>;

struct Work<'a> {
    store: &'a BlockingStore,
    subject: &'a Subject<'a>,
    request: &'a ComparisonRequest,
    float: FloatFigures,
    evaluator: Option<Evaluator>,
    listener: &'a mut dyn FnMut(ComparisonEvent<'_>),
    n_failed: usize,
}

impl Work<'_> {
    /// Measures one row and keeps it; none when the method cannot do this.
    fn measure(
        &mut self,
        key: &MethodKey,
        method: Method,
        bits: LayerBits,
        calibrated: &mut Calibrated,
    ) -> Result<Option<QuantizationRecord>, RunnerError> {
        if calibrated.is_none() {
            *calibrated = Some(self.calibrate(key, method, bits));
        }
        let Some(Some((quantizer, calibrate_s))) = calibrated else {
            self.n_failed += 1;
            return Ok(None);
        };
        let pins = &self.request.pins;
        let policy = pinned_policy(quantizer.layers(), bits, pins).map_err(RunnerError::Pins)?;
        let start = Instant::now();
        let made = quantizer.apply(&policy);
        let (graph, size_bytes) =
            match made.and_then(|graph| Ok((graph, quantizer.stored_bytes(&policy)?))) {
                Ok(made) => made,
                Err(error) => {
                    self.fail(&key.name, bits, &error);
                    self.n_failed += 1;
                    return Ok(None);
                }
            };
        let round_s = start.elapsed().as_secs_f64();
        let evaluator = match self.evaluator.take() {
            Some(evaluator) => evaluator,
            None => self.subject.evaluator()?,
        };
        let measured = self.evaluator.insert(evaluator).evaluate(&graph)?;
        let record = QuantizationRecord {
            method: key.clone(),
            bits,
            pins: pins.to_string(),
            quality: measured.quality,
            size_bytes,
            calibrate_s: *calibrate_s,
            round_s,
            evaluate_s: measured.wall_s,
        };
        self.store.keep_quantization(self.float.subject, &record)?;
        (self.listener)(ComparisonEvent::Row { record: &record, from_store: false });
        Ok(Some(record))
    }

    fn calibrate(
        &mut self,
        key: &MethodKey,
        method: Method,
        bits: LayerBits,
    ) -> Option<(Quantizer, f64)> {
        (self.listener)(ComparisonEvent::Calibrating { method: &key.name });
        let start = Instant::now();
        let graph = self.subject.model.graph.clone();
        let images = self.subject.calibration.to_tensor();
        match Quantizer::calibrate(graph, &images, method) {
            Ok(quantizer) => Some((quantizer, start.elapsed().as_secs_f64())),
            Err(error) => {
                self.fail(&key.name, bits, &error);
                None
            }
        }
    }

    fn fail(&mut self, method: &str, bits: LayerBits, error: &QuantizationError) {
        (self.listener)(ComparisonEvent::Failed { method, bits, error });
    }
}

/// The weights of all layers as f32.
pub fn float_size_bytes(graph: &Graph, layers: &[QuantizableLayer]) -> u64 {
    layers.iter().map(|layer| 4 * weight_shape(graph, layer).iter().product::<usize>() as u64).sum()
}

fn weight_shape<'a>(graph: &'a Graph, layer: &QuantizableLayer) -> &'a [usize] {
    graph.constant(layer.weight).expect("a quantizable layer's weight is constant").shape()
}
