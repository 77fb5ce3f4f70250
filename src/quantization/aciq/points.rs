//! Where to clip a bell curve: the closed forms that take rounding noise as even, and the exact
//! optimum for the levels a quantizer really has.

use std::sync::OnceLock;

use super::Distribution;
use crate::{
    domain::Bits,
    quantization::normal::{density, distribution},
};

/// The clip `α` that loses least, in units of the distribution, when `2^b` equal cells cover
/// `-α..=α` and the error within them counts as `Δ² / 12`.
///
/// Laplace: `α = W(3 · 4^b)` with Lambert's `W`. Gauss: the root of
/// `α (1 - erf(α / √2)) + α / (3 · 4^b) - √(2 / π) e^(-α² / 2)`.
pub fn clipping_constant(distribution: Distribution, bits: Bits) -> f64 {
    constant_of(distribution, i32::from(bits.get()))
}

/// The same for numbers of which only the positive half is left, covered by `0..=α`: the
/// constant of one bit more.
pub fn clipping_constant_one_sided(distribution: Distribution, bits: Bits) -> f64 {
    constant_of(distribution, i32::from(bits.get()) + 1)
}

fn constant_of(law: Distribution, bits: i32) -> f64 {
    let cells = 3.0 * 4f64.powi(bits);
    match law {
        Distribution::Laplace => lambert_w(cells),
        Distribution::Gauss => {
            let slope = |alpha: f64| {
                2.0 * alpha * distribution(-alpha) + alpha / cells - 2.0 * density(alpha)
            };
            root_of_rising(slope, 0.0, 20.0)
        }
    }
}

/// `w` with `w e^w = z`, for `z` above 1, by Newton's method on `w + ln w = ln z`.
fn lambert_w(z: f64) -> f64 {
    let target = z.ln();
    let mut w = target.max(0.5);
    for _ in 0..50 {
        let step = (w + w.ln() - target) / (1.0 + 1.0 / w);
        w = (w - step).max(w * 0.1);
        if step.abs() < 1e-15 * w {
            break;
        }
    }
    w
}

fn root_of_rising(f: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if f(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Evenly spaced levels of a quantizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Points {
    /// The middles of `2^b` cells that lie symmetric to 0.
    CellCentres,
    /// `2^b - 1` levels symmetric to 0, which is one of them.
    Symmetric,
    /// Every code of a two's complement integer: one level more below 0 than above.
    TwosComplement,
    /// 0 and `2^b - 1` levels above it, for numbers of which the positive half is left.
    Rectified,
}

impl Points {
    const ALL: [Points; 4] =
        [Points::CellCentres, Points::Symmetric, Points::TwosComplement, Points::Rectified];

    /// First and last level, in steps.
    fn ends(self, bits: Bits) -> (f64, f64) {
        let half = f64::from(1 << (bits.get() - 1));
        match self {
            Points::CellCentres => (0.5 - half, half - 0.5),
            Points::Symmetric => (1.0 - half, half - 1.0),
            Points::TwosComplement => (-half, half - 1.0),
            Points::Rectified => (0.0, 2.0 * half - 1.0),
        }
    }

    /// What is called the clip, in steps: the edge of the outermost cell, or the last level.
    fn clip(self, bits: Bits) -> f64 {
        let (_, last) = self.ends(bits);
        if self == Points::CellCentres { last + 0.5 } else { last }
    }
}

/// The clip that loses least on exactly these levels, in units of the distribution: the outer
/// edge of the cells, else the highest level.
///
/// - `bits`: up to 8, and 2 or more where levels are symmetric to a level at 0
///
/// # Panics
/// When there are more bits, or no level beside 0.
pub fn finite_constant(distribution: Distribution, points: Points, bits: Bits) -> f64 {
    static FOUND: [[[OnceLock<f64>; 8]; 4]; 2] =
        [const { [const { [const { OnceLock::new() }; 8] }; 4] }; 2];
    let law = Distribution::ALL.iter().position(|law| *law == distribution).expect("it is listed");
    let kind = Points::ALL.iter().position(|kind| *kind == points).expect("it is listed");
    let cell = &FOUND[law][kind][usize::from(bits.get()) - 1];
    *cell.get_or_init(|| {
        let steps = points.clip(bits);
        assert!(steps > 0.0, "{points:?} has no level above 0 at {bits} bits");
        let widest = 1.5 * clipping_constant_one_sided(distribution, bits) + 1.0;
        let error = |clip: f64| error_of_points(distribution, points, bits, clip);
        least_of_one_valley(error, widest * 1e-3, widest)
    })
}

/// The mean squared error of rounding a number of the distribution to the nearest of these
/// levels, in squared units; of [`Points::Rectified`], half of all numbers are exactly 0.
///
/// - `clip`: as [`finite_constant`] returns it
pub fn error_of_points(law: Distribution, points: Points, bits: Bits, clip: f64) -> f64 {
    let step = clip / points.clip(bits);
    let (first, last) = points.ends(bits);
    let n = (last - first).round() as i32;
    let cells = (0..=n).map(|index| {
        let level = (first + f64::from(index)) * step;
        let from = match (index, points) {
            (0, Points::Rectified) => 0.0,
            (0, _) => f64::NEG_INFINITY,
            _ => level - 0.5 * step,
        };
        let to = if index == n { f64::INFINITY } else { level + 0.5 * step };
        squared_distance(law, level, from, to)
    });
    cells.sum()
}

/// `∫ (x - level)² f(x) dx` over `from..=to`.
fn squared_distance(law: Distribution, level: f64, from: f64, to: f64) -> f64 {
    match law {
        Distribution::Gauss => {
            let antiderivative = |x: f64| {
                let tail = if x.is_finite() { (2.0 * level - x) * density(x) } else { 0.0 };
                (1.0 + level * level) * distribution(x) + tail
            };
            antiderivative(to) - antiderivative(from)
        }
        Distribution::Laplace => {
            let right = |level: f64, from: f64, to: f64| {
                let rest = |x: f64| {
                    let d = x - level;
                    if x.is_finite() { 0.5 * (-x).exp() * (d * d + 2.0 * d + 2.0) } else { 0.0 }
                };
                if from < to { rest(from) - rest(to) } else { 0.0 }
            };
            right(level, from.max(0.0), to) + right(-level, (-to).max(0.0), -from)
        }
    }
}

/// Where a function that falls and then rises is least: narrowed first by a scan, then by golden
/// sections.
fn least_of_one_valley(f: impl Fn(f64) -> f64, low: f64, high: f64) -> f64 {
    const SCANS: i32 = 40;
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    let at = |index: i32| low + (high - low) * f64::from(index) / f64::from(SCANS);
    let least = (0..=SCANS).min_by(|&a, &b| f(at(a)).total_cmp(&f(at(b)))).expect("not empty");
    let (mut low, mut high) = (at((least - 1).max(0)), at((least + 1).min(SCANS)));
    while high - low > 1e-7 * high {
        let (a, b) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
        if f(a) < f(b) {
            high = b;
        } else {
            low = a;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// Made by tests/reference/make_ranges_reference.py.
    const REFERENCE: &str = include_str!("../../../tests/reference/ranges.json");

    #[derive(Deserialize)]
    struct Reference {
        constants: Vec<Constants>,
        finite: Vec<Finite>,
    }

    #[derive(Deserialize)]
    struct Constants {
        bits: u8,
        laplace: f64,
        laplace_one_sided: f64,
        gauss: f64,
        gauss_one_sided: f64,
    }

    #[derive(Deserialize)]
    struct Finite {
        distribution: String,
        points: String,
        bits: u8,
        clip: f64,
        error: f64,
    }

    fn bits(bits: u8) -> Bits {
        Bits::new(bits).unwrap()
    }

    #[test]
    fn closed_forms_equal_the_reference() {
        for case in serde_json::from_str::<Reference>(REFERENCE).unwrap().constants {
            let bits = bits(case.bits);
            for (found, expected) in [
                (clipping_constant(Distribution::Laplace, bits), case.laplace),
                (clipping_constant(Distribution::Gauss, bits), case.gauss),
                (clipping_constant_one_sided(Distribution::Laplace, bits), case.laplace_one_sided),
                (clipping_constant_one_sided(Distribution::Gauss, bits), case.gauss_one_sided),
            ] {
                assert!((found - expected).abs() < 1e-10, "{bits} bits: {found} {expected}");
            }
        }
    }

    /// The figures of the paper's authors, as far as they print them.
    #[test]
    fn closed_forms_are_the_published_ones() {
        for (law, expected) in [
            (Distribution::Laplace, [1.86, 2.83, 3.90, 5.03, 6.20, 7.41, 8.65, 9.90]),
            (Distribution::Gauss, [1.24, 1.71, 2.15, 2.56, 2.94, 3.29, 3.62, 3.92]),
        ] {
            for (width, expected) in (1..).zip(expected) {
                let found = clipping_constant(law, bits(width));
                assert!((found - expected).abs() < 0.006, "{law:?} {width}: {found}");
            }
        }
    }

    #[test]
    fn finite_optima_equal_the_reference() {
        for case in serde_json::from_str::<Reference>(REFERENCE).unwrap().finite {
            let law = match case.distribution.as_str() {
                "laplace" => Distribution::Laplace,
                _ => Distribution::Gauss,
            };
            let points = match case.points.as_str() {
                "cell-centres" => Points::CellCentres,
                "symmetric" => Points::Symmetric,
                "rectified" => Points::Rectified,
                _ => Points::TwosComplement,
            };
            let bits = bits(case.bits);
            let name = format!("{} {} {bits}", case.distribution, case.points);
            let error = error_of_points(law, points, bits, case.clip);
            assert!((error - case.error).abs() < 1e-3 * case.error, "{name}: {error}");
            // The valley is flat: the error tells more than the place.
            let found = finite_constant(law, points, bits);
            assert!((found - case.clip).abs() < 2e-3 * case.clip, "{name}: {found}");
            assert!(error_of_points(law, points, bits, found) <= error * (1.0 + 1e-9), "{name}");
        }
    }

    #[test]
    fn levels_of_a_rectified_tensor_are_the_upper_half_of_one_bit_more() {
        for law in Distribution::ALL {
            for width in 2..=7 {
                let half = finite_constant(law, Points::Rectified, bits(width));
                let whole = finite_constant(law, Points::Symmetric, bits(width + 1));
                assert!((half - whole).abs() < 1e-4 * whole, "{law:?} {width}: {half} {whole}");
            }
        }
    }

    #[test]
    fn one_bit_is_a_sign_at_the_mean_magnitude() {
        for (law, mean) in [
            (Distribution::Laplace, 1.0),
            (Distribution::Gauss, (2.0 / std::f64::consts::PI).sqrt()),
        ] {
            let found = finite_constant(law, Points::CellCentres, bits(1)) / 2.0;
            assert!((found - mean).abs() < 1e-5, "{law:?}: {found}");
        }
    }
}
