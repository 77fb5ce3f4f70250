//! What the calibration images tell of every tensor a layer reads: its values, its moments,
//! and its mean after rounding. No gradients; two passes of the float network.

use std::collections::BTreeMap;

use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::{
    domain::Bits,
    network::{Executable, Graph, Grid, Op, QuantizableLayer, TensorId},
    quantization::{
        clip::{RangeRule, activation_range},
        error::QuantizationError,
        layer_matrix::{WeightRows, input_vectors},
        moments::{MomentSums, Moments},
    },
};

/// Images in one forward pass of calibration.
const BATCH: i64 = 64;
/// Values of a tensor that ranges are chosen from.
const SAMPLE_VALUES: usize = 1 << 16;
/// Input vectors that a second moment is taken over, for each column it has.
const VECTORS_PER_COLUMN: usize = 96;

/// The widths a search may choose from.
pub const WIDTHS: std::ops::RangeInclusive<u8> = 1..=8;

/// All that calibration found out, for every layer of one network.
pub struct Calibration {
    /// For each tensor that a layer reads, its grid at 1 to 8 bits.
    grids: BTreeMap<TensorId, Vec<Grid>>,
    layers: Vec<LayerStatistics>,
}

/// What is known of the vectors one layer's weights multiply.
pub struct LayerStatistics {
    pub moments: Moments,
    /// Mean vectors after the input was rounded to 1 to 8 bits, `[n_groups * n_columns]`.
    rounded_means: Vec<Vec<f64>>,
}

impl Calibration {
    /// - `images`: `[n, ...]` as the network reads them, f32, at least one
    ///
    /// # Errors
    /// When an activation is not finite, or the network does not run on the images.
    pub fn measure(
        graph: &Graph,
        layers: &[QuantizableLayer],
        weights: &[WeightRows],
        images: &Tensor,
        rule: RangeRule,
    ) -> Result<Self, QuantizationError> {
        if images.size()[0] == 0 {
            return Err(QuantizationError::NoCalibrationImages);
        }
        let executable = Executable::new(graph, Device::Cpu)?;
        let grids = choose_grids(graph, &executable, layers, images, rule)?;
        let layers = measure_layers(graph, &executable, layers, weights, images, &grids)?;
        Ok(Self { grids, layers })
    }

    /// The grid of a tensor that a layer reads.
    ///
    /// # Panics
    /// When no layer reads the tensor or the width is above 8.
    pub fn grid(&self, tensor: TensorId, bits: Bits) -> Grid {
        self.grids[&tensor][usize::from(bits.get()) - 1]
    }

    pub fn layer(&self, layer_index: usize) -> &LayerStatistics {
        &self.layers[layer_index]
    }
}

impl LayerStatistics {
    /// Mean vector of one group once the layer's input is rounded to `bits`; `[n_columns]`.
    pub fn rounded_mean(&self, group: usize, bits: Bits) -> &[f64] {
        let n = self.moments.n_columns();
        &self.rounded_means[usize::from(bits.get()) - 1][group * n..(group + 1) * n]
    }
}

/// The batches of calibration, and how many there are.
fn batches(images: &Tensor) -> impl Iterator<Item = Tensor> + '_ {
    let n = images.size()[0];
    (0..n).step_by(BATCH as usize).map(move |start| images.narrow(0, start, BATCH.min(n - start)))
}

/// First pass: a sample of every tensor, and from it the grid at every width.
fn choose_grids(
    graph: &Graph,
    executable: &Executable,
    layers: &[QuantizableLayer],
    images: &Tensor,
    rule: RangeRule,
) -> Result<BTreeMap<TensorId, Vec<Grid>>, QuantizationError> {
    let mut samples: BTreeMap<TensorId, Vec<f32>> =
        layers.iter().map(|layer| (layer.input, Vec::new())).collect();
    let observed: Vec<TensorId> = samples.keys().copied().collect();
    let per_image = SAMPLE_VALUES.div_ceil(images.size()[0] as usize);
    for (index, batch) in batches(images).enumerate() {
        executable.run_observed(&batch, &observed, &mut |tensor, values| {
            if let Some(sample) = samples.get_mut(&tensor) {
                sample_values(values, per_image * BATCH as usize, index, sample);
            }
        })?;
    }
    samples
        .into_par_iter()
        .map(|(tensor, mut sample)| {
            if let Some(&value) = sample.iter().find(|value| !value.is_finite()) {
                let tensor = graph.tensor_name(tensor).to_owned();
                return Err(QuantizationError::ActivationNotFinite { tensor, value });
            }
            sample.sort_by(f32::total_cmp);
            let grids = WIDTHS
                .map(|bits| Bits::new(bits).expect("1 to 8 are widths"))
                .map(|bits| activation_range(rule, bits, &sample))
                .collect();
            Ok((tensor, grids))
        })
        .collect()
}

/// Takes about `n` values evenly from all over the tensor, and its two extremes.
fn sample_values(values: &Tensor, n: usize, batch_index: usize, sample: &mut Vec<f32>) {
    let flat = values.detach().contiguous().view(-1);
    let total = flat.size()[0];
    // Odd strides visit every column of the usual even-sized maps.
    let stride = ((total / n as i64).max(1)) | 1;
    let offset = batch_index as i64 * 7 % stride.min(total);
    let picked = flat.slice(0, offset, total, stride).to_kind(Kind::Float).contiguous();
    let (low, high) = (flat.min(), flat.max());
    sample.extend(Vec::<f32>::try_from(&picked).expect("a flat f32 tensor is a vector"));
    sample.push(low.double_value(&[]) as f32);
    sample.push(high.double_value(&[]) as f32);
}

/// Second pass: moments of every layer's input, and its means after rounding.
fn measure_layers(
    graph: &Graph,
    executable: &Executable,
    layers: &[QuantizableLayer],
    weights: &[WeightRows],
    images: &Tensor,
    grids: &BTreeMap<TensorId, Vec<Grid>>,
) -> Result<Vec<LayerStatistics>, QuantizationError> {
    let n_images = images.size()[0] as usize;
    let mut sums: Vec<MomentSums> =
        weights.iter().map(|rows| MomentSums::new(rows.n_groups, rows.n_columns)).collect();
    let mut rounded: BTreeMap<TensorId, Vec<Tensor>> = BTreeMap::new();
    let observed: Vec<TensorId> = grids.keys().copied().collect();
    for (index, batch) in batches(images).enumerate() {
        executable.run_observed(&batch, &observed, &mut |tensor, values| {
            let Some(grids) = grids.get(&tensor) else { return };
            add_rounded_sums(values, grids, rounded.entry(tensor).or_default());
            for (layer_index, layer) in layers.iter().enumerate().filter(|(_, l)| l.input == tensor)
            {
                let rows = &weights[layer_index];
                let vectors = input_vectors(&graph.nodes()[layer.node].op, rows, values);
                let wanted = (VECTORS_PER_COLUMN * rows.n_columns).max(1 << 14).div_ceil(n_images);
                let stride = (vectors.size()[3] / wanted as i64).max(1);
                sums[layer_index].add(&vectors, stride, index as i64 * 5);
            }
        })?;
    }
    let statistics = layers.iter().zip(weights).zip(sums).map(|((layer, rows), sums)| {
        let op = &graph.nodes()[layer.node].op;
        let rounded_means =
            rounded[&layer.input].iter().map(|sum| mean_vector(op, rows, sum, n_images)).collect();
        LayerStatistics { moments: sums.finish(), rounded_means }
    });
    Ok(statistics.collect())
}

/// Adds the batch, rounded to each width and summed over its images, to `sums`.
fn add_rounded_sums(values: &Tensor, grids: &[Grid], sums: &mut Vec<Tensor>) {
    for (index, grid) in grids.iter().enumerate() {
        let zero_point = f64::from(grid.zero_point);
        let (low, high) = (f64::from(grid.low) - zero_point, f64::from(grid.high) - zero_point);
        let mut rounded = values / f64::from(grid.scale);
        let rounded = rounded.round_().clamp_(low, high).g_mul_scalar_(f64::from(grid.scale));
        let sum = rounded.sum_dim_intlist([0].as_slice(), true, Kind::Float).to_kind(Kind::Double);
        match sums.get_mut(index) {
            Some(total) => *total += sum,
            None => sums.push(sum),
        }
    }
}

/// The mean input vector, `[n_groups * n_columns]`, from a tensor summed over images.
///
/// Unfolding is linear, so the sum unfolds to the sum of the vectors.
fn mean_vector(op: &Op, rows: &WeightRows, sum: &Tensor, n_images: usize) -> Vec<f64> {
    let vectors = input_vectors(op, rows, &sum.to_kind(Kind::Float)).to_kind(Kind::Double);
    let positions = vectors.size()[3] as f64 * vectors.size()[0] as f64;
    let total = vectors.sum_dim_intlist([0, 3].as_slice(), false, Kind::Double);
    let mean = (total / (positions * n_images as f64)).contiguous().view(-1);
    Vec::try_from(mean).expect("a flat f64 tensor is a vector")
}
