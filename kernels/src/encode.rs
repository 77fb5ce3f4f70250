//! From numbers to the codes of their grid.

use crate::{grid::Grid, has_byte_products};

/// The codes of numbers; a grid of more than 8 bits does not fit.
///
/// # Panics
/// When `target` has another length than `source`.
pub fn encode(source: &[f32], grid: &Grid, target: &mut [u8]) {
    assert_eq!(source.len(), target.len(), "a code for every number");
    #[cfg(target_arch = "x86_64")]
    if has_byte_products() {
        // SAFETY: the processor has AVX-512.
        return unsafe { encode_avx512(source, grid, target) };
    }
    encode_plain(source, grid, target);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn encode_avx512(source: &[f32], grid: &Grid, target: &mut [u8]) {
    encode_plain(source, grid, target);
}

#[inline(always)]
fn encode_plain(source: &[f32], grid: &Grid, target: &mut [u8]) {
    let (low, high) = ((grid.low - grid.zero_point) as f32, (grid.high - grid.zero_point) as f32);
    for (code, x) in target.iter_mut().zip(source) {
        let steps = (x / grid.scale).max(low).min(high).round_ties_even();
        *code = (steps as i32 + grid.zero_point) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_grids_nearest_and_ties_go_to_the_even_one() {
        let grid = Grid { scale: 0.5, zero_point: 3, low: 0, high: 15 };
        let numbers = [-9.0, -1.5, -0.2, 0.0, 0.25, 0.75, 1.1, 6.0, 99.0, f32::NAN];
        let mut codes = [0; 10];
        encode(&numbers, &grid, &mut codes);
        assert_eq!(codes[..9], [0, 0, 3, 3, 3, 5, 5, 15, 15]);
        for (x, code) in numbers.iter().zip(codes).take(9) {
            assert_eq!(grid.round(*x), (i32::from(code) - 3) as f32 * 0.5);
        }
    }
}
