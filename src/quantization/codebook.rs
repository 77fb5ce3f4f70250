//! Codebooks: the weights of a layer share a few values, the centroids of k-means.
//!
//! Sources: Han et al. 2016, "Deep Compression", section 3; HAQ's size mode.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::domain::Bits;

/// Steps of Lloyd's algorithm at most; HAQ's final run takes as many.
const STEPS: usize = 50;
/// One start is drawn for all runs, so that a policy is the same network every time.
const SEED: u64 = 0;

/// The values that weights may take.
#[derive(Debug, Clone, PartialEq)]
pub struct Codebook {
    /// Rising, no two equal.
    centroids: Vec<f32>,
}

impl Codebook {
    /// `2^bits` centroids of these weights, or all their values where there are no more.
    ///
    /// - `weights`: finite, at least one
    /// - `layer_index`: chooses the stream of random numbers
    pub fn learn(weights: &[f32], bits: Bits, layer_index: usize) -> Self {
        let sorted = Sorted::new(weights);
        let start = sorted.spread_start(1 << bits.get(), &mut rng(layer_index, bits));
        Self::of(sorted.lloyd(start, STEPS))
    }

    fn of(centroids: Vec<f64>) -> Self {
        let mut centroids: Vec<f32> = centroids.into_iter().map(|c| c as f32).collect();
        centroids.sort_by(f32::total_cmp);
        centroids.dedup();
        Self { centroids }
    }

    pub fn centroids(&self) -> &[f32] {
        &self.centroids
    }

    /// The centroid nearest to `weight`, the smaller of two.
    pub fn round(&self, weight: f32) -> f32 {
        let after = self.centroids.partition_point(|&centroid| centroid < weight);
        let (below, above) = (after.saturating_sub(1), after.min(self.centroids.len() - 1));
        let (below, above) = (self.centroids[below], self.centroids[above]);
        let distance = |centroid: f32| (f64::from(weight) - f64::from(centroid)).abs();
        if distance(above) < distance(below) { above } else { below }
    }
}

fn rng(layer_index: usize, bits: Bits) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&SEED.to_le_bytes());
    key[8..16].copy_from_slice(&(layer_index as u64).to_le_bytes());
    key[16] = bits.get();
    key[17..25].copy_from_slice(b"codebook");
    ChaCha8Rng::from_seed(key)
}

/// Numbers in order with their running sums: a cluster of a line is a stretch of it.
struct Sorted {
    values: Vec<f64>,
    /// `sums[i]` is the sum of the first `i`.
    sums: Vec<f64>,
}

impl Sorted {
    fn new(weights: &[f32]) -> Self {
        let mut values: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
        values.sort_by(f64::total_cmp);
        let mut sums = Vec::with_capacity(values.len() + 1);
        let mut sum = 0.0;
        sums.push(sum);
        sums.extend(values.iter().map(|value| {
            sum += value;
            sum
        }));
        Self { values, sums }
    }

    /// The start of k-means++: the first number at random, every other with a chance that grows
    /// with the squared distance to those already chosen. Fewer where there are no more values.
    ///
    /// Source: Arthur and Vassilvitskii 2007.
    fn spread_start(&self, k: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let first = (rng.next_u64() % self.values.len() as u64) as usize;
        let mut chosen = vec![self.values[first]];
        let mut distances = vec![f64::INFINITY; self.values.len()];
        while chosen.len() < k {
            let newest = chosen[chosen.len() - 1];
            let mut total = 0.0;
            for (distance, value) in distances.iter_mut().zip(&self.values) {
                *distance = distance.min((value - newest) * (value - newest));
                total += *distance;
            }
            if total == 0.0 {
                break;
            }
            chosen.push(self.values[draw(&distances, total, rng)]);
        }
        chosen
    }

    /// Moves each centroid to the mean of the numbers nearest to it, until none moves. A centroid
    /// that is nearest to none stays where it is.
    fn lloyd(&self, mut centroids: Vec<f64>, steps: usize) -> Vec<f64> {
        centroids.sort_by(f64::total_cmp);
        for _ in 0..steps {
            let moved = self.means_of_nearest(&centroids);
            if moved == centroids {
                break;
            }
            centroids = moved;
        }
        centroids
    }

    /// - `centroids`: rising, and so is what is returned
    fn means_of_nearest(&self, centroids: &[f64]) -> Vec<f64> {
        let n = self.values.len();
        // A number in the middle between two centroids belongs to the lower one.
        let ends = centroids.windows(2).map(|pair| {
            let middle = 0.5 * (pair[0] + pair[1]);
            self.values.partition_point(|&value| value <= middle)
        });
        let mut begin = 0;
        let mean = |(end, &centroid): (usize, &f64)| {
            let range = begin..end;
            begin = end;
            if range.is_empty() {
                return centroid;
            }
            (self.sums[range.end] - self.sums[range.start]) / range.len() as f64
        };
        ends.chain([n]).zip(centroids).map(mean).collect()
    }
}

/// A position, as likely as its weight is large.
fn draw(weights: &[f64], total: f64, rng: &mut ChaCha8Rng) -> usize {
    let share = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let mut left = share * total;
    for (position, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        if left < *weight {
            return position;
        }
        left -= weight;
    }
    weights.iter().rposition(|weight| *weight > 0.0).expect("a weight is above 0")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    /// Made by tests/reference/make_ranges_reference.py.
    const REFERENCE: &str = include_str!("../../tests/reference/ranges.json");

    #[derive(Deserialize)]
    struct Reference {
        k_means: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        values: Vec<f32>,
        start: Vec<f64>,
        steps: usize,
        centroids: Vec<f64>,
    }

    #[test]
    fn centroids_from_a_given_start_equal_the_reference() {
        for case in serde_json::from_str::<Reference>(REFERENCE).unwrap().k_means {
            let found = Sorted::new(&case.values).lloyd(case.start, case.steps);
            assert_eq!(found.len(), case.centroids.len());
            for (found, expected) in found.iter().zip(&case.centroids) {
                assert!((found - expected).abs() < 1e-12, "{found} {expected}");
            }
        }
    }

    fn bits(bits: u8) -> Bits {
        Bits::new(bits).unwrap()
    }

    #[test]
    fn few_values_are_all_kept() {
        for (name, weights, width, expected) in [
            ("constant", vec![0.5; 9], 4, vec![0.5]),
            ("zeros", vec![0.0; 9], 1, vec![0.0]),
            ("three values", vec![1.0, -1.0, 0.25, 1.0], 2, vec![-1.0, 0.25, 1.0]),
            ("one weight", vec![-3.0], 8, vec![-3.0]),
            ("the largest", vec![f32::MAX, -f32::MAX], 1, vec![-f32::MAX, f32::MAX]),
        ] {
            let codebook = Codebook::learn(&weights, bits(width), 0);
            assert_eq!(codebook.centroids(), expected, "{name}");
            weights.iter().for_each(|&weight| assert_eq!(codebook.round(weight), weight, "{name}"));
        }
    }

    proptest! {
        #[test]
        fn a_weight_goes_to_the_nearest_of_at_most_so_many_centroids(
            weights in prop::collection::vec(-1f32..1.0, 1..200), width in 1u8..=6, layer in 0usize..5
        ) {
            let codebook = Codebook::learn(&weights, bits(width), layer);
            prop_assert!(codebook.centroids().len() <= 1 << width);
            prop_assert_eq!(&codebook, &Codebook::learn(&weights, bits(width), layer));
            for &weight in &weights {
                let rounded = codebook.round(weight);
                let distance = |c: f32| (f64::from(weight) - f64::from(c)).abs();
                let nearest =
                    codebook.centroids().iter().map(|&c| distance(c)).fold(f64::INFINITY, f64::min);
                prop_assert_eq!(distance(rounded), nearest);
                prop_assert_eq!(codebook.round(rounded), rounded);
            }
        }
    }

    #[test]
    fn the_error_falls_with_every_bit_and_is_below_that_of_even_levels() {
        let tail = |i: i32| -(1.0 - (i as f32 / 1000.5).abs()).ln() * (i as f32).signum();
        let weights: Vec<f32> = (-1000..=1000).map(tail).collect();
        let error = |round: &dyn Fn(f32) -> f32| -> f64 {
            weights.iter().map(|&w| f64::from(w - round(w)).powi(2)).sum()
        };
        let mut last = f64::INFINITY;
        for width in 1..=8 {
            let codebook = Codebook::learn(&weights, bits(width), 3);
            let found = error(&|w| codebook.round(w));
            assert!(found < last, "{width} bits");
            last = found;
            let largest = weights.iter().fold(0.0f32, |max, w| max.max(w.abs()));
            let even =
                crate::quantization::uniform::WeightGrid::affine(bits(width), -largest, largest);
            assert!(found < error(&|w| even.round(w)), "{width} bits");
        }
    }
}
