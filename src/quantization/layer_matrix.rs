//! A layer as matrix products: weight rows, and the input vectors they multiply.

use tch::Tensor;

use crate::network::{Array, Graph, Op, QuantizableLayer, Window};

/// The weights of one layer as rows: one row an output channel, one column a multiplied input.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightRows {
    /// Row-major `[n_rows, n_columns]`.
    pub values: Vec<f32>,
    pub n_rows: usize,
    pub n_columns: usize,
    /// Rows `g * n_rows / n_groups ..` read the input vectors of group `g`.
    pub n_groups: usize,
    /// Whether the array holds a column where we hold a row.
    transposed: bool,
    shape: Vec<usize>,
}

impl WeightRows {
    /// Reads the constant weights of `layer`.
    ///
    /// # Panics
    /// When `layer` is not one that `graph` lists as quantizable.
    pub fn of(graph: &Graph, layer: &QuantizableLayer) -> Self {
        let array = graph.constant(layer.weight).expect("a quantizable layer's weight is constant");
        let values = array.as_f32().expect("a quantizable layer's weight is f32");
        let shape = array.shape().to_vec();
        let (n_groups, transposed) = match &graph.nodes()[layer.node].op {
            Op::Conv { groups, .. } => (*groups, false),
            Op::Gemm { transpose_b, .. } => (1, !transpose_b),
            Op::MatMul => (1, true),
            op => unreachable!("{op:?} is not quantizable"),
        };
        if transposed {
            let (n_columns, n_rows) = (shape[shape.len() - 2], shape[shape.len() - 1]);
            let values = transpose(values, n_columns, n_rows);
            Self { values, n_rows, n_columns, n_groups, transposed, shape }
        } else {
            let n_rows = shape[0];
            let n_columns = shape[1..].iter().product();
            Self { values: values.to_vec(), n_rows, n_columns, n_groups, transposed, shape }
        }
    }

    /// Rows of a dense layer, for tests of what works on rows.
    #[cfg(test)]
    pub fn of_dense(values: Vec<f32>, n_columns: usize) -> Self {
        let n_rows = values.len() / n_columns;
        let shape = vec![n_rows, n_columns];
        Self { values, n_rows, n_columns, n_groups: 1, transposed: false, shape }
    }

    /// The array that `values` stand for, in the layer's own layout.
    pub fn to_array(&self, values: &[f32]) -> Array {
        Array::f32(self.shape.clone(), self.in_layout(values))
    }

    /// The numbers of that array, of whatever kind.
    pub fn in_layout<T: Copy + Default>(&self, values: &[T]) -> Vec<T> {
        match self.transposed {
            true => transpose(values, self.n_rows, self.n_columns),
            false => values.to_vec(),
        }
    }

    /// As [`WeightRows::to_array`], for a tensor `[n_rows, n_columns]`; gradients pass.
    pub fn to_layout(&self, rows: &Tensor) -> Tensor {
        let shape: Vec<i64> = self.shape.iter().map(|&n| n as i64).collect();
        if self.transposed { rows.tr().reshape(shape) } else { rows.reshape(shape) }
    }

    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.n_columns..(row + 1) * self.n_columns]
    }

    pub fn group_of(&self, row: usize) -> usize {
        row / (self.n_rows / self.n_groups)
    }
}

fn transpose<T: Copy + Default>(values: &[T], n_rows: usize, n_columns: usize) -> Vec<T> {
    let mut out = vec![T::default(); values.len()];
    for row in 0..n_rows {
        for column in 0..n_columns {
            out[column * n_rows + row] = values[row * n_columns + column];
        }
    }
    out
}

/// The vectors that a layer's weight rows multiply, for a batch of its inputs.
///
/// - `input`: as the layer reads it, `[n, c, h, w]` or `[.., in]`
/// - returns: `[n, n_groups, n_columns, positions]`, of the input's kind
pub fn input_vectors(op: &Op, weights: &WeightRows, input: &Tensor) -> Tensor {
    let n = input.size()[0];
    let (groups, columns) = (weights.n_groups as i64, weights.n_columns as i64);
    match op {
        Op::Conv { window, .. } => {
            unfold(window, &pad(window, input), [1, 1]).reshape([n, groups, columns, -1])
        }
        Op::Gemm { transpose_a: true, .. } => input.tr().reshape([-1, 1, columns, 1]),
        Op::Gemm { .. } => input.reshape([-1, 1, columns, 1]),
        Op::MatMul => input.reshape([n, -1, columns]).transpose(1, 2).unsqueeze(1),
        op => unreachable!("{op:?} is not quantizable"),
    }
}

/// About `wanted` vectors an image, or all where there are fewer: neighbouring positions say
/// nearly the same. Batches look at different positions.
pub fn some_input_vectors(
    op: &Op,
    weights: &WeightRows,
    input: &Tensor,
    wanted: usize,
    batch_index: usize,
) -> Tensor {
    let Op::Conv { window, .. } = op else { return input_vectors(op, weights, input) };
    let (n, padded) = (input.size()[0], pad(window, input));
    let positions = |axis: usize| {
        let extent = (window.dilation[axis] * (window.kernel[axis] - 1) + 1) as i64;
        (padded.size()[axis + 2] - extent) / window.stride[axis] as i64 + 1
    };
    let per_axis = (wanted as f64).sqrt();
    let step = |axis: usize| ((positions(axis) as f64 / per_axis).floor() as i64).max(1);
    let steps = [step(0), step(1)];
    // An offset inside one step keeps every position reachable.
    let offset = |axis: usize, salt: usize| {
        (batch_index * salt) as i64 % steps[axis] * window.stride[axis] as i64
    };
    let (top, left) = (offset(0, 1), offset(1, 3));
    let size = padded.size();
    let shifted = padded.narrow(2, top, size[2] - top).narrow(3, left, size[3] - left);
    let (groups, columns) = (weights.n_groups as i64, weights.n_columns as i64);
    unfold(window, &shifted, steps).reshape([n, groups, columns, -1])
}

fn pad(window: &Window, input: &Tensor) -> Tensor {
    if window.padding == [0; 4] {
        return input.shallow_clone();
    }
    let [top, left, bottom, right] = window.padding.map(|p| p as i64);
    input.constant_pad_nd([left, right, top, bottom])
}

/// Patches as columns, `[n, c * kh * kw, positions]`, at every `steps`-th position.
fn unfold(window: &Window, padded: &Tensor, steps: [i64; 2]) -> Tensor {
    let stride = [window.stride[0] as i64 * steps[0], window.stride[1] as i64 * steps[1]];
    padded.im2col(
        window.kernel.map(|k| k as i64),
        window.dilation.map(|d| d as i64),
        [0, 0],
        stride,
    )
}
