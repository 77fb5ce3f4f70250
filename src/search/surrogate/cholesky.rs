//! A symmetric positive matrix as the product of a triangle and its transpose.

/// The lower triangle, row by row, each up to the diagonal. A matrix that grows by a row leaves the
/// rows before it as they are.
#[derive(Debug, Clone, Default)]
pub struct Cholesky(Vec<Vec<f64>>);

impl Cholesky {
    pub fn n_rows(&self) -> usize {
        self.0.len()
    }

    /// The matrix grows by a row and a column.
    ///
    /// - `row`: up to the diagonal, whose element is made positive where rounding left it short of
    ///   that
    pub fn push(&mut self, mut row: Vec<f64>) {
        const LEAST_PIVOT: f64 = 1e-12;
        let last = self.0.len();
        for (j, other) in self.0.iter().enumerate() {
            let known: f64 = row[..j].iter().zip(other).map(|(a, b)| a * b).sum();
            row[j] = (row[j] - known) / other[j];
        }
        let known: f64 = row[..last].iter().map(|a| a * a).sum();
        row[last] = (row[last] - known).max(LEAST_PIVOT).sqrt();
        self.0.push(row);
    }

    /// `x` of `triangle · x = right`, of as many rows as `right` has.
    pub fn solve_lower(&self, right: &[f64]) -> Vec<f64> {
        let mut x = right.to_vec();
        for (i, row) in self.0[..right.len()].iter().enumerate() {
            let known: f64 = row[..i].iter().zip(&x).map(|(a, b)| a * b).sum();
            x[i] = (x[i] - known) / row[i];
        }
        x
    }

    /// `x` of `matrix · x = right`, of as many rows as `right` has.
    pub fn solve(&self, right: &[f64]) -> Vec<f64> {
        let mut x = self.solve_lower(right);
        for i in (0..x.len()).rev() {
            x[i] /= self.0[i][i];
            let value = x[i];
            for (above, factor) in x[..i].iter_mut().zip(&self.0[i]) {
                *above -= factor * value;
            }
        }
        x
    }

    /// Half the logarithm of the determinant of the first rows.
    pub fn half_log_determinant(&self, n_rows: usize) -> f64 {
        self.0[..n_rows].iter().enumerate().map(|(i, row)| row[i].ln()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_solved() {
        // [[4, 2], [2, 5]] · [1, -2] = [0, -8]; the determinant is 16.
        let mut factor = Cholesky::default();
        for row in [vec![4.0], vec![2.0, 5.0], vec![1.0, 1.0, 9.0]] {
            factor.push(row);
        }
        let x = factor.solve(&[0.0, -8.0]);
        assert!((x[0] - 1.0).abs() < 1e-12 && (x[1] + 2.0).abs() < 1e-12, "{x:?}");
        assert!((factor.half_log_determinant(2) - 4f64.ln()).abs() < 1e-12);
    }
}
