//! Scales: from data to pixels, with round tick values in units a person would choose.

use crate::domain::{CostKind, Measure};

/// A linear scale over a range of displayed values, with ticks at 1, 2 or 5 times a power of ten.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    pub low: f64,
    pub high: f64,
    pub ticks: Vec<f64>,
    /// Digits after the point that tell the ticks apart.
    decimals: usize,
}

impl Axis {
    /// A scale over exactly this range, widened where it is empty or not finite.
    pub fn over(low: f64, high: f64, about_ticks: usize) -> Self {
        let (low, high) = widened(low, high);
        let step = round_step((high - low) / about_ticks.max(1) as f64);
        let first = (low / step - 1e-9).ceil();
        let count = ((high / step + 1e-9).floor() - first).max(0.0) as usize;
        // Adding zero turns -0 into 0.
        let ticks = (0..=count).map(|i| (first + i as f64) * step + 0.0).collect();
        let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        Self { low, high, ticks, decimals }
    }

    /// A scale over a range and a share of its width more on each side.
    pub fn around(low: f64, high: f64, margin: f64, about_ticks: usize) -> Self {
        let (low, high) = widened(low, high);
        let more = (high - low) * margin;
        Self::over(low - more, high + more, about_ticks)
    }

    /// A scale with whole ticks, for what is counted.
    pub fn counting(low: f64, high: f64, about_ticks: usize) -> Self {
        let mut axis = Self::over(low, high.max(low + 1.0), about_ticks);
        axis.ticks.retain(|tick| tick.fract() == 0.0);
        axis.decimals = 0;
        axis
    }

    /// A scale without ticks, for an axis that only has a name.
    pub fn none() -> Self {
        Self { low: 0.0, high: 1.0, ticks: Vec::new(), decimals: 0 }
    }

    /// Where a value stands: 0 at the low end, 1 at the high end.
    pub fn share(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// A tick as it is written at the axis.
    pub fn label(&self, tick: f64) -> String {
        let text = format!("{tick:.*}", self.decimals);
        match text.strip_prefix('-') {
            Some(digits) if digits.bytes().all(|c| matches!(c, b'0' | b'.')) => digits.to_owned(),
            Some(digits) => format!("−{digits}"),
            None => text,
        }
    }
}

fn widened(low: f64, high: f64) -> (f64, f64) {
    if !low.is_finite() || !high.is_finite() {
        return (0.0, 1.0);
    }
    let (low, high) = (low.min(high), low.max(high));
    let least = (high.abs().max(low.abs()) * 1e-6).max(1e-12);
    if high - low >= least {
        return (low, high);
    }
    let more = if high == 0.0 { 0.5 } else { high.abs() * 0.05 };
    (low - more, high + more)
}

/// The smallest of 1, 2, 5 times a power of ten that is not below `rough`.
fn round_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let found = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * power >= rough * 0.999_999);
    found.unwrap_or(10.0) * power
}

/// A unit values are shown in: `shown = value * factor`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    pub factor: f64,
    pub name: &'static str,
}

impl Unit {
    /// The unit in which the largest of the values reads best.
    pub fn of_cost(kind: CostKind, largest: f64) -> Self {
        let units: &[(f64, &str)] = match kind {
            CostKind::Latency => &[(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")],
            CostKind::Energy => {
                &[(1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ"), (1e-12, "pJ")]
            }
            CostKind::Size | CostKind::Memory => {
                &[(1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")]
            }
        };
        let fits = units.iter().find(|(size, _)| largest >= *size);
        let &(size, name) = fits.unwrap_or(&units[units.len() - 1]);
        Self { factor: 1.0 / size, name }
    }

    /// Percent for shares; a distance is shown with its sign turned back.
    pub fn of_measure(measure: Measure) -> Self {
        match measure {
            Measure::Top1 | Measure::Top5 | Measure::Agreement => Self { factor: 100.0, name: "%" },
            Measure::Kl | Measure::Mse => Self { factor: -1.0, name: "" },
        }
    }

    /// The smallest range of a measure that is drawn, in display units: a plot of one point
    /// is no place to admire a hundredth of it.
    pub fn least_range(&self) -> f64 {
        if self.factor > 1.0 { 1.0 } else { 1e-4 }
    }
}

/// What a measure is called at an axis and in a heading.
pub fn measure_name(measure: Measure) -> &'static str {
    match measure {
        Measure::Top1 => "top-1 accuracy",
        Measure::Top5 => "top-5 accuracy",
        Measure::Agreement => "agreement with float",
        Measure::Kl => "KL divergence from float",
        Measure::Mse => "squared error against float",
    }
}

/// What a cost is called at an axis, with the batch it counts.
pub fn cost_name(kind: CostKind, batch: u64) -> String {
    let name = match kind {
        CostKind::Latency => "latency",
        CostKind::Energy => "energy",
        CostKind::Size => return "weight size".into(),
        CostKind::Memory => "peak memory",
    };
    match batch {
        1 => name.into(),
        _ => format!("{name} of a batch of {batch}"),
    }
}

/// The lowest quality worth showing: garbage far below the interesting part is left out.
///
/// - `best`: the highest quality drawn
/// - `values`: qualities of the points that matter, in any order
/// - `focus`: which share of them, best first, is the interesting part, 0 to 1
///
/// Twice the loss of the interesting part is shown, and everything when that reaches it.
pub fn lowest_shown(best: f64, values: impl Iterator<Item = f64>, focus: f64) -> f64 {
    let mut losses: Vec<f64> =
        values.filter(|value| value.is_finite()).map(|value| (best - value).max(0.0)).collect();
    losses.sort_by(f64::total_cmp);
    let Some(&worst) = losses.last() else { return best };
    let interesting = losses[((losses.len() - 1) as f64 * focus).round() as usize];
    let positive = losses.iter().copied().find(|&loss| loss > 0.0).unwrap_or(worst);
    best - worst.min((interesting * 2.5).max(positive * 4.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        for (low, high, about, expected) in [
            (0.0, 1.0, 5, vec!["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
            (84.2, 91.9, 4, vec!["86", "88", "90"]),
            (0.012, 0.019, 4, vec!["0.012", "0.014", "0.016", "0.018"]),
            (-0.2, 0.2, 4, vec!["−0.2", "−0.1", "0.0", "0.1", "0.2"]),
            (1e6, 4e6, 3, vec!["1000000", "2000000", "3000000", "4000000"]),
        ] {
            let axis = Axis::over(low, high, about);
            let labels: Vec<String> = axis.ticks.iter().map(|&tick| axis.label(tick)).collect();
            assert_eq!(labels, expected, "{low} to {high}");
        }
    }

    #[test]
    fn ranges_without_width_or_sense_still_give_a_scale() {
        for (low, high) in
            [(3.0, 3.0), (0.0, 0.0), (f64::NAN, 1.0), (0.0, f64::INFINITY), (5.0, 2.0)]
        {
            let axis = Axis::over(low, high, 5);
            assert!(axis.low < axis.high && axis.ticks.len() >= 2, "{low} to {high}: {axis:?}");
            assert!(axis.ticks.len() < 20, "{low} to {high}: {axis:?}");
        }
    }

    #[test]
    fn counts_have_whole_ticks() {
        let axis = Axis::counting(0.0, 2.0, 8);
        assert_eq!(axis.ticks, [0.0, 1.0, 2.0]);
    }

    #[test]
    fn garbage_does_not_squash_the_interesting_part() {
        let good = (0..20).map(|i| 0.9 - 0.001 * f64::from(i));
        let low = lowest_shown(0.9, good.clone().chain([0.1; 5]), 0.5);
        assert!((0.8..0.881).contains(&low), "{low}");
        let all = lowest_shown(0.9, good, 0.9);
        assert!((all - 0.881).abs() < 1e-9, "{all}");
        assert_eq!(lowest_shown(0.9, [f64::NAN].into_iter(), 0.5), 0.9);
    }

    proptest::proptest! {
        #[test]
        fn every_range_has_a_few_ticks_in_it(low in -1e9f64..1e9, width in 0.0f64..1e9) {
            let axis = Axis::over(low, low + width, 6);
            assert!((1..=14).contains(&axis.ticks.len()), "{axis:?}");
            let slack = (axis.high - axis.low) * 1e-6;
            for &tick in &axis.ticks {
                assert!(tick >= axis.low - slack && tick <= axis.high + slack, "{axis:?}");
            }
        }
    }
}
