//! What a method does to the float network before it quantizes.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    network::{Graph, QuantizableKind, TensorId},
    quantization::{
        error::QuantizationError,
        scaling::{ChannelStatistics, absorb_high_biases, equalize, smooth},
    },
};

/// A change that leaves the float function alone, or nearly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preparation {
    /// [`equalize`], then [`absorb_high_biases`].
    Equalize,
    /// [`smooth`] with this share moved into the weights, 0 to 1.
    Smooth(f64),
}

impl Preparation {
    /// - `images`: `[n, ...]` as the network reads them, f32, at least one
    ///
    /// # Errors
    /// When a weight or an activation is not finite, or the network does not run.
    pub fn apply(self, graph: Graph, images: &Tensor) -> Result<Graph, QuantizationError> {
        match self {
            Self::Equalize => {
                let (graph, done) = equalize(graph)?;
                let written: Vec<TensorId> =
                    graph.quantizable_layers().iter().map(|layer| layer.output).collect();
                let statistics = ChannelStatistics::measure(&graph, &written, images)?;
                let (graph, n_absorbed) = absorb_high_biases(graph, &statistics);
                tracing::info!(
                    pairs = done.n_pairs,
                    sweeps = done.n_sweeps,
                    n_absorbed,
                    "equalized"
                );
                Ok(graph)
            }
            Self::Smooth(alpha) => {
                let layers = graph.quantizable_layers().into_iter();
                let read: Vec<TensorId> = layers
                    .filter(|layer| layer.kind == QuantizableKind::Linear)
                    .map(|layer| layer.input)
                    .collect();
                let statistics = ChannelStatistics::measure(&graph, &read, images)?;
                let (graph, done) = smooth(graph, alpha, &statistics)?;
                tracing::info!(done.n_folded, done.n_multiplied, "smoothed");
                Ok(graph)
            }
        }
    }
}
