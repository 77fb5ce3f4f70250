//! Dot products of few-bit codes as popcounts of packed planes.
//!
//! Plane `i` holds bit `i` of every code, 64 codes a word. A product of two code vectors is
//! `sum over i, j of 2^(i+j) * popcount(A_i & B_j)`; the sign plane of a two's complement code
//! weighs negatively. Source: Umuroglu et al. 2018 (BISMO), section 3.

use super::IntegerError;

const WORD_BITS: usize = 64;

/// A vector of codes, one packed plane a bit. Unused bits of the last word are 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BitPlanes {
    length: usize,
    bits: u32,
    signed: bool,
    /// `[bits, words]`, the lowest plane first.
    planes: Vec<u64>,
}

impl BitPlanes {
    /// Packs codes of `bits` bits (1 to 8), two's complement where `signed`.
    ///
    /// # Errors
    /// When a code does not fit the bits.
    ///
    /// # Panics
    /// When `bits` is not 1 to 8.
    pub fn pack(codes: &[i32], bits: u32, signed: bool) -> Result<Self, IntegerError> {
        assert!((1..=8).contains(&bits), "planes hold 1 to 8 bits, not {bits}");
        let (low, high) =
            if signed { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) };
        let words = codes.len().div_ceil(WORD_BITS);
        let mut planes = vec![0u64; bits as usize * words];
        for (index, &code) in codes.iter().enumerate() {
            if !(low..=high).contains(&code) {
                return Err(IntegerError::Code { index, code, low, high });
            }
            for bit in 0..bits as usize {
                let set = (code >> bit & 1) as u64;
                planes[bit * words + index / WORD_BITS] |= set << (index % WORD_BITS);
            }
        }
        Ok(Self { length: codes.len(), bits, signed, planes })
    }

    pub fn length(&self) -> usize {
        self.length
    }

    /// The exact sum of products of the two vectors' codes.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn dot(&self, other: &Self) -> i64 {
        assert_eq!(self.length, other.length, "a dot product takes vectors of one length");
        let mut sum = 0;
        for i in 0..self.bits {
            for j in 0..other.bits {
                let count = and_count(self.plane(i), other.plane(j)) << (i + j);
                sum += if self.is_sign(i) == other.is_sign(j) { count } else { -count };
            }
        }
        sum
    }

    fn is_sign(&self, bit: u32) -> bool {
        self.signed && bit + 1 == self.bits
    }

    fn plane(&self, bit: u32) -> &[u64] {
        let words = self.length.div_ceil(WORD_BITS);
        &self.planes[bit as usize * words..][..words]
    }
}

fn and_count(a: &[u64], b: &[u64]) -> i64 {
    a.iter().zip(b).map(|(a, b)| i64::from((a & b).count_ones())).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vector(bits: u32, signed: bool, raw: &[u8]) -> Vec<i32> {
        let low = if signed { -(1 << (bits - 1)) } else { 0 };
        raw.iter().map(|&raw| i32::from(raw) % (1 << bits) + low).collect()
    }

    #[test]
    fn a_code_that_does_not_fit_is_refused() {
        for (code, bits, signed) in [(4, 2, false), (-1, 8, false), (2, 2, true), (-129, 8, true)] {
            assert!(BitPlanes::pack(&[0, code], bits, signed).is_err(), "{code} in {bits}");
        }
    }

    proptest! {
        #[test]
        fn planes_give_the_sum_of_products(
            raw in prop::collection::vec(any::<(u8, u8)>(), 0..200),
            a_bits in 1u32..=8, b_bits in 1u32..=8, a_signed: bool, b_signed: bool,
        ) {
            let (a_raw, b_raw): (Vec<u8>, Vec<u8>) = raw.into_iter().unzip();
            let (a, b) = (vector(a_bits, a_signed, &a_raw), vector(b_bits, b_signed, &b_raw));
            let expected: i64 = a.iter().zip(&b).map(|(&a, &b)| i64::from(a * b)).sum();
            let a = BitPlanes::pack(&a, a_bits, a_signed).unwrap();
            let b = BitPlanes::pack(&b, b_bits, b_signed).unwrap();
            prop_assert_eq!(a.dot(&b), expected);
        }
    }
}
