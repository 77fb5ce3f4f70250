//! A network with a bitwidth policy applied: rounded weights, corrected biases, and a grid on
//! every tensor a layer reads. What depends on one layer and its bits is computed once.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, OnceLock},
};

use tch::Tensor;

use crate::{
    domain::{Bits, BitwidthPolicy, LayerBits},
    network::{Array, Coding, Graph, Op, QuantizableLayer, TensorId},
    quantization::{
        aciq::correct_moments,
        calibration::Calibration,
        clip::{RangeRule, WeightLevels, WeightRule},
        codebook::Codebook,
        error::QuantizationError,
        integer::WeightGrids,
        layer_matrix::WeightRows,
        method::{MeanInput, Method, RoundedReads, Rounding},
        reconstruction::ReconstructionSettings,
        rounding::{self, SecondOrder},
        scaling::{analytic_bias_error, analytic_input_means},
        uniform::{LARGEST_MAGNITUDE, WeightGrid},
        weight_grids::weight_grids,
    },
};

/// Turns bitwidth policies into networks.
pub struct Quantizer {
    graph: Graph,
    layers: Vec<QuantizableLayer>,
    weights: Vec<WeightRows>,
    calibration: Calibration,
    method: Method,
    second_order: Vec<OnceLock<SecondOrder>>,
    rounded: Mutex<HashMap<(usize, Bits), Arc<RoundedWeights>>>,
    /// By layer, where the method's bias correction is analytic.
    analytic_means: Option<Vec<Vec<f64>>>,
    /// The calibration images, where the method learns from them at every policy.
    images: Option<Mutex<Tensor>>,
}

/// One layer's weights at one bitwidth.
pub struct RoundedWeights {
    /// Row-major like [`WeightRows::values`], every number a level of its row's grid, or of the
    /// codebook.
    pub values: Vec<f32>,
    /// One grid a row; none where there is a codebook.
    pub grids: Vec<WeightGrid>,
    /// The values the layer's weights share, rising; none where there are grids.
    pub codebook: Vec<f32>,
}

impl RoundedWeights {
    /// What a code of the weights stands for; none where there is a codebook.
    fn coding(&self, output_axis: usize, bits: Bits) -> Option<Coding> {
        weight_coding(&self.grids, output_axis, bits)
    }

    #[cfg(test)]
    pub(super) fn on_grids(values: Vec<f32>, grids: Vec<WeightGrid>) -> Self {
        Self { values, grids, codebook: Vec::new() }
    }
}

impl Quantizer {
    /// Calibrates on `images`.
    ///
    /// - `graph`: folded, so that no batch norm follows a layer
    /// - `images`: `[n, ...]` as the network reads them, f32
    ///
    /// # Errors
    /// When there is nothing to quantize, a weight or an activation is not finite, or the recipe
    /// contradicts itself.
    pub fn calibrate(
        graph: Graph,
        images: &Tensor,
        method: Method,
    ) -> Result<Self, QuantizationError> {
        method.check()?;
        let graph = match method.preparation {
            Some(preparation) => preparation.apply(graph, images)?,
            None => graph,
        };
        let layers = graph.quantizable_layers();
        if layers.is_empty() {
            return Err(QuantizationError::NothingToQuantize);
        }
        let weights: Vec<WeightRows> =
            layers.iter().map(|layer| WeightRows::of(&graph, layer)).collect();
        for (layer, rows) in layers.iter().zip(&weights) {
            check_weights(layer, rows)?;
        }
        let calibration =
            Calibration::measure(&graph, &layers, &weights, images, method.activation_range)?;
        let second_order = layers.iter().map(|_| OnceLock::new()).collect();
        let rounded = Mutex::default();
        let analytic_means = match method.mean_input {
            MeanInput::Analytic => Some(analytic_input_means(&graph, &layers, images)?),
            MeanInput::Measured => None,
        };
        let images = method.reconstruction.map(|_| Mutex::new(images.shallow_clone()));
        Ok(Self {
            graph,
            layers,
            weights,
            calibration,
            method,
            second_order,
            rounded,
            analytic_means,
            images,
        })
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    pub fn layers(&self) -> &[QuantizableLayer] {
        &self.layers
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    /// One layer's float weights.
    pub(super) fn weight_rows(&self, layer_index: usize) -> &WeightRows {
        &self.weights[layer_index]
    }

    /// The network at `policy`, ready to run. A method with reconstruction learns it anew.
    ///
    /// # Errors
    /// When the policy does not fit the network, or asks for more than 8 bits.
    pub fn apply(&self, policy: &BitwidthPolicy) -> Result<Graph, QuantizationError> {
        let (Some(unit), Some(images)) = (self.method.reconstruction, &self.images) else {
            return self.rounded_network(policy);
        };
        let images = images.lock().expect("no holder panics").shallow_clone();
        Ok(self.refine(policy, &images, &ReconstructionSettings::of_unit(unit))?.graph)
    }

    /// The network at `policy` before anything is learned.
    pub(super) fn rounded_network(
        &self,
        policy: &BitwidthPolicy,
    ) -> Result<Graph, QuantizationError> {
        self.check(policy)?;
        let mut graph = self.graph.clone();
        for (index, (layer, &bits)) in self.layers.iter().zip(policy.layers()).enumerate() {
            let rounded = self.rounded(index, bits.weight)?;
            let value = self.weights[index].to_array(&rounded.values);
            match rounded.coding(layer.output_axis, bits.weight) {
                Some(coding) => graph.set_rounded(layer.weight, value, coding),
                None => graph.set_constant(layer.weight, value),
            }
            if self.method.bias_correction {
                self.correct_bias(&mut graph, index, bits, &rounded);
            }
        }
        let mut done = BTreeSet::new();
        let outputs: BTreeSet<TensorId> = self.layers.iter().map(|layer| layer.output).collect();
        for (layer, bits) in self.layers.iter().zip(policy.layers()) {
            if done.insert(layer.input)
                && let Some(round) = self.activation_rounding(layer.input, bits.activation)
            {
                graph.insert_between(layer.input, round, |reader| {
                    match self.method.rounded_reads {
                        RoundedReads::Layers => outputs.contains(&reader.output),
                        RoundedReads::All => true,
                    }
                });
            }
        }
        Ok(graph)
    }

    /// What rounds a tensor that a layer reads, if anything.
    fn activation_rounding(&self, tensor: TensorId, bits: Bits) -> Option<Op> {
        match self.method.activation_range {
            RangeRule::Float => None,
            RangeRule::Dynamic { per_row } => {
                let mut readers = self.layers.iter().filter(|layer| layer.input == tensor);
                let per_row = per_row
                    && readers.all(|layer| {
                        let op = &self.graph.nodes()[layer.node].op;
                        matches!(op, Op::Gemm { transpose_a: false, .. } | Op::MatMul)
                    });
                Some(Op::DynamicQuantize { bits: bits.get(), per_row })
            }
            _ => Some(self.calibration.levels(tensor, bits).op()),
        }
    }

    /// The grids of the weights at `policy`; empty for a layer that has a codebook instead.
    ///
    /// # Errors
    /// As [`Quantizer::apply`].
    pub fn weight_grids(&self, policy: &BitwidthPolicy) -> Result<WeightGrids, QuantizationError> {
        self.check(policy)?;
        let layers = self.layers.iter().zip(policy.layers()).enumerate();
        layers
            .map(|(index, (layer, bits))| {
                Ok((layer.output, self.rounded(index, bits.weight)?.grids.clone()))
            })
            .collect()
    }

    /// # Errors
    /// [`QuantizationError::Training`] when the method rounds to levels that cannot be learned.
    pub fn check_trainable(&self) -> Result<(), QuantizationError> {
        if self.method.is_trainable() {
            return Ok(());
        }
        let method = self.method;
        let reason = format!(
            "method {method} rounds to levels that cannot be learned; gptq does to ones that can"
        );
        Err(QuantizationError::Training { reason })
    }

    pub(super) fn check(&self, policy: &BitwidthPolicy) -> Result<(), QuantizationError> {
        if policy.len() != self.layers.len() {
            let (policy, network) = (policy.len(), self.layers.len());
            return Err(QuantizationError::PolicyLength { policy, network });
        }
        let mut readers: HashMap<_, (usize, Bits)> = HashMap::new();
        for (index, (layer, bits)) in self.layers.iter().zip(policy.layers()).enumerate() {
            if let Some(&bits) = [bits.weight, bits.activation].iter().find(|b| b.get() > 8) {
                return Err(QuantizationError::Bits { layer: layer.name.clone(), bits });
            }
            let &mut (first, first_bits) =
                readers.entry(layer.input).or_insert((index, bits.activation));
            if first_bits != bits.activation {
                return Err(QuantizationError::SharedTensor {
                    first: self.layers[first].name.clone(),
                    second: layer.name.clone(),
                    first_bits,
                    second_bits: bits.activation,
                });
            }
        }
        Ok(())
    }

    /// The rounded weights of one layer, from the cache after the first time.
    ///
    /// # Errors
    /// When there are more than 8 bits, or the moments of the layer's input cannot be inverted.
    pub fn rounded(
        &self,
        layer_index: usize,
        bits: Bits,
    ) -> Result<Arc<RoundedWeights>, QuantizationError> {
        if bits > Bits::EIGHT {
            let layer = self.layers[layer_index].name.clone();
            return Err(QuantizationError::Bits { layer, bits });
        }
        let key = (layer_index, bits);
        if let Some(rounded) = self.rounded.lock().expect("no holder panics").get(&key) {
            return Ok(rounded.clone());
        }
        let rounded = Arc::new(self.round(layer_index, bits)?);
        self.rounded.lock().expect("no holder panics").insert(key, rounded.clone());
        Ok(rounded)
    }

    /// Variance of what rounding the weights adds to a layer's output, over the output's own
    /// variance; means are left out, for the bias makes up for them.
    ///
    /// # Errors
    /// As [`Quantizer::rounded`].
    pub fn weight_noise(&self, layer_index: usize, bits: Bits) -> Result<f64, QuantizationError> {
        let rounded = self.rounded(layer_index, bits)?;
        let rows = &self.weights[layer_index];
        let moments = &self.calibration.layer(layer_index).moments;
        let (mut noise, mut signal) = (0.0, 0.0);
        for row in 0..rows.n_rows {
            let columns = row * rows.n_columns..(row + 1) * rows.n_columns;
            let weights = rows.row(row);
            let error: Vec<f32> =
                weights.iter().zip(&rounded.values[columns]).map(|(w, r)| w - r).collect();
            noise += moments.output_variance(rows.group_of(row), &error);
            signal += moments.output_variance(rows.group_of(row), weights);
        }
        Ok(if signal > 0.0 { noise / signal } else { 0.0 })
    }

    /// Mean square of what rounding adds to the tensor a layer reads, over its variance.
    pub fn activation_noise(&self, layer_index: usize, bits: Bits) -> f64 {
        if self.method.activation_range == RangeRule::Float {
            return 0.0;
        }
        self.calibration.noise(self.layers[layer_index].input, bits)
    }

    fn round(&self, layer_index: usize, bits: Bits) -> Result<RoundedWeights, QuantizationError> {
        let (rows, method) = (&self.weights[layer_index], &self.method);
        if method.weight_levels == WeightLevels::Codebook {
            let codebook = Codebook::learn(&rows.values, bits, layer_index);
            let values = rows.values.iter().map(|&weight| codebook.round(weight)).collect();
            let codebook = codebook.centroids().to_vec();
            return Ok(RoundedWeights { values, grids: Vec::new(), codebook });
        }
        let rule = WeightRule { clip: method.weight_clip, levels: method.weight_levels };
        let moments = &self.calibration.layer(layer_index).moments;
        let mut grids = weight_grids(rows, moments, method.granularity, rule, bits);
        let mut values = match method.rounding {
            Rounding::Nearest => rounding::nearest(rows, &grids),
            Rounding::SecondOrder => self.second_order(layer_index)?.round(rows, &grids),
        };
        if method.moment_correction {
            correct_moments(rows, &mut values, &mut grids);
        }
        Ok(RoundedWeights { values, grids, codebook: Vec::new() })
    }

    fn second_order(&self, layer_index: usize) -> Result<&SecondOrder, QuantizationError> {
        let cell = &self.second_order[layer_index];
        if let Some(second_order) = cell.get() {
            return Ok(second_order);
        }
        let moments = &self.calibration.layer(layer_index).moments;
        let made = SecondOrder::new(moments, self.method.damping, &self.layers[layer_index].name)?;
        Ok(cell.get_or_init(|| made))
    }

    /// Adds to the bias what rounding took from the mean output: `W E[x] - Ŵ E[x̂]`.
    fn correct_bias(
        &self,
        graph: &mut Graph,
        layer_index: usize,
        bits: LayerBits,
        rounded: &RoundedWeights,
    ) {
        let rows = &self.weights[layer_index];
        let statistics = self.calibration.layer(layer_index);
        let layer = &self.layers[layer_index];
        let (alpha, beta) = match &graph.nodes()[layer.node].op {
            Op::Gemm { alpha, beta, .. } => (f64::from(*alpha), f64::from(*beta)),
            _ => (1.0, 1.0),
        };
        let bias = layer.bias.and_then(|bias| graph.constant(bias)).and_then(Array::as_f32);
        if beta == 0.0 || (layer.bias.is_some() && bias.is_none_or(|b| b.len() != rows.n_rows)) {
            return;
        }
        let lost: Vec<f64> = match &self.analytic_means {
            Some(means) => {
                let weights = rows.to_array(&rounded.values);
                let errors = analytic_bias_error(&self.graph, layer, &weights, &means[layer_index]);
                errors.into_iter().map(|error| -error).collect()
            }
            None => (0..rows.n_rows)
                .map(|row| {
                    let group = rows.group_of(row);
                    let float = dot(rows.row(row), statistics.moments.mean(group));
                    let columns = row * rows.n_columns..(row + 1) * rows.n_columns;
                    let mean = match self.method.activation_range {
                        RangeRule::Float => statistics.moments.mean(group),
                        _ => statistics.rounded_mean(group, bits.activation),
                    };
                    float - dot(&rounded.values[columns], mean)
                })
                .collect(),
        };
        let corrected: Vec<f32> = lost
            .iter()
            .enumerate()
            .map(|(row, lost)| bias.map_or(0.0, |bias| bias[row]) + (lost * alpha / beta) as f32)
            .collect();
        graph.set_bias(layer.output, Array::f32(vec![rows.n_rows], corrected));
    }
}

/// What a code of weights on these grids stands for; none without grids.
///
/// - `output_axis`: of the weight array, over output channels
pub(super) fn weight_coding(
    grids: &[WeightGrid],
    output_axis: usize,
    bits: Bits,
) -> Option<Coding> {
    let offsets: Vec<f32> = grids.iter().map(WeightGrid::offset).collect();
    let is_moved = offsets.iter().any(|offset| *offset != 0.0);
    (!grids.is_empty()).then(|| Coding {
        axis: output_axis,
        scales: grids.iter().map(WeightGrid::scale).collect(),
        offsets: if is_moved { offsets.into() } else { Arc::default() },
        bits: bits.get(),
    })
}

fn check_weights(layer: &QuantizableLayer, rows: &WeightRows) -> Result<(), QuantizationError> {
    let usable = |weight: &f32| weight.abs() <= LARGEST_MAGNITUDE;
    let Some(index) = rows.values.iter().position(|weight| !usable(weight)) else { return Ok(()) };
    let (layer, value) = (layer.name.clone(), rows.values[index]);
    Err(if value.is_finite() {
        QuantizationError::WeightTooLarge { layer, index, value }
    } else {
        QuantizationError::WeightNotFinite { layer, index, value }
    })
}

fn dot(weights: &[f32], mean: &[f64]) -> f64 {
    weights.iter().zip(mean).map(|(&w, &m)| f64::from(w) * m).sum()
}
