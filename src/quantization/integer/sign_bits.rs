//! Dot products of +-1 codes by XNOR and popcount.
//!
//! Source: Rastegari et al. 2016 (XNOR-Net); Courbariaux et al. 2016.

const WORD_BITS: usize = 64;

/// A vector of codes +1, -1 and, where a border is padded with zeros, 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignBits {
    length: usize,
    /// 1 where the code is +1.
    signs: Vec<u64>,
    /// 1 where there is a code; 0 on the padded border and past the end.
    valid: Vec<u64>,
}

impl SignBits {
    /// Packs the signs of `codes`. A 0 is padding: it adds nothing to a dot product.
    pub fn pack(codes: &[i32]) -> Self {
        let words = codes.len().div_ceil(WORD_BITS);
        let (mut signs, mut valid) = (vec![0u64; words], vec![0u64; words]);
        for (index, &code) in codes.iter().enumerate() {
            let bit = 1 << (index % WORD_BITS);
            if code > 0 {
                signs[index / WORD_BITS] |= bit;
            }
            if code != 0 {
                valid[index / WORD_BITS] |= bit;
            }
        }
        Self { length: codes.len(), signs, valid }
    }

    /// Equal signs less unequal ones, over places where both have a code.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn dot(&self, other: &Self) -> i64 {
        assert_eq!(self.length, other.length, "a dot product takes vectors of one length");
        let mut sum = 0;
        for word in 0..self.signs.len() {
            let valid = self.valid[word] & other.valid[word];
            let equal = !(self.signs[word] ^ other.signs[word]) & valid;
            sum += 2 * i64::from(equal.count_ones()) - i64::from(valid.count_ones());
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn popcounts_give_the_sum_of_products_with_padding(
            pairs in prop::collection::vec((-1i32..=1, -1i32..=1), 0..200)
        ) {
            let (a, b): (Vec<i32>, Vec<i32>) = pairs.into_iter().unzip();
            let expected: i64 = a.iter().zip(&b).map(|(&a, &b)| i64::from(a * b)).sum();
            prop_assert_eq!(SignBits::pack(&a).dot(&SignBits::pack(&b)), expected);
        }
    }
}
