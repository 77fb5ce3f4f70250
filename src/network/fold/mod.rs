//! A graph with the same function and fewer operations: what calibration and search work on.
//!
//! Constants were folded while the file was read. Here scales and shifts a channel go into the
//! layer before them, zero padding goes into the convolution behind it, linear layers take one
//! form, and shape arithmetic that only carries the batch size through goes away.

mod affine;
mod batch;
mod linear;
mod norms;
mod padding;
mod reshape;

use super::{error::NetworkError, graph::Graph, ops::Op};

pub use norms::FoldedNorm;

impl Graph {
    /// The folded graph. Tensors that are left keep their ids and names.
    ///
    /// Batch normalization disappears where the layer before it has no other reader; every
    /// linear layer with a constant weight stores it as `[out, in]`, unless it is a batched
    /// product; no two layers share a weight.
    ///
    /// # Errors
    /// [`NetworkError::Shape`] when the graph is not consistent in itself.
    pub fn folded(&self) -> Result<Self, NetworkError> {
        Ok(self.folded_with_norms()?.0)
    }

    /// The folded graph, and the batch normalizations that went into its layers.
    ///
    /// # Errors
    /// As [`Graph::folded`].
    pub fn folded_with_norms(&self) -> Result<(Self, Vec<FoldedNorm>), NetworkError> {
        let mut graph = self.clone();
        reshape::settle_targets(&mut graph)?;
        graph.remove_unused();
        linear::normalize(&mut graph);
        let norms = norms::remember(&graph);
        affine::fold(&mut graph);
        padding::fold(&mut graph);
        separate_weights(&mut graph);
        graph.remove_unused();
        let norms = norms::keep_folded(&graph, norms);
        Ok((graph, norms))
    }
}

/// Gives each layer its own weight and bias, so that one can change alone.
fn separate_weights(graph: &mut Graph) {
    let mut taken = std::collections::BTreeSet::new();
    for index in 0..graph.nodes.len() {
        if !matches!(graph.nodes[index].op, Op::Conv { .. } | Op::Gemm { .. } | Op::MatMul) {
            continue;
        }
        for position in [1, 2] {
            let Some(tensor) = graph.nodes[index].input(position) else { continue };
            let Some(array) = graph.constants.get(&tensor).cloned() else { continue };
            if !taken.insert(tensor) || graph.readers(tensor).len() > 1 {
                let name = graph.tensor_name(tensor).to_owned();
                let own = graph.add_constant(&name, array);
                taken.insert(own);
                graph.nodes[index].inputs[position] = Some(own);
            }
        }
    }
}
