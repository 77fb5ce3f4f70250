//! What the calibration images tell of every tensor a layer reads: its values, its moments,
//! and its mean after rounding. No gradients; two passes of the float network.

use std::{collections::BTreeMap, time::Instant};

use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::{
    domain::Bits,
    network::{Executable, Graph, Grid, Op, QuantizableLayer, TensorId},
    quantization::{
        clip::{RangeRule, activation_range},
        error::QuantizationError,
        layer_matrix::{WeightRows, input_vectors, some_input_vectors},
        moments::{Moments, SecondMomentSum},
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
        let start = Instant::now();
        let grids = choose_grids(graph, &executable, layers, images, rule)?;
        let ranges_s = start.elapsed().as_secs_f64();
        let layers = measure_layers(graph, &executable, layers, weights, images, &grids)?;
        let moments_s = start.elapsed().as_secs_f64() - ranges_s;
        tracing::info!(images = images.size()[0], ranges_s, moments_s, "calibrated");
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

/// Second pass: moments of every layer's input, and its means before and after rounding.
fn measure_layers(
    graph: &Graph,
    executable: &Executable,
    layers: &[QuantizableLayer],
    weights: &[WeightRows],
    images: &Tensor,
    grids: &BTreeMap<TensorId, Vec<Grid>>,
) -> Result<Vec<LayerStatistics>, QuantizationError> {
    let n_images = images.size()[0] as usize;
    let mut seconds: Vec<SecondMomentSum> =
        weights.iter().map(|rows| SecondMomentSum::new(rows.n_groups, rows.n_columns)).collect();
    let mut sums: BTreeMap<TensorId, ImageSums> = BTreeMap::new();
    let observed: Vec<TensorId> = grids.keys().copied().collect();
    for (index, batch) in batches(images).enumerate() {
        executable.run_observed(&batch, &observed, &mut |tensor, values| {
            let Some(grids) = grids.get(&tensor) else { return };
            sums.entry(tensor).or_insert_with(|| ImageSums::new(values, grids)).add(values, grids);
            for (layer_index, layer) in layers.iter().enumerate().filter(|(_, l)| l.input == tensor)
            {
                let rows = &weights[layer_index];
                let wanted = (VECTORS_PER_COLUMN * rows.n_columns).max(1 << 14).div_ceil(n_images);
                let op = &graph.nodes()[layer.node].op;
                seconds[layer_index].add(&some_input_vectors(op, rows, values, wanted, index));
            }
        })?;
    }
    let statistics = layers.iter().zip(weights).zip(seconds).map(|((layer, rows), second)| {
        let op = &graph.nodes()[layer.node].op;
        let sums = &sums[&layer.input];
        let mean = |sum: &[f64]| mean_vector(op, rows, &sums.to_tensor(sum), n_images);
        LayerStatistics {
            moments: Moments::new(rows.n_groups, mean(&sums.float), second.finish()),
            rounded_means: sums.rounded.iter().map(|sum| mean(sum)).collect(),
        }
    });
    Ok(statistics.collect())
}

/// A tensor summed over images: as it is, and rounded to each of its grids.
struct ImageSums {
    /// Of one image, as the network sees it: `[c, h, w]` or another.
    shape: Vec<i64>,
    float: Vec<f64>,
    rounded: Vec<Vec<f64>>,
}

impl ImageSums {
    fn new(values: &Tensor, grids: &[Grid]) -> Self {
        let shape = values.size()[1..].to_vec();
        let n = shape.iter().product::<i64>() as usize;
        Self { shape, float: vec![0.0; n], rounded: vec![vec![0.0; n]; grids.len()] }
    }

    fn add(&mut self, values: &Tensor, grids: &[Grid]) {
        let flat = memory_order(values).to_kind(Kind::Float).contiguous().view(-1);
        let values: Vec<f32> = Vec::try_from(flat).expect("a flat f32 tensor is a vector");
        let n = self.float.len();
        let add = |total: &mut [f64], round: &(dyn Fn(&[f32], &mut [f32]) + Sync)| {
            let mut sum = vec![0.0f32; n];
            values.chunks(n).for_each(|image| round(image, &mut sum));
            total.iter_mut().zip(&sum).for_each(|(total, sum)| *total += f64::from(*sum));
        };
        add(&mut self.float, &|image, sum| sum.iter_mut().zip(image).for_each(|(s, x)| *s += x));
        self.rounded.par_iter_mut().zip(grids).for_each(|(total, grid)| {
            let inverse = 1.0 / grid.scale;
            let low = (grid.low - grid.zero_point) as f32;
            let high = (grid.high - grid.zero_point) as f32;
            add(total, &|image, sum| {
                for (sum, x) in sum.iter_mut().zip(image) {
                    *sum += (x * inverse).round_ties_even().clamp(low, high) * grid.scale;
                }
            });
        });
    }

    /// A sum as one image, `[1, ...]`.
    fn to_tensor(&self, sum: &[f64]) -> Tensor {
        let sum = Tensor::from_slice(sum);
        match *self.shape.as_slice() {
            [c, h, w] => sum.view([1, h, w, c]).permute([0, 3, 1, 2]),
            _ => sum.view([&[1], self.shape.as_slice()].concat().as_slice()),
        }
    }
}

/// Feature maps with their channels last, as they lie in memory; others as they are.
fn memory_order(values: &Tensor) -> Tensor {
    if values.dim() == 4 { values.permute([0, 2, 3, 1]) } else { values.shallow_clone() }
}

/// The mean input vector, `[n_groups * n_columns]`, from a tensor summed over images.
///
/// Unfolding is linear, so the sum unfolds to the sum of the vectors.
fn mean_vector(op: &Op, rows: &WeightRows, sum: &Tensor, n_images: usize) -> Vec<f64> {
    let vectors = input_vectors(op, rows, sum);
    let positions = vectors.size()[3] as f64 * vectors.size()[0] as f64;
    let total = vectors.sum_dim_intlist([0, 3].as_slice(), false, Kind::Double);
    let mean = (total / (positions * n_images as f64)).contiguous().view(-1);
    Vec::try_from(mean).expect("a flat f64 tensor is a vector")
}
