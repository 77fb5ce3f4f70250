//! Where the channels of a tensor are written, so that they can be scaled there.

use crate::{
    network::{Array, Graph, Node, Op, TensorId},
    quantization::scaling::channels::{Channels, LayerWeights},
};

/// The node that writes a tensor's channels, and the clips between the two.
///
/// Between them stand only operations that a positive factor passes through: each is the only
/// reader of what it reads.
pub struct Source {
    /// What the node itself writes.
    pub written: TensorId,
    pub n_channels: usize,
    /// Outputs of the clips on the way, whose upper bounds scale with the channels.
    clips: Vec<TensorId>,
    /// Else it is the second, as of images.
    channel_axis_is_last: bool,
    /// Whether there are only rectifiers on the way, and no pooling or clip.
    pub only_rectified: bool,
}

impl Source {
    /// None where a factor would not pass, or something else reads a tensor on the way.
    pub fn of(graph: &Graph, read: TensorId) -> Option<Self> {
        let mut source = Self {
            written: read,
            n_channels: 0,
            clips: vec![],
            channel_axis_is_last: false,
            only_rectified: true,
        };
        loop {
            let node = &graph.nodes()[graph.producer(source.written)?];
            if let Some(n_channels) = written_channels(graph, node) {
                source.n_channels = n_channels;
                source.channel_axis_is_last = !matches!(node.op, Op::Conv { .. });
                // The rank of what a batch norm writes is not known here, a bound needs it.
                let rank_is_known = !matches!(node.op, Op::BatchNorm { .. });
                return Some(source).filter(|source| rank_is_known || source.clips.is_empty());
            }
            let passes = match &node.op {
                Op::Relu | Op::Identity => true,
                Op::LeakyRelu { alpha } => {
                    source.only_rectified = false;
                    *alpha >= 0.0
                }
                Op::PRelu => {
                    source.only_rectified = false;
                    node.input(1).is_some_and(|slope| graph.constant(slope).is_some())
                }
                Op::Clip { low, high } => {
                    source.only_rectified = false;
                    source.clips.push(node.output);
                    *low == 0.0 && *high > 0.0
                }
                Op::MaxPool { .. } | Op::AveragePool { .. } | Op::GlobalAveragePool => {
                    source.only_rectified = false;
                    true
                }
                Op::Flatten { axis: 1 } => {
                    source.only_rectified = false;
                    let before = node.input(0).and_then(|x| graph.producer(x));
                    let pooled = |at: usize| graph.nodes()[at].op == Op::GlobalAveragePool;
                    source.clips.is_empty() && before.is_some_and(pooled)
                }
                _ => false,
            };
            let before = node.input(0).filter(|_| passes)?;
            let alone = graph.readers(before).len() == 1 && !graph.is_output(before);
            source.written = Some(before).filter(|_| alone)?;
        }
    }

    /// Multiplies each channel by its factor, above 0.
    pub fn scale(&self, graph: &mut Graph, factors: &[f32]) {
        self.scale_weights(graph, factors);
        self.scale_clips(graph, factors);
    }

    /// Scales what the node writes and leaves the clips on the way to [`Self::scale_clips`].
    pub fn scale_weights(&self, graph: &mut Graph, factors: &[f32]) {
        let node = graph.nodes()[graph.producer(self.written).expect("a node writes it")].clone();
        match &node.op {
            Op::Conv { .. } | Op::Gemm { .. } | Op::MatMul => {
                let weight = node.input(1).expect("a layer has a weight");
                let weights = LayerWeights::new(graph, &node.op, weight);
                let scaled = weights.scaled(|out, _| factors[out]);
                graph.set_constant(weight, scaled);
                scale_vector(graph, node.input(2), factors);
            }
            _ => {
                scale_vector(graph, node.input(1), factors);
                scale_vector(graph, node.input(2), factors);
            }
        }
    }

    /// Scales the upper bounds of the clips on the way. To be called once.
    pub fn scale_clips(&self, graph: &mut Graph, factors: &[f32]) {
        for &clip in &self.clips {
            let n = factors.len();
            let shape = if self.channel_axis_is_last { vec![n] } else { vec![1, n, 1, 1] };
            scale_clip(graph, clip, shape, factors);
        }
    }
}

/// How many channels a node writes that it could scale; none for others.
fn written_channels(graph: &Graph, node: &Node) -> Option<usize> {
    let alone = |tensor: TensorId| graph.readers(tensor).len() == 1;
    let vector = |position: usize| match node.input(position) {
        None => Some(None),
        Some(tensor) => {
            let array = graph.constant(tensor).filter(|_| alone(tensor))?;
            array.as_f32().map(|values| Some(values.len()))
        }
    };
    match &node.op {
        Op::Conv { .. } | Op::Gemm { .. } | Op::MatMul => {
            let weight =
                graph.constant(node.input(1)?).filter(|_| alone(node.inputs[1].unwrap()))?;
            let computed = graph.constant(node.input(0)?).is_none();
            if !computed || (matches!(node.op, Op::MatMul) && weight.shape().len() != 2) {
                return None;
            }
            let n_out = Channels::of(&node.op, weight.shape()).n_out;
            vector(2)?.is_none_or(|n| n == n_out).then_some(n_out)
        }
        Op::BatchNorm { .. } => vector(1)?.filter(|n| vector(2) == Some(Some(*n))),
        Op::LayerNorm { axis: -1, .. } => {
            vector(1)?.filter(|n| vector(2).is_some_and(|bias| bias.is_none_or(|bias| bias == *n)))
        }
        _ => None,
    }
}

fn scale_vector(graph: &mut Graph, tensor: Option<TensorId>, factors: &[f32]) {
    let Some(tensor) = tensor else { return };
    let array = graph.constant(tensor).expect("the vector is constant");
    let values = array.as_f32().expect("the vector is f32");
    let scaled: Vec<f32> =
        values.iter().zip(factors).map(|(value, factor)| value * factor).collect();
    let scaled = Array::f32(array.shape().to_vec(), scaled);
    graph.set_constant(tensor, scaled);
}

/// A clip from 0 becomes a rectifier and a minimum with one bound a channel, which is the same
/// function of the scaled channels.
fn scale_clip(graph: &mut Graph, clip: TensorId, shape: Vec<usize>, factors: &[f32]) {
    let node = &graph.nodes()[graph.producer(clip).expect("a node writes it")];
    let Op::Clip { high, .. } = node.op else { unreachable!("the node clips") };
    let bounds: Vec<f32> = factors.iter().map(|factor| high * factor).collect();
    graph.set_op(clip, Op::Relu);
    if high.is_finite() {
        graph.insert_with_constant(clip, Op::Min, Array::f32(shape, bounds), |_| true);
    }
}
