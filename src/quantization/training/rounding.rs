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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantization::training::{reference::reference, state::Phase};

    fn pass(state: &State, rounds_activations: bool) -> Pass {
        state.leaves(Phase { rounds_activations, norms_follow_batches: true })
    }

    #[test]
    fn ranges_follow_the_batches_as_the_reference_does() {
        let case = reference().ema;
        // The range -0.5 to 1.5 at 4 bits, its numbers in f64 afterwards.
        let grid = Grid { scale: 2.0 / 15.0, zero_point: 4, low: 0, high: 15 };
        let mut state = State::default();
        let op = Op::FakeQuantize(grid);
        let rounding = TrainedRounding::new("x", &op, RangeLearning::Ema, 16, &mut state);
        let start = [case.low, case.high];
        for (statistic, value) in state.statistics.iter_mut().zip(start) {
            statistic.value = Tensor::from_slice(&[value]);
        }
        for batch in &case.batches {
            let pass = pass(&state, true);
            let _ = rounding.round(&Tensor::from_slice(batch), &pass).unwrap();
            for (at, seen) in pass.into_observed() {
                let statistic = &mut state.statistics[at];
                statistic.value = &statistic.value + (seen - &statistic.value) * statistic.rate;
            }
        }
        for (statistic, expected) in state.statistics.iter().zip([case.low_after, case.high_after])
        {
            let found = statistic.value.double_value(&[0]);
            assert!((found - expected).abs() < 1e-9, "{}: {found} {expected}", statistic.name);
        }
        let Op::FakeQuantize(grid) = rounding.op(&state.settled()) else { panic!("a grid") };
        assert!((f64::from(grid.scale) - case.scale).abs() < 1e-6, "{grid:?}");
        assert_eq!((grid.zero_point, grid.low, grid.high), (case.zero_point, 0, 15));
    }

    /// Values of both signs, at every way to learn a range.
    #[test]
    fn training_starts_with_the_roundings_of_the_network() {
        let x = Tensor::arange(64, (tch::Kind::Float, tch::Device::Cpu)) * 0.11 - 3.0;
        let unsigned = Grid { scale: 0.25, zero_point: 0, low: 0, high: 7 };
        let affine = Grid { scale: 0.25, zero_point: 3, low: 0, high: 7 };
        for op in
            [Op::FakeQuantize(unsigned), Op::FakeQuantize(affine), Op::Binarize { scale: 0.75 }]
        {
            for ranges in [RangeLearning::Lsq, RangeLearning::Pact, RangeLearning::Ema] {
                let mut state = State::default();
                let rounding = TrainedRounding::new("x", &op, ranges, 64, &mut state);
                assert_eq!(rounding.op(&state.settled()), op, "{ranges}");
                let expected = crate::network::compute(&op, &[Some(&x)]).unwrap();
                let found = rounding.round(&x, &pass(&state, true)).unwrap();
                let apart = (found - expected).abs().max().double_value(&[]);
                assert!(apart < 1e-6, "{ranges}, {op:?}: {apart}");
                assert_eq!(rounding.round(&x, &pass(&state, false)).unwrap(), x, "delayed");
            }
        }
    }
}
