//! How strongly the loss curves along a layer's weights: the trace of the Hessian's block of
//! each layer, by Hutchinson's estimator.
//!
//! Source: Hutchinson 1990; Dong et al. 2020, "HAWQ-V2", section 3.2.

use std::sync::Mutex;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Reduction, Tensor};

use crate::{
    network::{Executable, Graph, QuantizableLayer, TensorId},
    quantization::{error::QuantizationError, evaluate::batch_of},
};

/// How a trace is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HessianSettings {
    /// Random vectors, at least 1.
    pub probes: u32,
    /// Equal seeds give equal vectors.
    pub seed: u64,
    /// Worker threads; they change no figure.
    pub threads: usize,
}

/// An estimate with what it may be off by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TraceEstimate {
    /// Mean over the probes, in nats by squared weight.
    pub trace: f64,
    /// Of that mean; not a number for a single probe.
    pub standard_error: f64,
}

/// Traces of the layers' blocks of the Hessian of the mean loss.
///
/// The loss is the cross-entropy against the labels, or without them against what the network
/// itself answers. One probe is a vector of ±1 over the weights of all layers, so that two
/// derivatives of the network serve every layer; what layers add to each other has mean 0.
///
/// - `images`: `[n, ...]` as the network reads them, f32, at least one
/// - `labels`: one class an image
///
/// # Errors
/// When the network does not run, or cannot be differentiated twice.
pub fn hessian_traces(
    graph: &Graph,
    layers: &[QuantizableLayer],
    images: &Tensor,
    labels: Option<&[i64]>,
    settings: HessianSettings,
) -> Result<Vec<TraceEstimate>, QuantizationError> {
    let n_images = images.size()[0];
    if n_images == 0 {
        return Err(QuantizationError::NoImages);
    }
    let probes: Vec<Vec<Tensor>> =
        (0..settings.probes).map(|probe| probe_vectors(graph, layers, settings, probe)).collect();
    let batches: Vec<Batch> = split(images, labels);
    let products =
        in_threads(graph, batches, &probes, settings.threads, |executable, batch, probes| {
            curvatures(executable, layers, batch, n_images, probes)
        })?;
    let estimate = |layer: usize| {
        let samples: Vec<f64> = (0..settings.probes as usize)
            .map(|probe| products.iter().map(|batch| batch[probe][layer]).sum())
            .collect();
        mean_and_error(&samples)
    };
    Ok((0..layers.len()).map(estimate).collect())
}

struct Batch {
    images: Tensor,
    /// `[n]`, i64
    labels: Option<Tensor>,
}

fn split(images: &Tensor, labels: Option<&[i64]>) -> Vec<Batch> {
    let (n, batch) = (images.size()[0], batch_of(images) as i64);
    let of_start = |start: i64| {
        let length = batch.min(n - start);
        let labels = labels
            .map(|labels| Tensor::from_slice(&labels[start as usize..(start + length) as usize]));
        Batch { images: images.narrow(0, start, length), labels }
    };
    (0..n).step_by(batch as usize).map(of_start).collect()
}

/// Vectors of ±1, one of each layer's weights' shape.
fn probe_vectors(
    graph: &Graph,
    layers: &[QuantizableLayer],
    settings: HessianSettings,
    probe: u32,
) -> Vec<Tensor> {
    let vector = |(index, layer): (usize, &QuantizableLayer)| {
        let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
        random.set_stream(u64::from(probe) << 32 | index as u64);
        let shape = weight_shape(graph, layer);
        let n = shape.iter().product::<i64>();
        let signs: Vec<f32> =
            (0..n).map(|_| if random.random::<bool>() { 1.0 } else { -1.0 }).collect();
        Tensor::from_slice(&signs).view(shape.as_slice())
    };
    layers.iter().enumerate().map(vector).collect()
}

fn weight_shape(graph: &Graph, layer: &QuantizableLayer) -> Vec<i64> {
    let array = graph.constant(layer.weight).expect("a quantizable layer's weight is constant");
    array.shape().iter().map(|&n| n as i64).collect()
}

/// What `work` makes of every batch, in their order.
fn in_threads<R: Send>(
    graph: &Graph,
    batches: Vec<Batch>,
    probes: &[Vec<Tensor>],
    threads: usize,
    work: impl Fn(&Executable, &Batch, &[Vec<Tensor>]) -> Result<R, QuantizationError> + Sync,
) -> Result<Vec<R>, QuantizationError> {
    let executable = Executable::new(graph, Device::Cpu)?;
    let n_workers = threads.clamp(1, batches.len());
    let waiting = Mutex::new(batches.into_iter().enumerate());
    let results: Mutex<Vec<(usize, Result<R, QuantizationError>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..n_workers {
            let executable = executable.share();
            let probes: Vec<Vec<Tensor>> = probes
                .iter()
                .map(|vectors| vectors.iter().map(Tensor::shallow_clone).collect())
                .collect();
            let (waiting, results, work) = (&waiting, &results, &work);
            scope.spawn(move || {
                if n_workers > 1 {
                    tch::set_num_threads(1);
                }
                loop {
                    let next = waiting.lock().expect("no worker panics").next();
                    let Some((index, batch)) = next else { break };
                    let result = work(&executable, &batch, &probes);
                    results.lock().expect("no worker panics").push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no worker panics");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// `z' H z` of one batch's part of the mean loss, by probe, then layer.
fn curvatures(
    executable: &Executable,
    layers: &[QuantizableLayer],
    batch: &Batch,
    n_images: i64,
    probes: &[Vec<Tensor>],
) -> Result<Vec<Vec<f64>>, QuantizationError> {
    let weights: Vec<Tensor> = layers
        .iter()
        .map(|layer| {
            let array = executable.graph().constant(layer.weight);
            let array = array.expect("a quantizable layer's weight is constant");
            array.to_tensor().set_requires_grad(true)
        })
        .collect();
    let loss = loss(executable, layers, &weights, batch, n_images)?;
    let gradients = Tensor::f_run_backward(&[loss], &weights, true, true)?;
    let mut curvatures = Vec::with_capacity(probes.len());
    for vectors in probes {
        let parts: Vec<Tensor> = gradients
            .iter()
            .zip(vectors)
            .filter(|(gradient, _)| gradient.defined())
            .map(|(gradient, vector)| (gradient * vector).sum(Kind::Float))
            .collect();
        let along = Tensor::stack(&parts, 0).sum(Kind::Float);
        let products = Tensor::f_run_backward(&[along], &weights, true, false)?;
        let of_layer = |(product, vector): (&Tensor, &Tensor)| match product.defined() {
            true => (product * vector).sum(Kind::Double).double_value(&[]),
            false => 0.0,
        };
        curvatures.push(products.iter().zip(vectors).map(of_layer).collect());
    }
    Ok(curvatures)
}

/// The batch's part of the mean cross-entropy over `n_images`.
fn loss(
    executable: &Executable,
    layers: &[QuantizableLayer],
    weights: &[Tensor],
    batch: &Batch,
    n_images: i64,
) -> Result<Tensor, QuantizationError> {
    let graph = executable.graph();
    let mut fed: Vec<(TensorId, &Tensor)> = vec![(graph.input()?.tensor, &batch.images)];
    fed.extend(layers.iter().map(|layer| layer.weight).zip(weights));
    let outputs = executable.run_recorded(&fed, &[graph.output()?], &mut |_, _| Ok(None))?;
    let logits = outputs[0].flatten(1, -1);
    let log_q = logits.log_softmax(1, Kind::Float);
    let sum = match &batch.labels {
        Some(labels) => log_q.nll_loss_nd::<&Tensor>(labels, None, Reduction::Sum, -100),
        None => -(log_q.detach().exp() * &log_q).sum(Kind::Float),
    };
    Ok(sum / n_images as f64)
}

fn mean_and_error(samples: &[f64]) -> TraceEstimate {
    let n = samples.len() as f64;
    let trace = samples.iter().sum::<f64>() / n;
    let squares: f64 = samples.iter().map(|sample| (sample - trace).powi(2)).sum();
    TraceEstimate { trace, standard_error: (squares / (n - 1.0) / n).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Array, Op};

    const N_IMAGES: usize = 5;
    const LABELS: [i64; N_IMAGES] = [0, 2, 1, 2, 0];

    /// Numbers between -1 and 1 that follow no pattern.
    fn numbers(n: usize, salt: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * 12.9898 + salt).sin()).collect()
    }

    /// Three inputs, four sigmoids, three classes.
    fn network() -> (Graph, Tensor) {
        let (mut graph, x) = Graph::sketch(&[0, 3]);
        let first = graph.add_constant("first", Array::f32(vec![3, 4], numbers(12, 0.3)));
        let second = graph.add_constant("second", Array::f32(vec![4, 3], numbers(12, 1.7)));
        let hidden = graph.draw(Op::MatMul, &[x, first]);
        let active = graph.draw(Op::Sigmoid, &[hidden]);
        graph.draw(Op::MatMul, &[active, second]);
        let images = Tensor::from_slice(&numbers(3 * N_IMAGES, 4.1)).view([N_IMAGES as i64, 3]);
        (graph, images)
    }

    /// The same network's mean loss, written out.
    fn written_out(first: &[f64], second: &[f64]) -> f64 {
        let images = numbers(3 * N_IMAGES, 4.1);
        let of_image = |(image, label): (&[f32], i64)| {
            let hidden = |j: usize| {
                let sum: f64 = (0..3).map(|i| f64::from(image[i]) * first[i * 4 + j]).sum();
                1.0 / (1.0 + (-sum).exp())
            };
            let logit = |k: usize| (0..4).map(|j| hidden(j) * second[j * 3 + k]).sum::<f64>();
            let total: f64 = (0..3).map(|k| logit(k).exp()).sum();
            total.ln() - logit(label as usize)
        };
        images.chunks(3).zip(LABELS).map(of_image).sum::<f64>() / N_IMAGES as f64
    }

    /// Sum of the second derivatives by each layer's weights, from differences in f64.
    fn exact_traces() -> [f64; 2] {
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<f64>>();
        let weights = [wide(numbers(12, 0.3)), wide(numbers(12, 1.7))];
        let step = 1e-4;
        [0, 1].map(|layer| {
            let at = |index: usize, by: f64| {
                let mut moved = weights.clone();
                moved[layer][index] += by;
                written_out(&moved[0], &moved[1])
            };
            let second =
                |index| (at(index, step) - 2.0 * at(index, 0.0) + at(index, -step)) / step / step;
            (0..12).map(second).sum()
        })
    }

    #[test]
    fn products_with_every_unit_vector_add_up_to_the_exact_trace() {
        let (graph, images) = network();
        let layers = graph.quantizable_layers();
        let units: Vec<Vec<Tensor>> = (0..24)
            .map(|unit| {
                let all = Tensor::zeros([24], (Kind::Float, Device::Cpu));
                let _ = all.get(unit).fill_(1.0);
                vec![all.narrow(0, 0, 12).view([3, 4]), all.narrow(0, 12, 12).view([4, 3])]
            })
            .collect();
        let batch = split(&images, Some(&LABELS)).swap_remove(0);
        let executable = Executable::new(&graph, Device::Cpu).unwrap();
        let products = curvatures(&executable, &layers, &batch, N_IMAGES as i64, &units).unwrap();
        for (layer, exact) in exact_traces().into_iter().enumerate() {
            let trace: f64 = products.iter().map(|product| product[layer]).sum();
            assert!((trace - exact).abs() < 1e-4 * exact.abs(), "layer {layer}: {trace} {exact}");
        }
    }

    #[test]
    fn estimates_come_close_to_the_exact_trace_for_any_number_of_threads() {
        let (graph, images) = network();
        let layers = graph.quantizable_layers();
        let estimate = |probes, threads| {
            let settings = HessianSettings { probes, seed: 3, threads };
            hessian_traces(&graph, &layers, &images, Some(&LABELS), settings).unwrap()
        };
        let (few, many) = (estimate(100, 1), estimate(1600, 1));
        for ((few, many), exact) in few.iter().zip(&many).zip(exact_traces()) {
            assert!((many.trace - exact).abs() < 4.0 * many.standard_error, "{many:?} {exact}");
            let gain = few.standard_error / many.standard_error;
            assert!(
                (3.0..5.0).contains(&gain),
                "16 times the probes, a quarter of the error: {gain}"
            );
        }
        assert_eq!(estimate(100, 2), few);
    }

    #[test]
    fn without_labels_the_networks_own_answers_serve() {
        let (graph, images) = network();
        let layers = graph.quantizable_layers();
        let settings = HessianSettings { probes: 50, seed: 3, threads: 1 };
        let estimates = hessian_traces(&graph, &layers, &images, None, settings).unwrap();
        // At its own answers the loss is at a minimum by the logits, so no curvature is negative.
        assert!(estimates.iter().all(|estimate| estimate.trace > 0.0), "{estimates:?}");
    }
}
