//! The Pareto front: outcomes that no other beats in both quality and cost.

/// Indices of the points that no other point dominates, by rising cost.
///
/// A point is (cost, quality): less cost and more quality are better. A point dominates
/// another when it is at least as good in both and better in one. Of equal points the
/// first stays. Points with a NaN never stay.
pub fn pareto_front(points: &[(f64, f64)]) -> Vec<usize> {
    let mut order: Vec<usize> =
        (0..points.len()).filter(|&i| !points[i].0.is_nan() && !points[i].1.is_nan()).collect();
    order.sort_by(|&a, &b| {
        let ((cost_a, quality_a), (cost_b, quality_b)) = (points[a], points[b]);
        cost_a.total_cmp(&cost_b).then(quality_b.total_cmp(&quality_a)).then(a.cmp(&b))
    });
    let mut best = f64::NEG_INFINITY;
    order.retain(|&i| {
        let stays = points[i].1 > best;
        best = best.max(points[i].1);
        stays
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dominated_and_repeated_points_leave_the_front() {
        let points =
            [(2.0, 0.9), (1.0, 0.5), (2.0, 0.95), (3.0, 0.95), (1.0, 0.5), (4.0, f64::NAN)];
        assert_eq!(pareto_front(&points), [1, 2]);
    }

    proptest::proptest! {
        #[test]
        fn no_member_is_dominated_and_every_other_point_is(
            points in proptest::collection::vec((0u8..20, 0u8..20), 0..60)
        ) {
            let points: Vec<(f64, f64)> =
                points.iter().map(|&(c, q)| (c.into(), q.into())).collect();
            let front = pareto_front(&points);
            let covers = |a: (f64, f64), b: (f64, f64)| a.0 <= b.0 && a.1 >= b.1;
            for (index, &point) in points.iter().enumerate() {
                let beaten = front.iter().any(|&f| f != index && covers(points[f], point));
                assert_eq!(beaten, !front.contains(&index), "{point:?}");
            }
        }
    }
}
