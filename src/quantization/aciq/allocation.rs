//! Bits shared out among the channels of one layer.

/// The most bits a channel gets.
const MOST_BITS: u32 = 8;

/// How many bits each channel gets when `n * 2^average` levels are shared out by the power 2/3 of
/// the channels' spreads, which makes the sum of their rounding errors least.
///
/// - `spreads`: one a channel, 0 or more, finite
/// - `average`: 0 to 8
/// - returns: 0 to 8 for each channel, whose mean is exactly `average`
///
/// Source: Banner et al. 2019, equation 11. We differ: bits are not rounded one by one and the
/// target moved until their mean is near enough. Channels get bit after bit, always the one that
/// lags farthest behind its share, the earlier one of two.
///
/// # Panics
/// When the average is above 8.
pub fn allocate_bits(spreads: &[f64], average: u32) -> Vec<u32> {
    assert!(average <= MOST_BITS, "{average} bits are more than {MOST_BITS}");
    // All shares move with the quota alike, so it does not matter to their order.
    let share = |spread: f64| spread.log2() * (2.0 / 3.0);
    let mut steps: Vec<(f64, usize)> = (0..MOST_BITS)
        .flat_map(|bits| spreads.iter().enumerate().map(move |(channel, &s)| (bits, channel, s)))
        .map(|(bits, channel, spread)| (share(spread) - f64::from(bits), channel))
        .collect();
    steps.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut bits = vec![0; spreads.len()];
    for (_, channel) in steps.into_iter().take(average as usize * spreads.len()) {
        bits[channel] += 1;
    }
    bits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    /// Made by tests/reference/make_ranges_reference.py.
    const REFERENCE: &str = include_str!("../../../tests/reference/ranges.json");

    #[derive(Deserialize)]
    struct Reference {
        allocation: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        spreads: Vec<f64>,
        average: u32,
        bits: Vec<u32>,
    }

    #[test]
    fn allocations_equal_the_reference() {
        for case in serde_json::from_str::<Reference>(REFERENCE).unwrap().allocation {
            assert_eq!(allocate_bits(&case.spreads, case.average), case.bits, "{:?}", case.spreads);
        }
    }

    #[test]
    fn bits_follow_the_spreads() {
        for (spreads, average, expected) in [
            (&[1.0, 1.0, 1.0][..], 4, &[4, 4, 4][..]),
            // A factor of 8 is two bits.
            (&[8.0, 1.0], 4, &[5, 3]),
            (&[1.0, 0.0], 4, &[8, 0]),
            (&[0.0, 0.0], 3, &[3, 3]),
            (&[1e-30, 1.0, 1e30], 3, &[0, 1, 8]),
            (&[1.0, 1.0], 0, &[0, 0]),
            (&[], 4, &[]),
        ] {
            assert_eq!(allocate_bits(spreads, average), expected, "{spreads:?}");
        }
    }

    proptest! {
        #[test]
        fn the_mean_is_met_and_wider_channels_get_no_fewer_bits(
            spreads in prop::collection::vec(0f64..100.0, 1..70), average in 0u32..=8
        ) {
            let bits = allocate_bits(&spreads, average);
            prop_assert_eq!(bits.iter().sum::<u32>(), average * spreads.len() as u32);
            for (wide, more) in spreads.iter().zip(&bits) {
                for (narrow, fewer) in spreads.iter().zip(&bits) {
                    prop_assert!(wide <= narrow || more >= fewer, "{wide} {narrow}");
                }
            }
        }
    }
}
