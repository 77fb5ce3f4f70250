//! Mean, spread and largest magnitude of every channel of a tensor, over the calibration images.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use crate::{
    network::{Executable, Graph, Op, TensorId},
    quantization::{error::QuantizationError, evaluate::batch_of},
};

/// What calibration saw of one tensor, channel by channel. The channel axis is the last of
/// what a linear layer reads or writes, and of a tensor of another rank than 4; else it is the
/// second.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelStatistics {
    pub mean: Vec<f64>,
    /// Standard deviation over images and places.
    pub deviation: Vec<f64>,
    pub largest: Vec<f64>,
}

/// Sums over images, in f64.
struct Sums {
    n: f64,
    sum: Tensor,
    square: Tensor,
    largest: Tensor,
}

impl ChannelStatistics {
    /// - `images`: `[n, ...]` as the network reads them, f32, at least one
    ///
    /// # Errors
    /// When the network does not run, or a tensor holds a number that is not finite.
    pub fn measure(
        graph: &Graph,
        tensors: &[TensorId],
        images: &Tensor,
    ) -> Result<BTreeMap<TensorId, Self>, QuantizationError> {
        if images.size()[0] == 0 {
            return Err(QuantizationError::NoImages);
        }
        let executable = Executable::new(graph, Device::Cpu)?;
        let mut sums: BTreeMap<TensorId, Sums> = BTreeMap::new();
        for batch in images.split(batch_of(images) as i64, 0) {
            executable.run_observed(&batch, tensors, &mut |tensor, values| {
                let seen = Sums::of(values, channel_axis(graph, tensor, values.dim()));
                match sums.get_mut(&tensor) {
                    Some(sums) => sums.add(&seen),
                    None => drop(sums.insert(tensor, seen)),
                }
            })?;
        }
        sums.into_iter()
            .map(|(tensor, sums)| {
                let statistics = sums.finish();
                if let Some(&value) = statistics.largest.iter().find(|value| !value.is_finite()) {
                    let (tensor, value) = (graph.tensor_name(tensor).to_owned(), value as f32);
                    return Err(QuantizationError::ActivationNotFinite { tensor, value });
                }
                Ok((tensor, statistics))
            })
            .collect()
    }
}

fn channel_axis(graph: &Graph, tensor: TensorId, rank: usize) -> usize {
    let nodes = graph.readers(tensor).into_iter().chain(graph.producer(tensor));
    let is_linear = |node: usize| matches!(graph.nodes()[node].op, Op::Gemm { .. } | Op::MatMul);
    if rank != 4 || nodes.into_iter().any(is_linear) { rank - 1 } else { 1 }
}

impl Sums {
    fn of(values: &Tensor, channel_axis: usize) -> Self {
        let rows = values.to_kind(Kind::Double).transpose(0, channel_axis as i64).flatten(1, -1);
        let axis = [1i64];
        Self {
            n: rows.size()[1] as f64,
            sum: rows.sum_dim_intlist(axis.as_slice(), false, Kind::Double),
            square: rows.square().sum_dim_intlist(axis.as_slice(), false, Kind::Double),
            largest: rows.abs().amax(axis.as_slice(), false),
        }
    }

    fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.sum += &other.sum;
        self.square += &other.square;
        self.largest = self.largest.maximum(&other.largest);
    }

    fn finish(&self) -> ChannelStatistics {
        let mean = &self.sum / self.n;
        let deviation = (&self.square / self.n - mean.square()).clamp_min(0.0).sqrt();
        let numbers =
            |tensor: &Tensor| Vec::try_from(tensor.contiguous()).expect("it is a flat f64 tensor");
        ChannelStatistics {
            mean: numbers(&mean),
            deviation: numbers(&deviation),
            largest: numbers(&self.largest),
        }
    }
}
