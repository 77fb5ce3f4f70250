//! One batch norm while its layer is trained: gain and offset are learned, the running statistics
//! follow the batches.
//!
//! Source: Ioffe and Szegedy 2015, algorithms 1 and 2.

use tch::{Kind, TchError, Tensor};

use crate::{
    network::FoldedNorm,
    quantization::training::{
        descent::{Bound, Variable},
        settings::BatchNormTraining,
        state::{Pass, State},
    },
};

/// What one batch counts in the running statistics: PyTorch's default.
const NORM_RATE: f64 = 0.1;

/// A gain never falls below this share of its start: it stays above 0.
const LOWEST_SHARE: f64 = 0.01;

/// A gain below this is a dead channel's.
const SMALLEST_GAIN: f64 = 1e-6;

/// Where a batch norm's numbers stand in the state. Holds no tensor, so threads share it.
#[derive(Debug)]
pub struct TrainedNorm {
    pub treatment: BatchNormTraining,
    gain_at: usize,
    offset_at: usize,
    mean_at: usize,
    variance_at: usize,
    epsilon: f64,
}

impl TrainedNorm {
    /// Adds the norm's numbers to the state; also gives the slope it starts with, above 0.
    ///
    /// Channels with a negative gain are turned around: their weights change sign instead.
    pub fn new(
        norm: &FoldedNorm,
        treatment: BatchNormTraining,
        folded_bias: &Tensor,
        name: &str,
        state: &mut State,
    ) -> (Self, Tensor) {
        let vector = |numbers: &[f32]| Tensor::from_slice(numbers).to_kind(Kind::Double);
        let gain = vector(&norm.gain);
        let turned = gain.ge(0.0).to_kind(Kind::Double) * 2.0 - 1.0;
        let gain = gain.abs().clamp_min(SMALLEST_GAIN);
        let variance = vector(&norm.variance);
        let slope = &gain / (&variance + f64::from(norm.epsilon)).sqrt();
        // Of the product alone, without the layer's own bias.
        let mean = (vector(&norm.mean) - vector(&norm.bias)) * turned;
        let offset = folded_bias.to_kind(Kind::Double) + &slope * &mean;
        let single = |tensor: &Tensor| tensor.to_kind(Kind::Float);
        let mut of_gain = Variable::new(format!("{name}.norm.gain"), single(&gain));
        of_gain.bound = Bound::AtLeast(single(&(&gain * LOWEST_SHARE)));
        let of_offset = Variable::new(format!("{name}.norm.offset"), single(&offset));
        let mut statistic = |what: &str, value: &Tensor| {
            state.add_statistic(format!("{name}.norm.{what}"), single(value), NORM_RATE)
        };
        let (mean_at, variance_at) = (statistic("mean", &mean), statistic("variance", &variance));
        let trained = Self {
            treatment,
            gain_at: state.add(of_gain),
            offset_at: state.add(of_offset),
            mean_at,
            variance_at,
            epsilon: norm.epsilon.into(),
        };
        (trained, single(&slope))
    }

    /// Running mean and variance.
    pub fn running(&self, pass: &Pass) -> (Tensor, Tensor) {
        let of = |at: usize| pass.statistics[at].shallow_clone();
        (of(self.mean_at), of(self.variance_at))
    }

    /// Slope and shift of each channel for these statistics.
    ///
    /// # Errors
    /// When libtorch cannot.
    pub fn affine(
        &self,
        mean: &Tensor,
        variance: &Tensor,
        pass: &Pass,
    ) -> Result<(Tensor, Tensor), TchError> {
        let (gain, offset) = (&pass.values[self.gain_at], &pass.values[self.offset_at]);
        let slope = gain.f_div(&variance.f_add_scalar(self.epsilon)?.f_sqrt()?)?;
        let shift = offset.f_sub(&slope.f_mul(mean)?)?;
        Ok((slope, shift))
    }

    /// Normalizes a product as this pass does, and notes its statistics.
    ///
    /// # Errors
    /// When libtorch cannot.
    pub fn run(&self, product: &Tensor, pass: &Pass) -> Result<Tensor, TchError> {
        let (gain, offset) = (&pass.values[self.gain_at], &pass.values[self.offset_at]);
        let follows = pass.phase.norms_follow_batches;
        let (mean, variance) = match follows {
            // A rate of 1 leaves the batch's own statistics in them.
            true => (gain.detach().zeros_like(), gain.detach().ones_like()),
            false => self.running(pass),
        };
        let rate = if follows { 1.0 } else { 0.0 };
        let output = product.f_batch_norm(
            Some(gain),
            Some(offset),
            Some(&mean),
            Some(&variance),
            follows,
            rate,
            self.epsilon,
            false,
        )?;
        if follows {
            pass.observe(self.mean_at, &mean);
            pass.observe(self.variance_at, &variance);
        }
        Ok(output)
    }

    /// Mean and variance of a product over images and places; gradients pass.
    ///
    /// # Errors
    /// When libtorch cannot.
    pub fn moments(&self, product: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor), TchError> {
        let axes: Vec<i64> = (0..product.dim() as i64).filter(|&axis| axis != 1).collect();
        let n: i64 = axes.iter().map(|&axis| product.size()[axis as usize]).product();
        let mean = product.f_mean_dim(axes.as_slice(), false, None::<Kind>)?;
        let variance = product.f_var_dim(axes.as_slice(), false, false)?;
        pass.observe(self.mean_at, &mean);
        let unbiased = variance.detach() * (n as f64 / (n - 1).max(1) as f64);
        pass.observe(self.variance_at, &unbiased);
        Ok((mean, variance))
    }
}
