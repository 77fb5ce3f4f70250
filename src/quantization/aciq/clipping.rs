//! Ranges of tensors from the constants.

use serde::{Deserialize, Serialize};

use super::{Fit, Points, clipping_constant, clipping_constant_one_sided, points::finite_constant};
use crate::domain::Bits;

/// Which constants are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AciqForm {
    /// As published: rounding noise is even noise.
    Closed,
    /// The optimum for the levels there really are; differs below 4 bits.
    Finite,
}

/// The ends of an activation's range; not yet widened to 0.
///
/// - `values`: sorted ascending, at least one
/// - `before`: what was rectified to make them, where that is known
///
/// A tensor without negative numbers starts at 0, and its clip lies `α` beyond the mean of what
/// was rectified, where that is above 0. Other tensors are clipped on both sides of their mean.
/// No range is wider than what was seen.
///
/// We differ: where nothing is known of the numbers before the rectifier, the positive ones
/// stand for half of a distribution around 0.
pub fn activation_limits(
    form: AciqForm,
    bits: Bits,
    values: &[f32],
    before: Option<&[f32]>,
) -> (f32, f32) {
    let (low, high) = (values[0], values[values.len() - 1]);
    if low >= 0.0 {
        let fit = before.map_or_else(|| Fit::of_positive_half(values), Fit::around_mean);
        let constant = match form {
            AciqForm::Closed => clipping_constant_one_sided(fit.distribution, bits),
            AciqForm::Finite => finite_constant(fit.distribution, Points::Rectified, bits),
        };
        return (0.0, high.min((fit.mean.max(0.0) + constant * fit.unit) as f32));
    }
    let (from, to) = around_mean(form, bits, &Fit::around_mean(values));
    (low.max(from), high.min(to))
}

/// The ends of a weight channel's range, on both sides of its mean.
pub fn weight_limits(form: AciqForm, bits: Bits, row: &[f32]) -> (f32, f32) {
    around_mean(form, bits, &Fit::around_mean(row))
}

fn around_mean(form: AciqForm, bits: Bits, fit: &Fit) -> (f32, f32) {
    let alpha = fit.unit
        * match form {
            AciqForm::Closed => clipping_constant(fit.distribution, bits),
            // The outermost levels are half a cell inside the edge.
            AciqForm::Finite => {
                let edge = finite_constant(fit.distribution, Points::CellCentres, bits);
                edge * (1.0 - 0.5f64.powi(i32::from(bits.get())))
            }
        };
    ((fit.mean - alpha) as f32, (fit.mean + alpha) as f32)
}

/// The scale of a weight grid that is symmetric to 0, from the spread around 0.
///
/// - `points`: the levels of the grid, with 2 bits or more
/// - returns: 0 for a channel of zeros
pub fn weight_step(form: AciqForm, points: Points, bits: Bits, row: &[f32]) -> f32 {
    let fit = Fit::around_zero(row);
    let half = f64::from(1 << (bits.get() - 1));
    let step = match form {
        AciqForm::Closed => clipping_constant(fit.distribution, bits) / half,
        AciqForm::Finite => finite_constant(fit.distribution, points, bits) / (half - 1.0),
    };
    (step * fit.unit) as f32
}
