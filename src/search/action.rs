//! An action in [0, 1] names a width, and back. Every width owns an equal slice.

use crate::domain::Bits;

/// The width whose slice holds `action`.
///
/// The paper's `round(b_min - 0.5 + a (b_max - b_min + 1))`, written so that it also serves
/// lists with gaps and cannot leave them at the ends.
pub fn bits_of_action(action: f32, widths: &[Bits]) -> Bits {
    let n = widths.len();
    let index = (f64::from(action.clamp(0.0, 1.0)) * n as f64) as usize;
    widths[index.min(n - 1)]
}

/// The middle of the slice of `bits`.
///
/// # Panics
/// When `bits` is not among `widths`.
pub fn action_of_bits(bits: Bits, widths: &[Bits]) -> f32 {
    let index = widths.iter().position(|&b| b == bits).expect("the width was chosen from the list");
    (index as f32 + 0.5) / widths.len() as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::space::tests::widths;

    #[test]
    fn slices_are_equal_and_ends_stay_inside() {
        let all = widths(&[2, 3, 4, 5, 6, 7, 8]);
        for (action, expected) in [
            (0.0, 2),
            (0.142, 2),
            (0.144, 3),
            (0.5, 5),
            (0.857, 7),
            (0.8572, 8),
            (1.0, 8),
            (1.5, 8),
        ] {
            assert_eq!(bits_of_action(action, &all).get(), expected, "{action}");
        }
        assert_eq!(bits_of_action(0.6, &widths(&[2, 4, 8])).get(), 4);
        assert_eq!(bits_of_action(0.6, &widths(&[8])).get(), 8);
    }

    #[test]
    fn every_width_comes_back_from_its_own_action() {
        for list in [&[1u8, 2, 3][..], &[2, 4, 8], &[8], &[1, 2, 3, 4, 5, 6, 7, 8]] {
            let list = widths(list);
            for &bits in &list {
                assert_eq!(bits_of_action(action_of_bits(bits, &list), &list), bits);
            }
        }
    }
}
