//! The clips of HAQ's program, for reproducing it.
//!
//! Source: `lib/utils/quantize_utils.py` of mit-han-lab/haq. Its search is no relative entropy of
//! histograms: it compares cumulated shares with the same resampled at as many places as there
//! are levels. We differ: ranges stay as calibrated, where HAQ goes on learning them, and all
//! calibration images count, where HAQ takes one batch.

use super::mse::largest;
use crate::{domain::Bits, network::Grid, quantization::uniform::activation_grid};

/// Ranges are searched below so many bits.
const SEARCHED_BELOW: u8 = 5;
/// The most an activation is thought to reach, as behind a ReLU6.
const LARGEST_ACTIVATION: f32 = 6.0;

/// Where weights are clipped: at `±` this magnitude.
///
/// - `bits`: 2 or more
pub fn weight_threshold(bits: Bits, weights: &[f32]) -> f32 {
    if bits.get() < SEARCHED_BELOW {
        threshold(weights, 1 << (bits.get() - 1))
    } else {
        largest(weights)
    }
}

/// The grid of an activation tensor: from 0 where nothing is negative ("half wave"), else
/// symmetric to 0 with as many levels on both sides ("full wave", searched with one bit less).
///
/// - `values`: sorted ascending, at least one
///
/// We differ at one bit of a full wave, where HAQ's scale divides by 0: two levels, one of them 0.
pub fn activation_range(bits: Bits, values: &[f32]) -> Grid {
    let half_wave = values[0] >= 0.0;
    let searched = if half_wave { bits.get() } else { bits.get() - 1 };
    let limit = match searched {
        0 => largest(values),
        1..SEARCHED_BELOW => threshold(values, 1 << (searched - 1)),
        _ => largest(values),
    };
    let limit = limit.min(largest(values)).min(LARGEST_ACTIVATION);
    if half_wave || searched == 0 {
        return activation_grid(bits, if half_wave { 0.0 } else { -limit }, limit);
    }
    let high = (1 << searched) - 1;
    Grid { scale: (limit / high as f32).max(Grid::TINY_SCALE), zero_point: 0, low: -high, high }
}

/// The magnitude at which cumulated shares lose least when they are known at `n_points` places
/// only.
///
/// - returns: at most half a bin above the largest magnitude, one of `⌈√n⌉` bins; the largest
///   magnitude where there are too few bins; of equals the smaller
pub fn threshold(values: &[f32], n_points: usize) -> f32 {
    let largest = largest(values);
    if largest == 0.0 {
        return 0.0;
    }
    let n_bins = (values.len() as f64).sqrt().ceil() as usize;
    if n_points + 1 > n_bins {
        return largest;
    }
    let cumulated = cumulated_shares(values, f64::from(largest), n_bins);
    let mut best = (f64::INFINITY, n_bins);
    for end in n_points + 1..=n_bins {
        let divergence = divergence(&cumulated, end, n_points);
        if divergence < best.0 {
            best = (divergence, end);
        }
    }
    ((best.1 as f64 + 0.5) * f64::from(largest) / n_bins as f64) as f32
}

fn cumulated_shares(values: &[f32], largest: f64, n_bins: usize) -> Vec<f64> {
    let mut counts = vec![0.0f64; n_bins];
    for value in values {
        let bin = (f64::from(value.abs()) / largest * n_bins as f64) as usize;
        counts[bin.min(n_bins - 1)] += 1.0;
    }
    let total = values.len() as f64;
    let mut sum = 0.0;
    counts
        .iter()
        .map(|count| {
            sum += count / total;
            sum
        })
        .collect()
}

/// `Σ (C - Q) log₂(C / Q)`, where `Q` is `C` clipped at bin `end` and seen through `n_points`.
fn divergence(cumulated: &[f64], end: usize, n_points: usize) -> f64 {
    let mut clipped = cumulated[..end].to_vec();
    clipped[end - 1] = 1.0;
    let seen = resampled(&resampled(&clipped, n_points), end);
    let seen = seen.into_iter().chain(std::iter::repeat(1.0));
    let terms = cumulated.iter().zip(seen).map(|(&c, q)| match (c == q, c == 0.0 || q == 0.0) {
        (true, _) => 0.0,
        (false, true) => f64::INFINITY,
        (false, false) => (c - q) * (c / q).log2(),
    });
    terms.sum()
}

/// Linear interpolation at `n` even places from the first to the last.
fn resampled(values: &[f64], n: usize) -> Vec<f64> {
    let last = values.len() - 1;
    let at = |index: usize| {
        let place = if n > 1 { index as f64 * last as f64 / (n - 1) as f64 } else { 0.0 };
        let left = (place.floor() as usize).min(last);
        let right = (left + 1).min(last);
        values[left] + (values[right] - values[left]) * (place - left as f64)
    };
    (0..n).map(at).collect()
}
