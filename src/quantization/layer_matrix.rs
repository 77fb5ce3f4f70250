//! A layer as matrix products: weight rows, and the input vectors they multiply.

use tch::{Kind, Tensor};

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

    /// The array that `values` stand for, in the layer's own layout.
    pub fn to_array(&self, values: &[f32]) -> Array {
        if self.transposed {
            Array::f32(self.shape.clone(), transpose(values, self.n_rows, self.n_columns))
        } else {
            Array::f32(self.shape.clone(), values.to_vec())
        }
    }

    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.n_columns..(row + 1) * self.n_columns]
    }

    pub fn group_of(&self, row: usize) -> usize {
        row / (self.n_rows / self.n_groups)
    }
}

fn transpose(values: &[f32], n_rows: usize, n_columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
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
/// - returns: `[n, n_groups, n_columns, positions]`, f32
pub fn input_vectors(op: &Op, weights: &WeightRows, input: &Tensor) -> Tensor {
    let (groups, columns) = (weights.n_groups as i64, weights.n_columns as i64);
    match op {
        Op::Conv { window, .. } => {
            let n = input.size()[0];
            unfold(window, input).view([n, groups, columns, -1])
        }
        Op::Gemm { transpose_a: true, .. } => input.tr().reshape([-1, 1, columns, 1]),
        Op::Gemm { .. } => input.reshape([-1, 1, columns, 1]),
        Op::MatMul => {
            // Rows of one image stay together, so that positions mean the same everywhere.
            let n = input.size()[0];
            input.reshape([n, -1, columns]).transpose(1, 2).unsqueeze(1)
        }
        op => unreachable!("{op:?} is not quantizable"),
    }
}

/// Patches as columns: `[n, c * kh * kw, positions]`.
fn unfold(window: &Window, input: &Tensor) -> Tensor {
    let [kh, kw] = window.kernel.map(|k| k as i64);
    let [top, left, bottom, right] = window.padding.map(|p| p as i64);
    if kh == 1 && kw == 1 && window.stride == [1, 1] && window.padding == [0; 4] {
        return input.flatten(2, -1).contiguous();
    }
    let padded = if window.padding == [0; 4] {
        input.shallow_clone()
    } else {
        input.constant_pad_nd([left, right, top, bottom])
    };
    padded
        .im2col(
            [kh, kw],
            window.dilation.map(|d| d as i64),
            [0, 0],
            window.stride.map(|s| s as i64),
        )
        .to_kind(Kind::Float)
}
