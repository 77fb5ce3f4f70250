//! Which output and which input channel each weight of a layer connects.

use crate::{
    network::{Array, Graph, Op, QuantizableLayer, TensorId},
    quantization::error::QuantizationError,
};

/// How a weight array is indexed by channels.
pub struct Channels {
    pub n_out: usize,
    pub n_in: usize,
    layout: Layout,
}

enum Layout {
    /// `[out, in / groups, area]`
    Convolution { groups: usize, area: usize },
    /// `[out, in]`
    Rows,
    /// `[in, out]`
    Columns,
}

impl Channels {
    /// # Panics
    /// When the operation is not a quantizable layer's.
    pub fn of(op: &Op, shape: &[usize]) -> Self {
        match op {
            Op::Conv { groups, .. } => {
                let layout =
                    Layout::Convolution { groups: *groups, area: shape[2..].iter().product() };
                Self { n_out: shape[0], n_in: shape[1] * groups, layout }
            }
            Op::Gemm { transpose_b: true, .. } => {
                Self { n_out: shape[0], n_in: shape[1], layout: Layout::Rows }
            }
            Op::Gemm { .. } | Op::MatMul => {
                Self { n_out: shape[1], n_in: shape[0], layout: Layout::Columns }
            }
            op => unreachable!("{op:?} is not quantizable"),
        }
    }

    /// The output and the input channel of the weight at a position of the array.
    pub fn at(&self, position: usize) -> (usize, usize) {
        match self.layout {
            Layout::Convolution { groups, area } => {
                let per_group = self.n_in / groups;
                let out = position / (per_group * area);
                let group = out / (self.n_out / groups);
                (out, group * per_group + position / area % per_group)
            }
            Layout::Rows => (position / self.n_in, position % self.n_in),
            Layout::Columns => (position % self.n_out, position / self.n_out),
        }
    }
}

/// A layer's weights with their channels.
pub struct LayerWeights<'a> {
    pub channels: Channels,
    pub values: &'a [f32],
    shape: &'a [usize],
}

impl<'a> LayerWeights<'a> {
    /// # Panics
    /// When `layer` is not one that `graph` lists as quantizable.
    pub fn of(graph: &'a Graph, layer: &QuantizableLayer) -> Self {
        let node = graph.producer(layer.output).expect("a layer writes it");
        Self::new(graph, &graph.nodes()[node].op, layer.weight)
    }

    /// # Panics
    /// When the tensor is not the constant weight of such an operation.
    pub fn new(graph: &'a Graph, op: &Op, weight: TensorId) -> Self {
        let array = graph.constant(weight).expect("a quantizable layer's weight is constant");
        let values = array.as_f32().expect("a quantizable layer's weight is f32");
        Self { channels: Channels::of(op, array.shape()), values, shape: array.shape() }
    }

    /// The largest magnitude of each output channel, and of each input channel.
    pub fn ranges(&self) -> (Vec<f32>, Vec<f32>) {
        let mut of_out = vec![0.0f32; self.channels.n_out];
        let mut of_in = vec![0.0f32; self.channels.n_in];
        for (position, weight) in self.values.iter().enumerate() {
            let (out, input) = self.channels.at(position);
            of_out[out] = of_out[out].max(weight.abs());
            of_in[input] = of_in[input].max(weight.abs());
        }
        (of_out, of_in)
    }

    /// Every weight times what `factor` says of its output and input channel.
    pub fn scaled(&self, factor: impl Fn(usize, usize) -> f32) -> Array {
        let scaled: Vec<f32> = self
            .values
            .iter()
            .enumerate()
            .map(|(position, weight)| {
                let (out, input) = self.channels.at(position);
                weight * factor(out, input)
            })
            .collect();
        Array::f32(self.shape.to_vec(), scaled)
    }

    /// For each output channel, the sum over its weights times what `value` says of their input
    /// channel: what the layer makes of a constant input, away from borders.
    pub fn of_constant_input(&self, value: impl Fn(usize) -> f64) -> Vec<f64> {
        let mut sums = vec![0.0; self.channels.n_out];
        for (position, &weight) in self.values.iter().enumerate() {
            let (out, input) = self.channels.at(position);
            sums[out] += f64::from(weight) * value(input);
        }
        sums
    }
}

/// # Errors
/// [`QuantizationError::WeightNotFinite`] for the first weight that is not a finite number.
pub fn check_finite(graph: &Graph, layers: &[QuantizableLayer]) -> Result<(), QuantizationError> {
    for layer in layers {
        let weights = LayerWeights::of(graph, layer);
        if let Some(index) = weights.values.iter().position(|w| !w.is_finite()) {
            let (layer, value) = (layer.name.clone(), weights.values[index]);
            return Err(QuantizationError::WeightNotFinite { layer, index, value });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Window;

    #[test]
    fn weights_know_their_channels() {
        let window = Window { kernel: [1, 2], stride: [1, 1], padding: [0; 4], dilation: [1, 1] };
        let gemm =
            |transpose_b| Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b };
        for (name, op, shape, position, expected) in [
            ("dense", Op::Conv { window: window.clone(), groups: 1 }, vec![3, 4, 1, 2], 13, (1, 2)),
            (
                "grouped",
                Op::Conv { window: window.clone(), groups: 2 },
                vec![4, 3, 1, 2],
                16,
                (2, 5),
            ),
            ("depthwise", Op::Conv { window, groups: 4 }, vec![4, 1, 1, 2], 5, (2, 2)),
            ("rows", gemm(true), vec![3, 5], 7, (1, 2)),
            ("columns", gemm(false), vec![5, 3], 7, (1, 2)),
            ("product", Op::MatMul, vec![5, 3], 8, (2, 2)),
        ] {
            assert_eq!(Channels::of(&op, &shape).at(position), expected, "{name}");
        }
    }
}
