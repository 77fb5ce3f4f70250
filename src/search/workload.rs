//! A network as the simulator sees it: the shapes of its layers, and which activations are kept
//! for how long.

use haq_simulator::{LayerOutput, LiveTensor, Workload};

use crate::{
    domain::{Layer, LayerKind},
    network::{Graph, Op, QuantizableKind, QuantizableLayer, Shapes, TensorId},
    search::error::SearchError,
};

/// Describes `graph` for one image.
///
/// - `layers`: as [`Graph::quantizable_layers`] gives them
/// - `shapes`: for a batch of one, or of as many as the network is fixed to
///
/// # Errors
/// When a layer's shape does not fit a two-dimensional convolution or a matrix product.
pub fn workload_of(
    graph: &Graph,
    layers: &[QuantizableLayer],
    shapes: &Shapes,
) -> Result<Workload, SearchError> {
    Ok(Workload {
        layers: layers.iter().map(|l| layer_shape(graph, l, shapes)).collect::<Result<_, _>>()?,
        outputs: layers.iter().map(|layer| output_of(graph, layers, layer, shapes)).collect(),
        tensors: live_tensors(graph, layers, shapes),
        steps: graph.nodes().iter().map(|node| node.name.clone()).collect(),
    })
}

fn layer_shape(
    graph: &Graph,
    layer: &QuantizableLayer,
    shapes: &Shapes,
) -> Result<Layer, SearchError> {
    let input = shapes.get(layer.input);
    let weight = shapes.get(layer.weight);
    // Attention may put its positions before the images, and windows beside them.
    let n_vectors: usize = input[..input.len().saturating_sub(1)].iter().product();
    let n_positions = n_vectors / n_images(graph, shapes);
    let unit = Layer { bias: layer.bias.is_some(), ..Layer::linear(layer.name.clone(), 1, 1) };
    match (&graph.nodes()[layer.node].op, input, weight) {
        (Op::Conv { window, groups }, &[_, channels, height, width], &[out, ..]) => {
            let [kernel_h, kernel_w] = window.kernel.map(|n| n as u64);
            let [stride_h, stride_w] = window.stride.map(|n| n as u64);
            let [dilation_h, dilation_w] = window.dilation.map(|n| n as u64);
            let [pad_top, pad_left, pad_bottom, pad_right] = window.padding.map(|n| n as u64);
            let depthwise = layer.kind == QuantizableKind::Depthwise;
            Ok(Layer {
                kind: if depthwise { LayerKind::Depthwise } else { LayerKind::Conv },
                in_channels: channels as u64,
                out_channels: out as u64,
                kernel_h,
                kernel_w,
                stride_h,
                stride_w,
                pad_top,
                pad_left,
                pad_bottom,
                pad_right,
                dilation_h,
                dilation_w,
                groups: *groups as u64,
                in_h: height as u64,
                in_w: width as u64,
                ..unit
            })
        }
        (Op::Gemm { transpose_b, .. }, _, &[rows, columns]) => {
            let (inputs, outputs) = if *transpose_b { (columns, rows) } else { (rows, columns) };
            Ok(linear(unit, inputs, outputs, n_positions))
        }
        (Op::MatMul, _, &[inputs, outputs]) => Ok(linear(unit, inputs, outputs, n_positions)),
        _ => Err(SearchError::Cost(format!(
            "layer {} reads {input:?} with weights {weight:?}, which is no layer the simulator knows",
            layer.name
        ))),
    }
}

/// Images in the batch that the shapes are for.
fn n_images(graph: &Graph, shapes: &Shapes) -> usize {
    let first = graph.inputs().first().and_then(|input| shapes.get(input.tensor).first());
    first.map_or(1, |&n| n.max(1))
}

/// A product for every vector of an image's input; their positions are a map.
fn linear(unit: Layer, inputs: usize, outputs: usize, n_positions: usize) -> Layer {
    Layer {
        in_channels: inputs as u64,
        out_channels: outputs as u64,
        in_h: n_positions.max(1) as u64,
        ..unit
    }
}

/// Follows a layer's result to the next layer that reads it, and notes what is added on the way.
fn output_of(
    graph: &Graph,
    layers: &[QuantizableLayer],
    layer: &QuantizableLayer,
    shapes: &Shapes,
) -> LayerOutput {
    let mut found = LayerOutput::default();
    let mut tensor = layer.output;
    loop {
        found.read_by = layers.iter().position(|reader| reader.input == tensor);
        let next = graph.readers(tensor).into_iter().next();
        let (None, Some(next)) = (found.read_by, next) else { return found };
        let node = &graph.nodes()[next];
        if node.op == Op::Add {
            let earlier = |other: &TensorId| {
                *other != tensor
                    && graph.constant(*other).is_none()
                    && graph.producer(*other).is_none_or(|producer| producer < layer.node)
            };
            let skips = node.reads().filter(earlier);
            found.skip_elements +=
                skips.map(|skip| shapes.get(skip).iter().product::<usize>() as u64).sum::<u64>();
        }
        tensor = node.output;
    }
}

/// Buffers and how long they live. An operation that only changes values in place, or only
/// their arrangement, writes into the buffer of an operand that dies there.
fn live_tensors(graph: &Graph, layers: &[QuantizableLayer], shapes: &Shapes) -> Vec<LiveTensor> {
    let nodes = graph.nodes();
    let mut last_use = vec![None; graph.n_tensors()];
    for (step, node) in nodes.iter().enumerate() {
        node.reads().for_each(|read| last_use[read.index()] = Some(step));
    }
    for output in graph.outputs() {
        last_use[output.index()] = Some(nodes.len().saturating_sub(1));
    }
    let elements = |tensor: TensorId| shapes.get(tensor).iter().product::<usize>() as u64;
    let reader = |tensor: TensorId| layers.iter().position(|layer| layer.input == tensor);
    let mut buffers: Vec<LiveTensor> = Vec::new();
    let mut buffer_of: Vec<Option<usize>> = vec![None; graph.n_tensors()];
    let open = |buffers: &mut Vec<LiveTensor>, tensor: TensorId, step: usize| {
        buffers.push(LiveTensor {
            name: graph.tensor_name(tensor).to_owned(),
            elements: elements(tensor),
            bits_of_layer: reader(tensor),
            first_step: step,
            last_step: last_use[tensor.index()].unwrap_or(step),
        });
        Some(buffers.len() - 1)
    };
    for input in graph.inputs() {
        buffer_of[input.tensor.index()] = open(&mut buffers, input.tensor, 0);
    }
    for (step, node) in nodes.iter().enumerate() {
        let output = node.output;
        let dies = |tensor: &TensorId| {
            let ends = last_use[tensor.index()] == Some(step);
            // A layer's own output may still be read under another name through its buffer.
            let free = buffer_of[tensor.index()].is_some_and(|b| buffers[b].last_step <= step);
            ends && free && elements(*tensor) == elements(output)
        };
        let reused = if works_in_place(&node.op) { node.reads().find(dies) } else { None };
        let buffer = reused.and_then(|tensor| buffer_of[tensor.index()]);
        buffer_of[output.index()] = match buffer {
            Some(index) => {
                let buffer = &mut buffers[index];
                buffer.last_step = last_use[output.index()].unwrap_or(step);
                buffer.bits_of_layer = reader(output).or(buffer.bits_of_layer);
                Some(index)
            }
            None => open(&mut buffers, output, step),
        };
    }
    buffers
}

fn works_in_place(op: &Op) -> bool {
    matches!(
        op,
        Op::Relu
            | Op::Clip { .. }
            | Op::Add
            | Op::Sub
            | Op::Mul
            | Op::Div
            | Op::BatchNorm { .. }
            | Op::Identity
            | Op::Flatten { .. }
            | Op::Reshape { .. }
            | Op::Squeeze { .. }
            | Op::Unsqueeze { .. }
            | Op::Sigmoid
            | Op::HardSigmoid { .. }
            | Op::HardSwish
            | Op::LeakyRelu { .. }
            | Op::FakeQuantize(_)
            | Op::DynamicQuantize { .. }
            | Op::Binarize { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Array;

    #[test]
    fn products_are_counted_at_every_position_of_an_image_wherever_the_batch_stands() {
        for (name, dims, axes, expected) in [
            ("beside the image", [1, 5, 4], vec![], 5),
            ("positions first", [1, 5, 4], vec![1, 0, 2], 5),
            ("a batch of two", [2, 5, 4], vec![], 5),
            ("a batch of two, positions first", [2, 5, 4], vec![1, 0, 2], 5),
            ("one vector", [1, 1, 4], vec![], 1),
        ] {
            let (mut graph, mut x) = Graph::sketch(&dims);
            if !axes.is_empty() {
                x = graph.draw(Op::Transpose { axes }, &[x]);
            }
            let weight = graph.hold("w", Array::f32(vec![4, 6], [0.5; 24]));
            graph.draw(Op::MatMul, &[x, weight]);
            let shapes = graph.shapes(&dims).unwrap();
            let workload = workload_of(&graph, &graph.quantizable_layers(), &shapes).unwrap();
            assert_eq!(workload.layers[0].macs(), expected * 4 * 6, "{name}");
        }
    }
}
