//! Levenberg-Marquardt for a handful of parameters, with a numeric Jacobian.
//!
//! Source: Marquardt, SIAM J. Appl. Math. 11 (1963).

/// Step of the numeric derivative; parameters are logarithms, so this is a relative change.
const STEP: f64 = 1e-4;
const ITERATIONS: usize = 200;

/// The parameters near `start` with the least sum of squared errors found.
pub(super) fn least_squares(start: &[f64], errors: &impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let mut best = start.to_vec();
    let mut residuals = errors(&best);
    let mut damping = 1e-2;
    for _ in 0..ITERATIONS {
        let jacobian = jacobian(&best, errors);
        let step = damped_step(&jacobian, &residuals, damping);
        let moved: Vec<f64> = best
            .iter()
            .zip(&step)
            // Far jumps leave the region the derivative speaks for.
            .map(|(value, step)| (value + step.clamp(-1.0, 1.0)).clamp(-100.0, 100.0))
            .collect();
        let new = errors(&moved);
        let (old_sum, new_sum) = (squares(&residuals), squares(&new));
        if new_sum < old_sum {
            let done = old_sum - new_sum <= 1e-12 * old_sum;
            (best, residuals, damping) = (moved, new, (damping / 3.0).max(1e-12));
            if done {
                break;
            }
        } else if damping > 1e9 {
            break;
        } else {
            damping *= 4.0;
        }
    }
    best
}

/// Whether any error changes with a parameter.
pub(super) fn matters(
    values: &[f64],
    parameter: usize,
    errors: &impl Fn(&[f64]) -> Vec<f64>,
) -> bool {
    let shifted = |by: f64| {
        let mut values = values.to_vec();
        values[parameter] += by;
        errors(&values)
    };
    let change: f64 = shifted(-0.01).iter().zip(shifted(0.01)).map(|(a, b)| (a - b).abs()).sum();
    change > 1e-9
}

fn squares(errors: &[f64]) -> f64 {
    errors.iter().map(|error| error * error).sum()
}

/// `[parameter][error]`
fn jacobian(values: &[f64], errors: &impl Fn(&[f64]) -> Vec<f64>) -> Vec<Vec<f64>> {
    let column = |parameter: usize| {
        let shifted = |by: f64| {
            let mut values = values.to_vec();
            values[parameter] += by;
            errors(&values)
        };
        let (up, down) = (shifted(STEP), shifted(-STEP));
        up.iter().zip(down).map(|(up, down)| (up - down) / (2.0 * STEP)).collect()
    };
    (0..values.len()).map(column).collect()
}

/// Solves `(JᵀJ + damping·(diag(JᵀJ) + 1e-12)) step = -Jᵀe`.
fn damped_step(jacobian: &[Vec<f64>], errors: &[f64], damping: f64) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let n = jacobian.len();
    let mut system: Vec<Vec<f64>> = (0..n)
        .map(|row| {
            let mut line: Vec<f64> =
                (0..n).map(|column| dot(&jacobian[row], &jacobian[column])).collect();
            line[row] += damping * (line[row] + 1e-12) + 1e-300;
            line.push(-dot(&jacobian[row], errors));
            line
        })
        .collect();
    // Gaussian elimination with pivots; the system is positive definite.
    for column in 0..n {
        let pivot = (column..n)
            .max_by(|a, b| system[*a][column].abs().total_cmp(&system[*b][column].abs()))
            .expect("there is at least one row");
        system.swap(column, pivot);
        for row in column + 1..n {
            let factor = system[row][column] / system[column][column];
            let (above, below) = system.split_at_mut(row);
            for (entry, above) in below[0].iter_mut().zip(&above[column]).skip(column) {
                *entry -= factor * above;
            }
        }
    }
    let mut step = vec![0.0; n];
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|column| system[row][column] * step[column]).sum();
        let value = (system[row][n] - known) / system[row][row];
        step[row] = if value.is_finite() { value } else { 0.0 };
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_that_fits_exactly_is_found() {
        let truth = [0.7, -1.3];
        let curve = |values: &[f64], x: f64| values[0].exp() * x + values[1].exp();
        let errors = |values: &[f64]| -> Vec<f64> {
            (1..6).map(|x| curve(values, x as f64) / curve(&truth, x as f64) - 1.0).collect()
        };
        let found = least_squares(&[0.0, 0.0], &errors);
        for (found, truth) in found.iter().zip(truth) {
            assert!((found - truth).abs() < 1e-6, "{found} {truth}");
        }
    }

    #[test]
    fn a_parameter_nothing_depends_on_does_not_matter() {
        let errors = |values: &[f64]| vec![values[0], values[0] * 2.0];
        assert!(matters(&[1.0, 1.0], 0, &errors));
        assert!(!matters(&[1.0, 1.0], 1, &errors));
    }
}
