//! What the calibration images tell of every tensor a layer reads: its values, its moments,
//! and its mean after rounding. No gradients; two passes of the float network.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::{
    domain::Bits,
    network::{Executable, Graph, Op, QuantizableLayer, TensorId},
    quantization::{
        clip::{RangeRule, TensorSample, activation_levels, relative_noise},
        error::QuantizationError,
        evaluate::batch_of,
        layer_matrix::{WeightRows, input_vectors, some_input_vectors},
        moments::{Moments, SecondMomentSum},
        scaling::before_clip,
        uniform::{ActivationLevels, LARGEST_MAGNITUDE, round_small},
    },
};

/// Values of a tensor that ranges are chosen from.
const SAMPLE_VALUES: usize = 1 << 16;
/// Input vectors that a second moment is taken over, for each column it has.
const VECTORS_PER_COLUMN: usize = 96;

/// The widths a search may choose from.
pub const WIDTHS: std::ops::RangeInclusive<u8> = 1..=8;

/// All that calibration found out, for every layer of one network.
pub struct Calibration {
    /// For each tensor that a layer reads, its levels at 1 to 8 bits.
    levels: BTreeMap<TensorId, Vec<ActivationLevels>>,
    /// For each of them, what rounding to them adds; see [`Calibration::noise`].
    noise: BTreeMap<TensorId, Vec<f64>>,
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
    /// When an activation is not finite or too large, or the network does not run on the images.
    pub fn measure(
        graph: &Graph,
        layers: &[QuantizableLayer],
        weights: &[WeightRows],
        images: &Tensor,
        rule: RangeRule,
    ) -> Result<Self, QuantizationError> {
        if images.size()[0] == 0 {
            return Err(QuantizationError::NoImages);
        }
        let executable = Executable::new(graph, Device::Cpu)?;
        let start = Instant::now();
        let tensors: BTreeSet<TensorId> = layers.iter().map(|layer| layer.input).collect();
        let tensors: Vec<TensorId> = tensors.into_iter().collect();
        let chosen = choose_levels(graph, &executable, &tensors, images, rule)?;
        let (levels, noise) = chosen
            .into_iter()
            .map(|(tensor, (levels, noise))| ((tensor, levels), (tensor, noise)))
            .unzip();
        let ranges_s = start.elapsed().as_secs_f64();
        let layers = measure_layers(graph, &executable, layers, weights, images, &levels)?;
        let moments_s = start.elapsed().as_secs_f64() - ranges_s;
        tracing::info!(images = images.size()[0], ranges_s, moments_s, "calibrated");
        Ok(Self { levels, noise, layers })
    }

    /// What a tensor that a layer reads is rounded to.
    ///
    /// # Panics
    /// When no layer reads the tensor or the width is above 8.
    pub fn levels(&self, tensor: TensorId, bits: Bits) -> ActivationLevels {
        self.levels[&tensor][usize::from(bits.get()) - 1]
    }

    /// Mean square of what rounding a tensor to `bits` adds, over the tensor's variance.
    ///
    /// # Panics
    /// As [`Calibration::levels`].
    pub fn noise(&self, tensor: TensorId, bits: Bits) -> f64 {
        self.noise[&tensor][usize::from(bits.get()) - 1]
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

/// Shows every batch of calibration to collectors, one for each tensor.
///
/// Worker threads share out the tensors, not the images: each runs the network on all batches
/// and collects its own tensors in order, so that sums do not depend on how many there are.
fn collect<C: Send>(
    executable: &Executable,
    images: &Tensor,
    tensors: &[TensorId],
    new: impl Fn() -> C + Sync,
    show: impl Fn(&mut C, TensorId, &Tensor, usize) + Sync,
) -> Result<BTreeMap<TensorId, C>, QuantizationError> {
    let n_workers = rayon::current_num_threads().clamp(1, tensors.len());
    let shares: Vec<Vec<TensorId>> = (0..n_workers)
        .map(|worker| tensors.iter().copied().skip(worker).step_by(n_workers).collect())
        .collect();
    let results: Vec<Result<BTreeMap<TensorId, C>, QuantizationError>> =
        std::thread::scope(|scope| {
            let workers: Vec<_> = shares
                .into_iter()
                .map(|share| {
                    let (executable, images) = (executable.share(), images.shallow_clone());
                    let (new, show) = (&new, &show);
                    scope.spawn(move || {
                        if n_workers > 1 {
                            tch::set_num_threads(1);
                        }
                        collect_share(&executable, &images, &share, new, show)
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().expect("no worker panics")).collect()
        });
    let mut all = BTreeMap::new();
    for result in results {
        all.extend(result?);
    }
    Ok(all)
}

fn collect_share<C>(
    executable: &Executable,
    images: &Tensor,
    share: &[TensorId],
    new: impl Fn() -> C,
    show: impl Fn(&mut C, TensorId, &Tensor, usize),
) -> Result<BTreeMap<TensorId, C>, QuantizationError> {
    let mut collectors: BTreeMap<TensorId, C> = share.iter().map(|&id| (id, new())).collect();
    let (n, batch) = (images.size()[0], batch_of(images) as i64);
    for (index, start) in (0..n).step_by(batch as usize).enumerate() {
        let images = images.narrow(0, start, batch.min(n - start));
        executable.run_observed(&images, share, &mut |tensor, values| {
            if let Some(collector) = collectors.get_mut(&tensor) {
                show(collector, tensor, values, index);
            }
        })?;
    }
    Ok(collectors)
}

/// A tensor's levels and what rounding to them adds, at 1 to 8 bits.
type LevelsAndNoise = (Vec<ActivationLevels>, Vec<f64>);

/// First pass: a sample of every tensor, and from it the levels at every width.
pub(super) fn choose_levels(
    graph: &Graph,
    executable: &Executable,
    tensors: &[TensorId],
    images: &Tensor,
    rule: RangeRule,
) -> Result<BTreeMap<TensorId, LevelsAndNoise>, QuantizationError> {
    if tensors.is_empty() {
        return Ok(BTreeMap::new());
    }
    let before: BTreeMap<TensorId, TensorId> = match rule {
        RangeRule::Aciq(_) => tensors
            .iter()
            .filter_map(|&tensor| Some((tensor, before_rectifier(graph, tensor)?)))
            .collect(),
        _ => BTreeMap::new(),
    };
    let seen: BTreeSet<TensorId> = tensors.iter().chain(before.values()).copied().collect();
    let seen: Vec<TensorId> = seen.into_iter().collect();
    let per_image = SAMPLE_VALUES.div_ceil(images.size()[0] as usize);
    let samples =
        collect(executable, images, &seen, TensorSample::default, |sample, _, values, batch| {
            sample_values(values, per_image * values.size()[0] as usize, batch, sample);
        })?;
    for (&tensor, sample) in &samples {
        check_values(graph, tensor, &sample.values)?;
    }
    tensors
        .par_iter()
        .map(|&tensor| {
            let mut sample = samples[&tensor].clone();
            sample.before = before.get(&tensor).map(|before| samples[before].values.clone());
            sample.values.sort_by(f32::total_cmp);
            let levels: Vec<ActivationLevels> = WIDTHS
                .map(|bits| Bits::new(bits).expect("1 to 8 are widths"))
                .map(|bits| activation_levels(rule, bits, &sample))
                .collect();
            let noise = levels.iter().map(|one| relative_noise(one, &sample.values)).collect();
            Ok((tensor, (levels, noise)))
        })
        .collect()
}

/// What a ReLU or a clip at 0 makes the tensor of.
fn before_rectifier(graph: &Graph, tensor: TensorId) -> Option<TensorId> {
    let (before, low, _) = before_clip(graph, tensor);
    (before != tensor && low == 0.0).then_some(before)
}

fn check_values(graph: &Graph, tensor: TensorId, values: &[f32]) -> Result<(), QuantizationError> {
    let named = || graph.tensor_name(tensor).to_owned();
    if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
        return Err(QuantizationError::ActivationNotFinite { tensor: named(), value });
    }
    if let Some(&value) = values.iter().find(|value| value.abs() > LARGEST_MAGNITUDE) {
        return Err(QuantizationError::ActivationTooLarge { tensor: named(), value });
    }
    Ok(())
}

/// Takes about `n` values evenly from all over the tensor, and its two extremes.
fn sample_values(values: &Tensor, n: usize, batch_index: usize, sample: &mut TensorSample) {
    let flat = values.detach().contiguous().view(-1);
    let total = flat.size()[0];
    // Odd strides visit every column of the usual even-sized maps.
    let stride = ((total / n as i64).max(1)) | 1;
    let offset = batch_index as i64 * 7 % stride.min(total);
    let picked = flat.slice(0, offset, total, stride).to_kind(Kind::Float).contiguous();
    let (low, high) = (flat.min(), flat.max());
    let picked = Vec::<f32>::try_from(&picked).expect("a flat f32 tensor is a vector");
    let ends = (low.double_value(&[]) as f32, high.double_value(&[]) as f32);
    sample.values.extend(picked);
    sample.values.extend([ends.0, ends.1]);
    sample.batches.push(ends);
}

/// Second pass: moments of every layer's input, and its means before and after rounding.
fn measure_layers(
    graph: &Graph,
    executable: &Executable,
    layers: &[QuantizableLayer],
    weights: &[WeightRows],
    images: &Tensor,
    levels: &BTreeMap<TensorId, Vec<ActivationLevels>>,
) -> Result<Vec<LayerStatistics>, QuantizationError> {
    let n_images = images.size()[0] as usize;
    let tensors: Vec<TensorId> = levels.keys().copied().collect();
    let op = |layer: usize| &graph.nodes()[layers[layer].node].op;
    let readers = |tensor| (0..layers.len()).filter(move |&layer| layers[layer].input == tensor);
    let collected = collect(
        executable,
        images,
        &tensors,
        TensorSums::default,
        |sums: &mut TensorSums, tensor, values, batch_index| {
            let levels = &levels[&tensor];
            sums.means.get_or_insert_with(|| ImageSums::new(values, levels)).add(values, levels);
            for layer in readers(tensor) {
                let rows = &weights[layer];
                let wanted = (VECTORS_PER_COLUMN * rows.n_columns).max(1 << 14).div_ceil(n_images);
                let vectors = some_input_vectors(op(layer), rows, values, wanted, batch_index);
                let new = || SecondMomentSum::new(rows.n_groups, rows.n_columns);
                sums.second.entry(layer).or_insert_with(new).add(&vectors);
            }
        },
    )?;
    let statistics = (0..layers.len()).map(|layer| {
        let rows = &weights[layer];
        let sums = &collected[&layers[layer].input];
        let means = sums.means.as_ref().expect("there was at least one batch");
        let mean = |sum: &[f64]| mean_vector(op(layer), rows, &means.to_tensor(sum), n_images);
        LayerStatistics {
            moments: Moments::new(rows.n_groups, mean(&means.float), sums.second[&layer].mean()),
            rounded_means: means.rounded.iter().map(|sum| mean(sum)).collect(),
        }
    });
    Ok(statistics.collect())
}

/// What the second pass collects of one tensor.
#[derive(Default)]
struct TensorSums {
    means: Option<ImageSums>,
    /// By layer that reads it.
    second: BTreeMap<usize, SecondMomentSum>,
}

/// A tensor summed over images: as it is, and rounded to each of its widths.
struct ImageSums {
    /// Of one image, as the network sees it: `[c, h, w]` or another.
    shape: Vec<i64>,
    float: Vec<f64>,
    rounded: Vec<Vec<f64>>,
}

impl ImageSums {
    fn new(values: &Tensor, levels: &[ActivationLevels]) -> Self {
        let shape = values.size()[1..].to_vec();
        let n = shape.iter().product::<i64>() as usize;
        Self { shape, float: vec![0.0; n], rounded: vec![vec![0.0; n]; levels.len()] }
    }

    fn add(&mut self, values: &Tensor, levels: &[ActivationLevels]) {
        let flat = memory_order(values).to_kind(Kind::Float).contiguous().view(-1);
        let values: Vec<f32> = Vec::try_from(flat).expect("a flat f32 tensor is a vector");
        let n = self.float.len();
        let add = |total: &mut [f64], round: &dyn Fn(&[f32], &mut [f32])| {
            let mut sum = vec![0.0f32; n];
            values.chunks(n).for_each(|image| round(image, &mut sum));
            total.iter_mut().zip(&sum).for_each(|(total, sum)| *total += f64::from(*sum));
        };
        add(&mut self.float, &|image, sum| sum.iter_mut().zip(image).for_each(|(s, x)| *s += x));
        for (total, levels) in self.rounded.iter_mut().zip(levels) {
            let ActivationLevels::Grid(grid) = levels else {
                add(total, &|image, sum| {
                    sum.iter_mut().zip(image).for_each(|(s, x)| *s += levels.round(*x));
                });
                continue;
            };
            let inverse = 1.0 / grid.scale;
            let low = (grid.low - grid.zero_point) as f32;
            let high = (grid.high - grid.zero_point) as f32;
            add(total, &|image, sum| {
                for (sum, x) in sum.iter_mut().zip(image) {
                    *sum += round_small((x * inverse).max(low).min(high)) * grid.scale;
                }
            });
        }
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
