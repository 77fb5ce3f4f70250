//! Rounding as a variable between two neighbouring levels of each weight.

use tch::{Kind, Tensor};

use crate::quantization::{
    layer_matrix::WeightRows, quantized_network::RoundedWeights, reconstruction::RoundingStart,
    uniform::WeightGrid,
};

/// The stretch of the sigmoid beyond 0 and 1, so that both ends are reached.
/// Source: AdaRound, equation 23 (zeta and gamma).
const ZETA: f64 = 1.1;
const GAMMA: f64 = -0.1;

/// How near to a level a rounding may start: at the level itself its gradient would vanish.
const EDGE: f64 = 0.01;
/// How undecided a rounding is at most when it starts at a level that is not the nearest.
const LEAN: f64 = 0.05;

/// The weights of one layer as `scale * (lower + span * h(v))`, with `h` from 0 to 1.
///
/// `lower` and `lower + span` are neighbouring codes of the grid: every weight has the choice
/// between two levels, those beyond the ends of the grid too.
pub struct SoftRounding {
    /// The variable, `[n_rows, n_columns]`.
    pub v: Tensor,
    /// `[n_rows, n_columns]`
    lower: Tensor,
    /// 1, or 2 for the signs of one bit.
    span: f64,
    /// `[n_rows, 1]`
    scale: Tensor,
}

impl SoftRounding {
    /// - `weights`: the float weights
    /// - `rounded`: what the method's own rounding made of them
    pub fn new(weights: &WeightRows, rounded: &RoundedWeights, start: RoundingStart) -> Self {
        let (mut lower, mut share) = (Vec::new(), Vec::new());
        for (row, grid) in rounded.grids.iter().enumerate() {
            let levels = &rounded.values[row * weights.n_columns..(row + 1) * weights.n_columns];
            for (&weight, &level) in weights.row(row).iter().zip(levels) {
                let (code, part) = match start {
                    RoundingStart::Fraction => beside(weight, grid),
                    RoundingStart::Rounded => leaning(weight, level, grid),
                };
                lower.push(code);
                share.push(part.clamp(EDGE as f32, 1.0 - EDGE as f32));
            }
        }
        let shape = [weights.n_rows as i64, weights.n_columns as i64];
        let scales: Vec<f32> = rounded.grids.iter().map(WeightGrid::scale).collect();
        let share = Tensor::from_slice(&share).view(shape);
        Self {
            v: inverse_rectified_sigmoid(&share).set_requires_grad(true),
            lower: Tensor::from_slice(&lower).view(shape),
            span: f64::from(span(&rounded.grids[0])),
            scale: Tensor::from_slice(&scales).view([-1, 1]),
        }
    }

    /// The soft weights, `[n_rows, n_columns]`; gradients flow to [`Self::v`].
    pub fn soft(&self) -> Tensor {
        (&self.lower + rectified_sigmoid(&self.v) * self.span) * &self.scale
    }

    /// The weights with every rounding decided: levels of the grid, to the last bit.
    pub fn decided(&self) -> Tensor {
        let up = rectified_sigmoid(&self.v.detach()).ge(0.5).to_kind(Kind::Float);
        (&self.lower + up * self.span) * &self.scale
    }

    /// `Σ (1 - |2 h(v) - 1|^beta)`: how undecided the roundings are together.
    pub fn undecided(&self, beta: f64) -> Tensor {
        undecided(&self.v, beta)
    }
}

fn rectified_sigmoid(v: &Tensor) -> Tensor {
    (v.sigmoid() * (ZETA - GAMMA) + GAMMA).clamp(0.0, 1.0)
}

/// - `h`: above 0 and below 1
fn inverse_rectified_sigmoid(h: &Tensor) -> Tensor {
    -(((h - GAMMA).reciprocal() * (ZETA - GAMMA)) - 1.0).log()
}

fn undecided(v: &Tensor, beta: f64) -> Tensor {
    let distance = (rectified_sigmoid(v) * 2.0 - 1.0).abs().pow_tensor_scalar(beta);
    (-distance + 1.0).sum(v.kind())
}

/// The distance between neighbouring codes.
fn span(grid: &WeightGrid) -> f32 {
    if grid.is_sign() { 2.0 } else { 1.0 }
}

/// The lower of the two codes beside a weight, and where the weight lies between them.
fn beside(weight: f32, grid: &WeightGrid) -> (f32, f32) {
    let (low, high) = grid.code_range();
    let (low, high, span) = (low as f32, high as f32, span(grid));
    let position = weight / grid.scale();
    let lower = if span == 2.0 { low } else { position.floor().clamp(low, high - 1.0) };
    (lower, ((position - lower) / span).clamp(0.0, 1.0))
}

/// The code of `level` and its neighbour on the weight's side, and a place between them that
/// rounds to `level`.
fn leaning(weight: f32, level: f32, grid: &WeightGrid) -> (f32, f32) {
    let (low, high) = grid.code_range();
    let (low, high, span) = (low as f32, high as f32, span(grid));
    let (position, code) = (weight / grid.scale(), (level / grid.scale()).round());
    let upwards = (position >= code && code < high) || code <= low;
    let lower = if upwards { code } else { code - span };
    let share = ((position - lower) / span).clamp(0.0, 1.0);
    let half = 0.5 - LEAN as f32;
    (lower, if upwards { share.min(half) } else { share.max(1.0 - half) })
}
