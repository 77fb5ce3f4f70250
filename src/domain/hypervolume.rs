//! The hypervolume of a front in two dimensions: one figure for how much of cost and quality a
//! set of policies covers.
//!
//! Source: Zitzler and Thiele 1998, "Multiobjective optimization using evolutionary algorithms".

use crate::domain::pareto_front;

/// The area between a set of points and a reference point, exact.
///
/// A point is (cost, quality): less cost and more quality are better. Points that are not better
/// than the reference in both, or have a NaN, add nothing.
///
/// - `reference`: the dearest cost and the lowest quality that count
/// - returns: at least 0, in units of cost times quality; 0 where nothing counts
pub fn hypervolume(points: &[(f64, f64)], reference: (f64, f64)) -> f64 {
    let (dearest, lowest) = reference;
    let counts = |&(cost, quality): &(f64, f64)| cost < dearest && quality > lowest;
    let inside: Vec<(f64, f64)> = points.iter().copied().filter(counts).collect();
    let front: Vec<(f64, f64)> =
        pareto_front(&inside).into_iter().map(|index| inside[index]).collect();
    let ends = front.iter().skip(1).map(|&(cost, _)| cost).chain([dearest]);
    let steps = front.iter().zip(ends);
    steps.map(|(&(cost, quality), end)| (end - cost) * (quality - lowest)).fold(0.0, |a, b| a + b)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_front_covers_its_steps() {
        let reference = (1.0, 0.0);
        for (points, expected) in [
            (vec![], 0.0),
            (vec![(0.5, 0.8)], 0.4),
            (vec![(0.5, 0.8), (0.25, 0.4)], 0.5),
            (vec![(0.5, 0.8), (0.6, 0.7), (0.5, 0.8)], 0.4),
            (vec![(1.0, 0.9), (0.5, 0.0), (f64::NAN, 0.9), (0.5, f64::NAN)], 0.0),
            (vec![(0.0, 1.0)], 1.0),
        ] {
            let found = hypervolume(&points, reference);
            assert!((found - expected).abs() < 1e-12, "{points:?}: {found}");
        }
    }

    type Cells = Vec<(u8, u8)>;

    fn points(cells: &Cells) -> Vec<(f64, f64)> {
        cells.iter().map(|&(cost, quality)| (cost.into(), quality.into())).collect()
    }

    fn cells() -> impl Strategy<Value = Cells> {
        prop::collection::vec((0u8..16, 0u8..16), 0..24)
    }

    proptest! {
        #[test]
        fn it_is_the_number_of_unit_cells_that_some_point_dominates(cells in cells()) {
            let reference = (12u8, 3u8);
            let covers = |x: u8, y: u8| cells.iter().any(|&(cost, quality)| cost <= x && quality > y);
            let counted = (0..reference.0)
                .flat_map(|x| (reference.1..16).map(move |y| (x, y)))
                .filter(|&(x, y)| covers(x, y))
                .count();
            let found = hypervolume(&points(&cells), (reference.0.into(), reference.1.into()));
            prop_assert_eq!(found, counted as f64);
        }

        #[test]
        fn one_more_point_never_takes_any_and_order_does_not_matter(
            cells in cells(), more in (0u8..16, 0u8..16)
        ) {
            let reference = (16.0, 0.0);
            let before = hypervolume(&points(&cells), reference);
            let mut with: Cells = [vec![more], cells].concat();
            let after = hypervolume(&points(&with), reference);
            prop_assert!(after >= before);
            with.reverse();
            prop_assert_eq!(hypervolume(&points(&with), reference), after);
        }
    }
}
