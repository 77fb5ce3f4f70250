//! What operations are made with: windows, grids, kinds of functions, cuts.

pub use haq_kernels::Grid;

/// Spatial attributes of a two-dimensional convolution or pooling window.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Top, left, bottom, right.
    pub padding: [usize; 4],
    pub dilation: [usize; 2],
}

impl Window {
    /// Rows or columns added before and after, for axis 0 (height) or 1 (width).
    pub fn padding_of(&self, axis: usize) -> (usize, usize) {
        (self.padding[axis], self.padding[axis + 2])
    }

    /// Whether as much is added before as after.
    pub fn is_symmetric(&self) -> bool {
        self.padding[0] == self.padding[2] && self.padding[1] == self.padding[3]
    }

    /// Input rows or columns that one output covers.
    pub fn extent(&self, axis: usize) -> usize {
        self.dilation[axis] * (self.kernel[axis] - 1) + 1
    }
}

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unary {
    Abs,
    Ceil,
    Cos,
    Erf,
    Exp,
    Floor,
    Log,
    Neg,
    Not,
    Reciprocal,
    Round,
    Sign,
    Sin,
    Softplus,
    Sqrt,
    Tanh,
}

/// A comparison of two numbers; the result is a bool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// How a reduction combines numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    Mean,
    Sum,
    Max,
    Min,
    Prod,
    /// The square root of the sum of squares.
    L2,
}

/// A connective of two truth values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logic {
    And,
    Or,
    Xor,
}

/// What padding repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Border {
    /// The outermost number.
    Edge,
    /// The numbers before it, outermost not repeated.
    Reflect,
}

/// How numbers between two samples are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Interpolation {
    Nearest(NearestRounding),
    Linear,
    /// With the coefficient that ONNX calls `cubic_coeff_a`.
    Cubic(f32),
}

/// Which sample a position between two belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NearestRounding {
    HalfDown,
    HalfUp,
    Floor,
    Ceil,
}

/// Where an output sample lies among the input's, in ONNX's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinates {
    HalfPixel,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
}

/// The length of one axis after a resize.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ResizedLength {
    Same,
    /// Times this, rounded down.
    Scale(f32),
    Exactly(usize),
}

impl ResizedLength {
    /// The new length and the scale that positions follow.
    pub fn of(self, length: usize) -> (usize, f64) {
        match self {
            ResizedLength::Same => (length, 1.0),
            ResizedLength::Scale(scale) => {
                ((length as f64 * f64::from(scale)).floor() as usize, f64::from(scale))
            }
            ResizedLength::Exactly(new) => (new, new as f64 / length.max(1) as f64),
        }
    }
}

impl Unary {
    pub const ALL: [Unary; 16] = [
        Unary::Abs,
        Unary::Ceil,
        Unary::Cos,
        Unary::Erf,
        Unary::Exp,
        Unary::Floor,
        Unary::Log,
        Unary::Neg,
        Unary::Not,
        Unary::Reciprocal,
        Unary::Round,
        Unary::Sign,
        Unary::Sin,
        Unary::Softplus,
        Unary::Sqrt,
        Unary::Tanh,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Unary::Abs => "Abs",
            Unary::Ceil => "Ceil",
            Unary::Cos => "Cos",
            Unary::Erf => "Erf",
            Unary::Exp => "Exp",
            Unary::Floor => "Floor",
            Unary::Log => "Log",
            Unary::Neg => "Neg",
            Unary::Not => "Not",
            Unary::Reciprocal => "Reciprocal",
            Unary::Round => "Round",
            Unary::Sign => "Sign",
            Unary::Sin => "Sin",
            Unary::Softplus => "Softplus",
            Unary::Sqrt => "Sqrt",
            Unary::Tanh => "Tanh",
        }
    }
}

impl Comparison {
    pub const ALL: [Comparison; 5] = [
        Comparison::Equal,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Comparison::Equal => "Equal",
            Comparison::Less => "Less",
            Comparison::LessOrEqual => "LessOrEqual",
            Comparison::Greater => "Greater",
            Comparison::GreaterOrEqual => "GreaterOrEqual",
        }
    }
}

impl Logic {
    pub const fn name(self) -> &'static str {
        match self {
            Logic::And => "And",
            Logic::Or => "Or",
            Logic::Xor => "Xor",
        }
    }
}

impl Reduction {
    pub const ALL: [Reduction; 6] = [
        Reduction::Mean,
        Reduction::Sum,
        Reduction::Max,
        Reduction::Min,
        Reduction::Prod,
        Reduction::L2,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Reduction::Mean => "ReduceMean",
            Reduction::Sum => "ReduceSum",
            Reduction::Max => "ReduceMax",
            Reduction::Min => "ReduceMin",
            Reduction::Prod => "ReduceProd",
            Reduction::L2 => "ReduceL2",
        }
    }
}

/// One axis of a slice, as ONNX defines it (negative counts from the end).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    pub axis: i64,
    pub start: i64,
    pub end: i64,
    pub step: i64,
}

impl Cut {
    /// First index, number of indices and step on an axis of length `n`.
    ///
    /// Out-of-range bounds are clamped, as in ONNX; a negative step runs backwards.
    pub fn resolve(&self, n: usize) -> (usize, usize, i64) {
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        let absolute = |index: i64| if index < 0 { index.saturating_add(n) } else { index };
        let (start, end) = (absolute(self.start), absolute(self.end));
        let (start, span) = if self.step > 0 {
            let start = start.clamp(0, n);
            (start, end.clamp(0, n) - start)
        } else {
            let start = start.clamp(-1, n - 1);
            (start, start - end.clamp(-1, n - 1))
        };
        let step = self.step.unsigned_abs().max(1);
        let count = u64::try_from(span).unwrap_or(0).div_ceil(step);
        (usize::try_from(start).unwrap_or(0), usize::try_from(count).unwrap_or(0), self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_follow_the_onnx_rules() {
        for (start, end, step, n, expected) in [
            (0, i64::MAX, 2, 7, (0, 4)),
            (1, -1, 1, 5, (1, 3)),
            (-3, i64::MAX, 1, 5, (2, 3)),
            (10, 20, 1, 5, (5, 0)),
            (-1, i64::MIN, -1, 4, (3, 4)),
            (i64::MAX, 0, -2, 6, (5, 3)),
            (3, 1, 1, 5, (3, 0)),
        ] {
            let cut = Cut { axis: 0, start, end, step };
            let (first, count, _) = cut.resolve(n);
            assert_eq!((first, count), expected, "{cut:?} of {n}");
        }
    }

    #[test]
    fn rounding_stays_on_the_grid_and_breaks_ties_to_even() {
        let grid = Grid { scale: 0.5, zero_point: 2, low: 0, high: 7 };
        for (x, expected) in
            [(0.0, 0.0), (0.25, 0.0), (0.75, 1.0), (-9.0, -1.0), (9.0, 2.5), (1.3, 1.5)]
        {
            assert_eq!(grid.round(x), expected, "{x}");
        }
    }
}
