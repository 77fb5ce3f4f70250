//! One rounding node while it is trained.
//!
//! Sources: Esser et al. 2020 (learned steps); Choi et al. 2018 (learned clips); Jacob et al.
//! 2018, section 3.1 (ranges that follow the batches).

use tch::{TchError, Tensor};

use crate::{
    domain::Bits,
    network::{Grid, Op},
    quantization::{
        training::{
            descent::{Bound, Variable},
            fake_quantize::{Codes, fixed_grid, learned_clip, learned_step, sign},
            settings::RangeLearning,
            state::{Pass, State},
        },
        uniform::activation_grid,
    },
};

/// What one batch counts in a range that follows the batches.
const RANGE_RATE: f64 = 0.01;

/// A step or clip never falls below this share of its start: it stays above 0.
const LOWEST_SHARE: f64 = 0.01;

/// How far from 0 a sign's gradient passes, in scales: where numbers lie evenly between -1 and
/// 1 that is the whole range, as for a hard tanh.
const SIGN_BOUND: f64 = 2.0;

/// Where a rounding's numbers stand in the state. Holds no tensor, so threads share it.
#[derive(Debug)]
pub enum TrainedRounding {
    /// The step is learned, the zero point stays.
    Step { scale_at: usize, grid: Grid },
    /// The upper end is learned.
    Clip { clip_at: usize, levels: i32 },
    /// Both ends follow the batches.
    Range { low_at: usize, high_at: usize, bits: Bits },
    /// One bit of a signed tensor; its scale is learned.
    Sign { scale_at: usize },
}

impl TrainedRounding {
    /// Adds the numbers of a rounding operation to the state.
    ///
    /// - `name`: of the tensor that is rounded
    /// - `n_features`: numbers of the tensor for one image
    ///
    /// # Panics
    /// When the operation does not round.
    pub fn new(
        name: &str,
        op: &Op,
        ranges: RangeLearning,
        n_features: usize,
        state: &mut State,
    ) -> Self {
        let n_features = n_features.max(1) as f64;
        let mut learned = |what: &str, value: f32, highest: i32| {
            let value = Tensor::from_slice(&[value]);
            let mut variable = Variable::new(format!("{name}.activation_{what}"), value);
            variable.gradient_factor = 1.0 / (n_features * f64::from(highest.max(1))).sqrt();
            variable.bound = Bound::AtLeast(&variable.value * LOWEST_SHARE);
            variable.decays = what == "clip";
            state.add(variable)
        };
        let grid = match *op {
            Op::Binarize { scale } => return Self::Sign { scale_at: learned("scale", scale, 1) },
            Op::FakeQuantize(grid) => grid,
            ref op => unreachable!("{op:?} does not round"),
        };
        let levels = grid.high - grid.low;
        let highest = grid.high - grid.zero_point;
        match ranges {
            RangeLearning::Pact if grid.zero_point == grid.low => {
                let clip = grid.scale * levels as f32;
                Self::Clip { clip_at: learned("clip", clip, levels), levels }
            }
            RangeLearning::Lsq | RangeLearning::Pact => {
                Self::Step { scale_at: learned("scale", grid.scale, highest), grid }
            }
            RangeLearning::Ema => {
                let mut end = |what: &str, code: i32| {
                    let value = grid.scale * (code - grid.zero_point) as f32;
                    let name = format!("{name}.activation_{what}");
                    state.add_statistic(name, Tensor::from_slice(&[value]), RANGE_RATE)
                };
                let (low_at, high_at) = (end("low", grid.low), end("high", grid.high));
                let bits = Bits::new((levels as u32 + 1).ilog2() as u8);
                Self::Range { low_at, high_at, bits: bits.expect("a grid has 2 to 256 levels") }
            }
        }
    }

    /// Rounds `x` as this pass does; ranges see it first.
    ///
    /// # Errors
    /// When libtorch cannot.
    pub fn round(&self, x: &Tensor, pass: &Pass) -> Result<Tensor, TchError> {
        if let Self::Range { low_at, high_at, .. } = *self {
            let flat = x.detach();
            pass.observe(low_at, &flat.f_min()?.view([1]));
            pass.observe(high_at, &flat.f_max()?.view([1]));
        }
        if !pass.phase.rounds_activations {
            return Ok(x.shallow_clone());
        }
        match *self {
            Self::Step { scale_at, grid } => learned_step(x, &pass.values[scale_at], codes(&grid)),
            Self::Clip { clip_at, levels } => {
                learned_clip(x, &pass.values[clip_at], f64::from(levels))
            }
            Self::Range { .. } => {
                let Op::FakeQuantize(grid) = self.op(pass) else { unreachable!("a range rounds") };
                fixed_grid(x, f64::from(grid.scale), codes(&grid))
            }
            Self::Sign { scale_at } => {
                let scale = &pass.values[scale_at];
                sign(x, scale, &(scale.detach() * SIGN_BOUND))
            }
        }
    }

    /// The operation that inference has.
    pub fn op(&self, pass: &Pass) -> Op {
        let number = |tensor: &Tensor| tensor.double_value(&[0]) as f32;
        match *self {
            Self::Step { scale_at, grid } => {
                Op::FakeQuantize(Grid { scale: number(&pass.values[scale_at]), ..grid })
            }
            Self::Clip { clip_at, levels } => {
                let scale = number(&pass.values[clip_at]) / levels as f32;
                Op::FakeQuantize(Grid { scale, zero_point: 0, low: 0, high: levels })
            }
            Self::Range { low_at, high_at, bits } => {
                let [low, high] = [low_at, high_at].map(|at| number(&pass.statistics[at]));
                Op::FakeQuantize(activation_grid(bits, low, high))
            }
            Self::Sign { scale_at } => Op::Binarize { scale: number(&pass.values[scale_at]) },
        }
    }
}

fn codes(grid: &Grid) -> Codes {
    Codes {
        low: f64::from(grid.low - grid.zero_point),
        high: f64::from(grid.high - grid.zero_point),
    }
}
