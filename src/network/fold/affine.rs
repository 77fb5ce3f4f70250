//! Scales and shifts a channel, batch normalization above all, folded into the layer before.

use crate::network::{
    array::Array,
    graph::{Graph, Node, TensorId},
    ops::Op,
};

/// `scale * x + shift` for each output channel, in double precision: the layer's new numbers
/// are rounded once.
struct Affine {
    scale: Vec<f64>,
    shift: Vec<f64>,
}

/// Folds until nothing is left to fold, so that a scale followed by a shift goes too.
pub(super) fn fold(graph: &mut Graph) {
    let mut index = 0;
    while index < graph.nodes.len() {
        if !fold_node(graph, index) {
            index += 1;
        }
    }
}

/// Folds the node into the layer before it; says whether it did, and the node is gone.
fn fold_node(graph: &mut Graph, index: usize) -> bool {
    let node = &graph.nodes[index];
    let Some((layer, affine)) = layer_and_affine(graph, node) else { return false };
    let output = node.output;
    let Some((weight, bias)) = absorbed(graph, &graph.nodes[layer], &affine) else { return false };
    let name = graph.nodes[layer].name.clone();
    let old = graph.nodes[layer].input(1).map(|id| graph.tensor_name(id).to_owned());
    let weight_name = old.unwrap_or_else(|| format!("{name}.weight"));
    let weight = graph.add_constant(&format!("{weight_name}_folded"), weight);
    let bias = graph.add_constant(&format!("{name}.bias"), bias);
    let target = &mut graph.nodes[layer];
    target.inputs = vec![target.inputs[0], Some(weight), Some(bias)];
    // The folded layer computes what the removed node did, so that name is the true one.
    target.output = output;
    graph.nodes.remove(index);
    true
}

/// The layer whose only reader is this node, and what the node does to its channels.
fn layer_and_affine(graph: &Graph, node: &Node) -> Option<(usize, Affine)> {
    let is_affine = matches!(node.op, Op::BatchNorm { .. } | Op::Mul | Op::Div | Op::Add | Op::Sub);
    if !is_affine {
        return None;
    }
    let computed = node.reads().find(|id| graph.constant(*id).is_none())?;
    let layer = graph.producer(computed)?;
    let channels = output_channels(graph, &graph.nodes[layer])?;
    if graph.is_output(computed) || graph.readers(computed).len() != 1 {
        return None;
    }
    let axes_after = if matches!(graph.nodes[layer].op, Op::Conv { .. }) { 2 } else { 0 };
    let affine = match node.op {
        Op::BatchNorm { epsilon } => batch_norm(graph, node, epsilon)?,
        _ => elementwise(graph, node, computed, channels, axes_after)?,
    };
    (affine.scale.len() == channels).then_some((layer, affine))
}

/// Output channels of a layer with a constant weight that others' scales can go into.
fn output_channels(graph: &Graph, layer: &Node) -> Option<usize> {
    let weight = graph.constant(layer.input(1)?)?;
    weight.as_f32()?;
    let has_constant_bias = layer.input(2).is_none_or(|bias| graph.constant(bias).is_some());
    let normal = match layer.op {
        Op::Conv { .. } => true,
        Op::Gemm { alpha, beta, transpose_b, .. } => alpha == 1.0 && beta == 1.0 && transpose_b,
        _ => false,
    };
    (normal && has_constant_bias).then(|| weight.shape().first().copied())?
}

fn batch_norm(graph: &Graph, node: &Node, epsilon: f32) -> Option<Affine> {
    let parameter = |position: usize| graph.constant(node.input(position)?)?.as_f32();
    let (gain, offset) = (parameter(1)?, parameter(2)?);
    let (mean, variance) = (parameter(3)?, parameter(4)?);
    let deviation = |variance: f32| (f64::from(variance) + f64::from(epsilon)).sqrt();
    let scale: Vec<f64> =
        gain.iter().zip(variance).map(|(gain, v)| f64::from(*gain) / deviation(*v)).collect();
    let shift = offset
        .iter()
        .zip(mean)
        .zip(&scale)
        .map(|((offset, mean), scale)| f64::from(*offset) - f64::from(*mean) * scale)
        .collect();
    Some(Affine { scale, shift })
}

/// A product with, or sum of, constants that differ by channel at most.
fn elementwise(
    graph: &Graph,
    node: &Node,
    computed: TensorId,
    channels: usize,
    axes_after: usize,
) -> Option<Affine> {
    let (first, second) = (node.input(0)?, node.input(1)?);
    let constant = if first == computed { second } else { first };
    let array = graph.constant(constant)?;
    let values = by_channel(array, channels, axes_after)?;
    let (zeros, ones) = (vec![0.0; channels], vec![1.0; channels]);
    let negative = |values: &[f64]| values.iter().map(|x| -x).collect();
    Some(match node.op {
        Op::Mul => Affine { scale: values, shift: zeros },
        Op::Add => Affine { scale: ones, shift: values },
        Op::Sub if first == computed => Affine { scale: ones, shift: negative(&values) },
        Op::Sub => Affine { scale: negative(&ones), shift: values },
        Op::Div if first == computed => {
            Affine { scale: values.iter().map(|x| 1.0 / x).collect(), shift: zeros }
        }
        _ => return None,
    })
}

/// A constant that broadcasts along all axes but the channels', as one number a channel.
fn by_channel(array: &Array, channels: usize, axes_after: usize) -> Option<Vec<f64>> {
    let numbers = array.as_f32()?;
    if array.shape().len() > axes_after + 2 {
        return None;
    }
    if let [one] = numbers {
        return Some(vec![f64::from(*one); channels]);
    }
    let from_end = |axis: usize| array.shape().iter().rev().nth(axis).copied().unwrap_or(1);
    let only_channels = (0..array.shape().len())
        .all(|axis| from_end(axis) == if axis == axes_after { channels } else { 1 });
    only_channels.then(|| numbers.iter().map(|x| f64::from(*x)).collect())
}

/// The layer's weight and bias with the scale and shift in them.
fn absorbed(graph: &Graph, layer: &Node, affine: &Affine) -> Option<(Array, Array)> {
    let weight = graph.constant(layer.input(1)?)?;
    let numbers = weight.as_f32()?;
    let per_channel = numbers.len() / affine.scale.len().max(1);
    let scaled = |(at, x): (usize, &f32)| (f64::from(*x) * affine.scale[at / per_channel]) as f32;
    let scaled: Vec<f32> = numbers.iter().enumerate().map(scaled).collect();
    let bias = match layer.input(2) {
        Some(bias) => graph.constant(bias)?.as_f32()?.to_vec(),
        None => vec![0.0; affine.scale.len()],
    };
    if bias.len() != affine.scale.len() {
        return None;
    }
    let moved =
        |(at, x): (usize, &f32)| (f64::from(*x) * affine.scale[at] + affine.shift[at]) as f32;
    let bias: Vec<f32> = bias.iter().enumerate().map(moved).collect();
    Some((Array::f32(weight.shape().to_vec(), scaled), Array::f32(vec![bias.len()], bias)))
}
