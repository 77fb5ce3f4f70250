//! First and second moments of the vectors a layer's weights multiply.

use tch::{Kind, Tensor};

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

    /// The diagonal of [`Self::second`].
    pub fn mean_squares(&self, group: usize) -> Vec<f32> {
        let second = self.second(group);
        (0..self.n_columns).map(|i| second[i * self.n_columns + i] as f32).collect()
    }
}

/// Sums up moments batch by batch.
pub struct MomentSums {
    n_groups: usize,
    n_columns: usize,
    n_mean: f64,
    n_second: f64,
    /// `[n_groups, n_columns]`, f64
    mean: Tensor,
    /// `[n_groups, n_columns, n_columns]`, f64
    second: Tensor,
}

impl MomentSums {
    pub fn new(n_groups: usize, n_columns: usize) -> Self {
        let (groups, columns) = (n_groups as i64, n_columns as i64);
        let options = (Kind::Double, tch::Device::Cpu);
        Self {
            n_groups,
            n_columns,
            n_mean: 0.0,
            n_second: 0.0,
            mean: Tensor::zeros([groups, columns], options),
            second: Tensor::zeros([groups, columns, columns], options),
        }
    }

    /// Adds a batch: the mean over all positions, the second moment over every `stride`-th,
    /// starting from `offset`. Neighbouring positions say nearly the same.
    ///
    /// - `vectors`: `[n, n_groups, n_columns, positions]`, f32
    pub fn add(&mut self, vectors: &Tensor, stride: i64, offset: i64) {
        let size = vectors.size();
        let (n, positions) = (size[0], size[3]);
        self.n_mean += (n * positions) as f64;
        self.mean +=
            vectors.sum_dim_intlist([0, 3].as_slice(), false, Kind::Float).to_kind(Kind::Double);
        let picked = if stride > 1 && positions > stride {
            vectors.slice(3, offset % stride, positions, stride)
        } else {
            vectors.shallow_clone()
        };
        self.n_second += (n * picked.size()[3]) as f64;
        let columns =
            picked.permute([1, 2, 0, 3]).reshape([self.n_groups as i64, self.n_columns as i64, -1]);
        self.second += columns.bmm(&columns.transpose(1, 2)).to_kind(Kind::Double);
    }

    pub fn finish(self) -> Moments {
        let to_vec = |sum: Tensor, n: f64| -> Vec<f64> {
            Vec::try_from((sum / n.max(1.0)).contiguous().view(-1)).expect("sums are f64 in memory")
        };
        Moments {
            n_groups: self.n_groups,
            n_columns: self.n_columns,
            mean: to_vec(self.mean, self.n_mean),
            second: to_vec(self.second, self.n_second),
        }
    }
}
