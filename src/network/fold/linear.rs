//! Linear layers in one form: `x · weightᵀ + bias` with the weight as `[out, in]`.

use crate::network::{
    array::Array,
    graph::{Graph, TensorId},
    ops::Op,
};

pub(super) fn normalize(graph: &mut Graph) {
    for index in 0..graph.nodes.len() {
        normalize_gemm(graph, index);
    }
    absorb_biases(graph);
}

/// Puts `alpha` into the weight, `beta` into the bias, and the weight into `[out, in]`.
fn normalize_gemm(graph: &mut Graph, index: usize) {
    let node = &graph.nodes[index];
    let Op::Gemm { alpha, beta, transpose_a, transpose_b } = node.op else { return };
    let Some((weight, shape)) = node.input(1).and_then(|id| matrix(graph, id)) else { return };
    let [rows, columns] = shape;
    let out = if transpose_b { rows } else { columns };
    let bias = match node.input(2) {
        None => None,
        Some(id) => match graph.constant(id).and_then(|bias| bias_vector(bias, out, beta)) {
            Some(bias) => Some(bias),
            // A bias for each row, or one that is computed: leave the layer alone.
            None => return,
        },
    };
    let name = node.name.clone();
    if !transpose_b || alpha != 1.0 {
        let scaled = |at: usize| weight[at] * alpha;
        let numbers: Vec<f32> = if transpose_b {
            (0..weight.len()).map(scaled).collect()
        } else {
            (0..columns)
                .flat_map(|column| (0..rows).map(move |row| row * columns + column))
                .map(scaled)
                .collect()
        };
        let shape = if transpose_b { vec![rows, columns] } else { vec![columns, rows] };
        let tensor = graph.add_constant(&format!("{name}.weight"), Array::f32(shape, numbers));
        graph.nodes[index].inputs[1] = Some(tensor);
    }
    if let Some(bias) = bias {
        let old = graph.nodes[index].input(2).and_then(|id| graph.constant(id));
        if old != Some(&bias) {
            let tensor = graph.add_constant(&format!("{name}.bias"), bias);
            graph.nodes[index].inputs[2] = Some(tensor);
        }
    }
    graph.nodes[index].op = Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a, transpose_b: true };
}

fn matrix(graph: &Graph, id: TensorId) -> Option<(Vec<f32>, [usize; 2])> {
    let numbers = graph.constant(id)?.as_f32()?;
    Some((numbers.to_vec(), matrix_shape(graph, id)?))
}

/// A constant bias as one number an output, times `beta`; none when it differs by row.
fn bias_vector(bias: &Array, out: usize, beta: f32) -> Option<Array> {
    let numbers = bias.as_f32()?;
    let rows: usize = bias.shape().iter().rev().skip(1).product();
    let numbers: Vec<f32> = match numbers {
        [one] => vec![one * beta; out],
        many if many.len() == out && rows == 1 => many.iter().map(|x| x * beta).collect(),
        _ => return None,
    };
    Some(Array::f32(vec![out], numbers))
}

/// A MatMul with a constant followed by the addition of a constant row becomes one layer.
fn absorb_biases(graph: &mut Graph) {
    let mut index = 0;
    while index < graph.nodes.len() {
        if let Some((add, bias)) = following_bias(graph, index) {
            let removed = graph.nodes.remove(add);
            let layer = &mut graph.nodes[index];
            layer.inputs.resize(3, None);
            layer.inputs[2] = Some(bias);
            layer.output = removed.output;
        }
        index += 1;
    }
}

/// The addition that is the only reader of a product with a constant matrix, and what it adds.
fn following_bias(graph: &Graph, index: usize) -> Option<(usize, TensorId)> {
    let node = &graph.nodes[index];
    if !matches!(node.op, Op::MatMul) || node.input(2).is_some() {
        return None;
    }
    let [_, out] = matrix_shape(graph, node.input(1)?)?;
    let product = node.output;
    let [add] = *graph.readers(product).as_slice() else { return None };
    if !matches!(graph.nodes[add].op, Op::Add) || graph.is_output(product) {
        return None;
    }
    let bias = graph.nodes[add].reads().find(|read| *read != product)?;
    let array = graph.constant(bias)?;
    (array.shape() == [out] && array.as_f32().is_some()).then_some((add, bias))
}

fn matrix_shape(graph: &Graph, id: TensorId) -> Option<[usize; 2]> {
    graph.constant(id)?.shape().try_into().ok()
}
