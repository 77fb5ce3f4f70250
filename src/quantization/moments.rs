//! First and second moments of the vectors a layer's weights multiply.

use tch::{Device, Kind, Tensor};

/// `E[x]` and `E[x x']` of a layer's input vectors, one set a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    n_groups: usize,
    n_columns: usize,
    /// `[n_groups, n_columns]`
    mean: Vec<f64>,
    /// `[n_groups, n_columns, n_columns]`
    second: Vec<f64>,
}

impl Moments {
    /// - `mean`: `[n_groups, n_columns]`, `second`: `[n_groups, n_columns, n_columns]`
    ///
    /// # Panics
    /// When the lengths do not fit each other.
    pub fn new(n_groups: usize, mean: Vec<f64>, second: Vec<f64>) -> Self {
        let n_columns = mean.len() / n_groups;
        assert_eq!(second.len(), mean.len() * n_columns, "both moments are of the same vectors");
        Self { n_groups, n_columns, mean, second }
    }

    pub fn n_groups(&self) -> usize {
        self.n_groups
    }

    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// `[n_columns]`
    pub fn mean(&self, group: usize) -> &[f64] {
        &self.mean[group * self.n_columns..(group + 1) * self.n_columns]
    }

    /// Row-major `[n_columns, n_columns]`.
    pub fn second(&self, group: usize) -> &[f64] {
        let size = self.n_columns * self.n_columns;
        &self.second[group * size..(group + 1) * size]
    }

    /// The variance of `weights · x`.
    ///
    /// - `weights`: `[n_columns]`
    pub fn output_variance(&self, group: usize, weights: &[f32]) -> f64 {
        let (second, mean) = (self.second(group), self.mean(group));
        let mut square = 0.0;
        for (row, &weight) in second.chunks(self.n_columns).zip(weights) {
            if weight != 0.0 {
                let product: f64 = row.iter().zip(weights).map(|(h, &w)| h * f64::from(w)).sum();
                square += f64::from(weight) * product;
            }
        }
        let output: f64 = mean.iter().zip(weights).map(|(m, &w)| m * f64::from(w)).sum();
        (square - output * output).max(0.0)
    }

    /// The diagonal of [`Self::second`].
    pub fn mean_squares(&self, group: usize) -> Vec<f32> {
        let second = self.second(group);
        (0..self.n_columns).map(|i| second[i * self.n_columns + i] as f32).collect()
    }
}

/// Sums up second moments batch by batch.
pub struct SecondMomentSum {
    n_groups: i64,
    n_columns: i64,
    n_vectors: i64,
    /// `[n_groups, n_columns, n_columns]`, f64
    sum: Tensor,
}

impl SecondMomentSum {
    pub fn new(n_groups: usize, n_columns: usize) -> Self {
        let (n_groups, n_columns) = (n_groups as i64, n_columns as i64);
        let sum = Tensor::zeros([n_groups, n_columns, n_columns], (Kind::Double, Device::Cpu));
        Self { n_groups, n_columns, n_vectors: 0, sum }
    }

    /// - `vectors`: `[n, n_groups, n_columns, positions]`, f32
    pub fn add(&mut self, vectors: &Tensor) {
        let size = vectors.size();
        self.n_vectors += size[0] * size[3];
        let columns = vectors.permute([1, 2, 0, 3]).reshape([self.n_groups, self.n_columns, -1]);
        self.sum += columns.bmm(&columns.transpose(1, 2)).to_kind(Kind::Double);
    }

    /// `[n_groups, n_columns, n_columns]`, row-major
    pub fn mean(&self) -> Vec<f64> {
        let mean = &self.sum / self.n_vectors.max(1) as f64;
        Vec::try_from(mean.contiguous().view(-1)).expect("a flat f64 tensor is a vector")
    }
}
