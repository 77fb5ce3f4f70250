//! A symmetric positive matrix as the product of a triangle and its transpose.

/// The lower triangle, row by row, each up to the diagonal.
pub struct Cholesky(Vec<Vec<f64>>);

impl Cholesky {
    /// - `lower`: the matrix's lower triangle, row by row; made positive where rounding left it
    ///   short of that
    pub fn of(mut lower: Vec<Vec<f64>>) -> Self {
        const LEAST_PIVOT: f64 = 1e-12;
        for i in 0..lower.len() {
            let (above, rest) = lower.split_at_mut(i);
            let row = &mut rest[0];
            for (j, other) in above.iter().enumerate() {
                let known: f64 = row[..j].iter().zip(other).map(|(a, b)| a * b).sum();
                row[j] = (row[j] - known) / other[j];
            }
            let known: f64 = row[..i].iter().map(|a| a * a).sum();
            row[i] = (row[i] - known).max(LEAST_PIVOT).sqrt();
        }
        Self(lower)
    }

    /// `x` of `triangle · x = right`.
    pub fn solve_lower(&self, right: &[f64]) -> Vec<f64> {
        let mut x = right.to_vec();
        for (i, row) in self.0.iter().enumerate() {
            let known: f64 = row[..i].iter().zip(&x).map(|(a, b)| a * b).sum();
            x[i] = (x[i] - known) / row[i];
        }
        x
    }

    /// `x` of `matrix · x = right`.
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

    /// Half the logarithm of the determinant.
    pub fn half_log_determinant(&self) -> f64 {
        self.0.iter().enumerate().map(|(i, row)| row[i].ln()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_solved() {
        // [[4, 2], [2, 5]] · [1, -2] = [0, -8]; the determinant is 16.
        let factor = Cholesky::of(vec![vec![4.0], vec![2.0, 5.0]]);
        let x = factor.solve(&[0.0, -8.0]);
        assert!((x[0] - 1.0).abs() < 1e-12 && (x[1] + 2.0).abs() < 1e-12, "{x:?}");
        assert!((factor.half_log_determinant() - 4f64.ln()).abs() < 1e-12);
    }
}
