//! How the numbers of a rounded constant are stored as codes.

use std::sync::Arc;

use super::{
    array::Array,
    graph::{Graph, TensorId},
};

/// The levels of a rounded constant: `scale * code + offset`, one scale a slice of `axis`.
#[derive(Debug, Clone, PartialEq)]
pub struct Coding {
    pub axis: usize,
    /// One a slice, or one for all; above 0.
    pub scales: Arc<[f32]>,
    /// One a scale; empty where all are 0.
    pub offsets: Arc<[f32]>,
    /// What a code takes to store: 1 to 8 for weights, 32 for biases. One bit stands for the
    /// codes -1 and 1.
    pub bits: u8,
}

/// Codes of a constant, in the order of its numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Codes {
    pub codes: Vec<i32>,
    /// The smallest and the largest code of each slice that has a scale of its own; 0 lies
    /// between them, as every type and zero point wants.
    pub ranges: Vec<(i32, i32)>,
}

impl Coding {
    /// Bits of a bias in codes: a sum of products of codes.
    pub const BIAS_BITS: u8 = 32;

    /// Codes without offsets along the first axis, as convolutions have them.
    pub fn of_rows(scales: Arc<[f32]>, bits: u8) -> Self {
        Self { axis: 0, scales, offsets: Arc::default(), bits }
    }

    /// Which scale a number has, by its position in an array of this shape.
    pub(super) fn slices(&self, shape: &[usize]) -> impl Fn(usize) -> usize + use<> {
        let inner: usize = shape.iter().skip(self.axis + 1).product();
        let (inner, n) = (inner.max(1), self.scales.len());
        move |position| position / inner % n
    }

    /// The codes of an array; none where a number is not one of the levels.
    pub fn codes_of(&self, array: &Array) -> Option<Codes> {
        let numbers = array.as_f32()?;
        let n = self.scales.len();
        let fits = n == 1 || array.shape().get(self.axis) == Some(&n);
        if !fits || !(self.offsets.is_empty() || self.offsets.len() == n) {
            return None;
        }
        let slice_of = self.slices(array.shape());
        let mut ranges = vec![(0, 0); n];
        let mut codes = Vec::with_capacity(numbers.len());
        for (position, &number) in numbers.iter().enumerate() {
            let slice = slice_of(position);
            let (scale, offset) = (self.scales[slice], self.offsets.get(slice));
            let code = match offset {
                None => (number / scale).round_ties_even(),
                Some(offset) => ((number - offset) / scale).round_ties_even(),
            };
            let level = offset.map_or(code * scale, |offset| code * scale + offset);
            if level != number || code.abs() > 2f32.powi(31) {
                return None;
            }
            let code = code as i32;
            let (low, high) = &mut ranges[slice];
            (*low, *high) = (code.min(*low), code.max(*high));
            codes.push(code);
        }
        Some(Codes { codes, ranges })
    }
}

impl Codes {
    /// The fewest bits that hold every slice's codes, wherever their zero lies: 1 where there
    /// are -1 and 1 alone.
    pub fn least_bits(&self) -> u8 {
        if !self.codes.is_empty() && self.codes.iter().all(|code| code.abs() == 1) {
            return 1;
        }
        let span = |(low, high): &(i32, i32)| (i64::from(*high) - i64::from(*low)).max(2);
        let bits = |range| (i64::BITS - span(range).leading_zeros()) as u8;
        self.ranges.iter().map(bits).max().unwrap_or(2)
    }

    /// Whether every code is one of a two's complement integer of so many bits.
    pub fn are_signed(&self, bits: u32) -> bool {
        let half = 1i64 << (bits - 1);
        let held = |code: i32| (-half..half).contains(&i64::from(code));
        self.ranges.iter().all(|(low, high)| held(*low) && held(*high))
    }
}

impl Graph {
    /// How a rounded constant is coded; none for one that was not rounded.
    pub fn coding(&self, tensor: TensorId) -> Option<&Coding> {
        self.codings.get(&tensor)
    }

    /// Replaces the value of one constant by levels of this coding.
    ///
    /// # Panics
    /// When the tensor is not a constant of this shape and kind.
    pub fn set_rounded(&mut self, tensor: TensorId, value: Array, coding: Coding) {
        self.set_constant(tensor, value);
        self.codings.insert(tensor, coding);
    }

    /// What the rows of a rounded constant are whole multiples of, one number a row of the first
    /// axis.
    pub fn row_scales(&self, tensor: TensorId) -> Option<&[f32]> {
        let coding = self.codings.get(&tensor)?;
        (coding.axis == 0 && coding.offsets.is_empty()).then_some(&coding.scales)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coding(axis: usize, scales: &[f32], offsets: &[f32]) -> Coding {
        Coding { axis, scales: scales.into(), offsets: offsets.into(), bits: 4 }
    }

    #[test]
    fn codes_follow_the_axis_and_the_offsets() {
        let array = |numbers: [f32; 4]| Array::f32(vec![2, 2], numbers);
        for (name, coding, numbers, expected) in [
            ("rows", coding(0, &[0.5, 2.0], &[]), [0.5, -1.0, 4.0, 0.0], Some(vec![1, -2, 2, 0])),
            (
                "columns",
                coding(1, &[0.5, 2.0], &[]),
                [0.5, -2.0, 4.0, 6.0],
                Some(vec![1, -1, 8, 3]),
            ),
            ("one scale", coding(0, &[0.5], &[]), [0.5, 1.0, 1.5, -0.5], Some(vec![1, 2, 3, -1])),
            (
                "moved",
                coding(0, &[0.5, 1.0], &[0.25, 1.0]),
                [0.75, 0.25, 1.0, 3.0],
                Some(vec![1, 0, 0, 2]),
            ),
            ("between levels", coding(0, &[0.5], &[]), [0.6, 1.0, 1.5, 0.0], None),
            ("other shape", coding(0, &[0.5, 1.0, 2.0], &[]), [0.5; 4], None),
        ] {
            let found = coding.codes_of(&array(numbers)).map(|codes| codes.codes);
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn as_many_bits_are_needed_as_the_widest_slice_takes() {
        for (codes, expected) in [
            (vec![-1, 1, 1, -1], 1),
            (vec![-1, 0, 1, 0], 2),
            (vec![-2, 1, 0, 0], 2),
            (vec![0, 3, 0, 1], 2),
            (vec![-4, 3, 0, 1], 3),
            (vec![-3, 4, 0, 0], 3),
            (vec![900, 901, 902, 900], 10),
            (vec![-127, 127, 3, 0], 8),
            (vec![0, 255, 3, 0], 8),
            (vec![0, 0, 0, 0], 2),
        ] {
            let numbers: Vec<f32> = codes.iter().map(|&code| code as f32).collect();
            let array = Array::f32(vec![4], numbers);
            let found = coding(0, &[1.0], &[]).codes_of(&array).unwrap();
            assert_eq!(found.least_bits(), expected, "{codes:?}");
        }
    }
}
