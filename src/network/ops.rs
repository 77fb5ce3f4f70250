//! The operations a network is made of, with their attributes resolved and typed.

/// Spatial attributes of a two-dimensional convolution or pooling window.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Top, left, bottom, right.
    pub padding: [usize; 4],
    pub dilation: [usize; 2],
}

/// The grid a tensor's values are rounded to: `scale * clamp(round(x / scale), low, high)`,
/// shifted by the zero point. Ties go to the even number.
///
/// The integer `q` runs over `low..=high` and stands for `scale * (q - zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Above 0.
    pub scale: f32,
    pub zero_point: i32,
    pub low: i32,
    pub high: i32,
}

impl Grid {
    /// The value nearest to `x` that the grid holds.
    pub fn round(&self, x: f32) -> f32 {
        let zero_point = self.zero_point as f32;
        let q = (x / self.scale).round_ties_even() + zero_point;
        (q.clamp(self.low as f32, self.high as f32) - zero_point) * self.scale
    }
}

/// One operation. Inputs are the node's tensors in ONNX order; a constant input is a tensor
/// that the graph holds a value for.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Inputs: x `[n, c, h, w]`, weight `[out, c / groups, kh, kw]`, optional bias `[out]`.
    Conv {
        window: Window,
        groups: usize,
    },
    /// Inputs: x, weight, optional bias. `alpha * x' * w' + beta * bias`.
    Gemm {
        alpha: f32,
        beta: f32,
        transpose_a: bool,
        transpose_b: bool,
    },
    /// Inputs: x, y; batched matrix product.
    MatMul,
    /// Inputs: x, scale, bias, mean, variance, each `[c]`.
    BatchNorm {
        epsilon: f32,
    },
    Relu,
    /// `min(max(x, low), high)`; an absent bound is infinite.
    Clip {
        low: f32,
        high: f32,
    },
    Add,
    Sub,
    Mul,
    Div,
    MaxPool {
        window: Window,
        ceil: bool,
    },
    AveragePool {
        window: Window,
        ceil: bool,
        count_padding: bool,
    },
    GlobalAveragePool,
    /// Collapses the axes before and from `axis` into two.
    Flatten {
        axis: usize,
    },
    /// The target shape is the second input.
    Reshape {
        allow_zero: bool,
    },
    Transpose {
        axes: Vec<usize>,
    },
    Concat {
        axis: usize,
    },
    /// Constant padding, `before` and `after` one number an axis; negative crops.
    Pad {
        before: Vec<i64>,
        after: Vec<i64>,
        value: f32,
    },
    /// One triple an axis that is cut: axis, start, end, step, already made non-negative
    /// where the shape is known.
    Slice {
        cuts: Vec<Cut>,
    },
    Identity,
    Softmax {
        axis: i64,
    },
    /// The shape of the input, as i64.
    Shape {
        start: i64,
        end: Option<i64>,
    },
    Gather {
        axis: i64,
    },
    Squeeze {
        axes: Vec<i64>,
    },
    Unsqueeze {
        axes: Vec<i64>,
    },
    ReduceMean {
        axes: Vec<i64>,
        keep: bool,
    },
    Cast,
    Sigmoid,
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    HardSwish,
    LeakyRelu {
        alpha: f32,
    },
    /// Rounds to a grid and back: what quantization inserts.
    FakeQuantize(Grid),
}

/// One axis of a slice, as ONNX defines it (negative counts from the end).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    pub axis: i64,
    pub start: i64,
    pub end: i64,
    pub step: i64,
}
