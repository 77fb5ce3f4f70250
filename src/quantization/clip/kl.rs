//! Clipping by relative entropy: the range whose rounded histogram says most of the whole one.
//!
//! Source: Migacz 2017, "8-bit inference with TensorRT". The first bin counts as much as the
//! second, for 0 is a level and loses nothing; so does NVIDIA's own calibrator.

use super::mse::largest;

/// Bins between 0 and the largest magnitude.
const BINS: usize = 2048;
/// Bins from one tried threshold to the next.
const STRIDE: usize = 8;
/// What an empty bin gets, so that logarithms are finite.
const SMOOTHING: f64 = 1e-4;

/// The magnitude beyond which values are best clipped.
///
/// - `values`: finite, of either sign
/// - `n_levels`: on one side of 0: `2^b` for numbers that are never below 0, else `2^(b-1)`
/// - returns: above 0 and at most the largest magnitude, a multiple of 8 bins; 0 for zeros. Of
///   equals the wider.
pub fn threshold(values: &[f32], n_levels: usize) -> f32 {
    let largest = largest(values);
    if largest == 0.0 {
        return 0.0;
    }
    let counts = histogram(values, largest);
    let first = n_levels.next_multiple_of(STRIDE);
    let mut best = (f64::INFINITY, BINS);
    for end in (first..=BINS).step_by(STRIDE) {
        let divergence = divergence(&counts, end, n_levels);
        if divergence <= best.0 {
            best = (divergence, end);
        }
    }
    (f64::from(largest) * best.1 as f64 / BINS as f64) as f32
}

fn histogram(values: &[f32], largest: f32) -> Vec<f64> {
    let mut counts = vec![0.0; BINS];
    for value in values {
        let share = f64::from(value.abs()) / f64::from(largest);
        counts[((share * BINS as f64) as usize).min(BINS - 1)] += 1.0;
    }
    counts[0] = counts[1];
    counts
}

/// How much the first `end` bins, the rest counted into the last of them, say beyond what
/// `n_levels` levels say of the first `end` bins.
fn divergence(counts: &[f64], end: usize, n_levels: usize) -> f64 {
    let mut whole = counts[..end].to_vec();
    whole[end - 1] += counts[end..].iter().sum::<f64>();
    let mut rounded = merged(&counts[..end], n_levels);
    if !smooth(&mut whole) || !smooth(&mut rounded) {
        return f64::INFINITY;
    }
    whole.iter().zip(&rounded).map(|(p, q)| p * (p / q).ln()).sum()
}

/// Bins gathered into levels and spread again over the bins that were not empty.
fn merged(counts: &[f64], n_levels: usize) -> Vec<f64> {
    let mut spread = vec![0.0; counts.len()];
    for level in 0..n_levels {
        let bins = level * counts.len() / n_levels..(level + 1) * counts.len() / n_levels;
        let met = counts[bins.clone()].iter().filter(|count| **count > 0.0).count();
        let mean = counts[bins.clone()].iter().sum::<f64>() / met.max(1) as f64;
        for bin in bins.filter(|&bin| counts[bin] > 0.0) {
            spread[bin] = mean;
        }
    }
    spread
}

/// Makes shares of counts, and gives empty bins a little of the others'. False where all are
/// empty, or too few are not to give so much.
fn smooth(counts: &mut [f64]) -> bool {
    let total: f64 = counts.iter().sum();
    let empty = counts.iter().filter(|count| **count == 0.0).count();
    let met = counts.len() - empty;
    if met == 0 {
        return false;
    }
    let taken = SMOOTHING * empty as f64 / met as f64;
    counts.iter_mut().for_each(|count| {
        *count = if *count == 0.0 { SMOOTHING } else { *count / total - taken };
    });
    counts.iter().all(|share| *share > 0.0)
}
