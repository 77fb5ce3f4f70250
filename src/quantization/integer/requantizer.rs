//! Many accumulators to codes at once: [`Requantization::apply`] without a branch, channels
//! beside each other, so that it becomes vector code.

use super::Requantization;

/// The least channels a table has: one that all share is repeated.
const LEAST: usize = 64;

/// Requantizations of a tensor's channels, one table a number.
#[derive(Debug, Clone)]
pub struct Requantizer {
    left: Vec<i64>,
    mantissa: Vec<i64>,
    /// Half of what is divided by, and its logarithm.
    half: Vec<i64>,
    right: Vec<i64>,
    /// Whether a tie below zero goes down: 0 where nothing is divided.
    ties_down: Vec<i64>,
    zero_point: i64,
    low: i64,
    high: i64,
}

impl Requantizer {
    /// - `channels`: at least one; all with the same zero point and bounds, from 0 to 255
    pub fn new(channels: &[Requantization]) -> Self {
        let n = if channels.len() == 1 { LEAST } else { channels.len() };
        let table = |number: &dyn Fn(&Requantization) -> i64| -> Vec<i64> {
            channels.iter().cycle().take(n).map(number).collect()
        };
        let right = |channel: &Requantization| i64::from(channel.shifts().1);
        let first = &channels[0];
        Self {
            left: table(&|channel| i64::from(channel.shifts().0)),
            mantissa: table(&|channel| i64::from(channel.mantissa())),
            half: table(&|channel| (1 << right(channel)) >> 1),
            right: table(&right),
            ties_down: table(&|channel| i64::from(right(channel) > 0)),
            zero_point: i64::from(first.zero_point()),
            low: i64::from(first.bounds().0),
            high: i64::from(first.bounds().1),
        }
    }

    /// Appends the codes of sums whose last axis is the channels.
    pub fn run(&self, sums: &[i32], codes: &mut Vec<u8>) {
        let start = codes.len();
        codes.resize(start + sums.len(), 0);
        let n = self.left.len();
        for (sums, codes) in sums.chunks(n).zip(codes[start..].chunks_mut(n)) {
            self.row(sums, codes);
        }
    }

    fn row(&self, sums: &[i32], codes: &mut [u8]) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx512f") && has!("avx512dq") && has!("avx512bw") {
                // SAFETY: the processor has the features that the loop is compiled for.
                return unsafe { self.row_avx512(sums, codes) };
            }
            if has!("avx2") {
                // SAFETY: as above.
                return unsafe { self.row_avx2(sums, codes) };
            }
        }
        self.row_plain(sums, codes);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw")]
    fn row_avx512(&self, sums: &[i32], codes: &mut [u8]) {
        self.row_plain(sums, codes);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn row_avx2(&self, sums: &[i32], codes: &mut [u8]) {
        self.row_plain(sums, codes);
    }

    #[inline(always)]
    fn row_plain(&self, sums: &[i32], codes: &mut [u8]) {
        let n = sums.len();
        let (left, mantissa, half) = (&self.left[..n], &self.mantissa[..n], &self.half[..n]);
        let (right, ties_down) = (&self.right[..n], &self.ties_down[..n]);
        let codes = &mut codes[..n];
        for i in 0..n {
            let shifted = i64::from(sums[i]) << left[i];
            let shifted = shifted.max(i64::from(i32::MIN)).min(i64::from(i32::MAX));
            let product = (shifted * mantissa[i] + (1 << 30)) >> 31;
            let below = (product >> 63) & ties_down[i];
            let quotient = (product + half[i] - below) >> right[i];
            codes[i] = (quotient + self.zero_point).max(self.low).min(self.high) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn many_at_once_are_each_by_itself(
            logs in prop::collection::vec(-31f64..29.0, 1..80),
            sums in prop::collection::vec(prop_oneof![any::<i32>(), -5000..5000], 1..200),
            zero_point in 0i32..256, low in 0i32..100, span in 0i32..156,
        ) {
            let channels: Vec<Requantization> = logs
                .iter()
                .map(|log| Requantization::new(log.exp2(), zero_point, (low, low + span)))
                .collect::<Result<_, _>>()
                .unwrap();
            let mut codes = vec![];
            Requantizer::new(&channels).run(&sums, &mut codes);
            for (i, (&sum, &code)) in sums.iter().zip(&codes).enumerate() {
                let expected = channels[i % channels.len()].apply(sum);
                prop_assert_eq!(i32::from(code), expected, "sum {} of channel {}", sum, i);
            }
        }
    }
}
