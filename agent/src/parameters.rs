//! All weights of one network in a single flat tensor.
//!
//! Optimizer, soft update and checkpoint each touch a network as one vector; only the forward pass sees layers,
//! through views into the same memory.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

/// A fully connected layer's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinearShape {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

impl LinearShape {
    pub(crate) const fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs }
    }

    const fn n_weights(self) -> usize {
        self.inputs * self.outputs
    }

    /// Weights and biases together.
    pub(crate) const fn n_parameters(self) -> usize {
        self.n_weights() + self.outputs
    }
}

/// The weights of a stack of linear layers.
#[derive(Debug)]
pub(crate) struct Parameters {
    /// Each layer's weight `[outputs, inputs]`, then its bias `[outputs]`: PyTorch's `parameters()` order.
    flat: Tensor,
    /// Weight, bias, weight, bias …: views into `flat`, each a leaf of the gradient's graph.
    views: Vec<Tensor>,
    /// Where gradients are gathered: as long as `flat`, empty for a target.
    gradient: Tensor,
}

/// Whether gradients will be asked of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Trained,
    Target,
}

impl Parameters {
    /// `values` are as many as the shapes hold.
    pub(crate) fn new(values: &[f32], shapes: &[LinearShape], role: Role) -> Self {
        assert_eq!(values.len(), shapes.iter().map(|shape| shape.n_parameters()).sum::<usize>());
        let flat = Tensor::from_slice(values);
        let mut views = Vec::with_capacity(2 * shapes.len());
        let mut start = 0;
        for shape in shapes {
            let (inputs, outputs) = (shape.inputs as i64, shape.outputs as i64);
            for size in [vec![outputs, inputs], vec![outputs]] {
                let len = size.iter().product();
                let view = flat.narrow(0, start, len).view(size.as_slice()).detach();
                views.push(view.set_requires_grad(role == Role::Trained));
                start += len;
            }
        }
        let n_gradient = if role == Role::Trained { flat.numel() as i64 } else { 0 };
        let gradient = flat.new_zeros([n_gradient], (flat.kind(), flat.device()));
        Self { flat, views, gradient }
    }

    /// Applies layer `index` to `[batch, inputs]`.
    pub(crate) fn linear(&self, index: usize, input: &Tensor) -> Tensor {
        input.linear(&self.views[2 * index], Some(&self.views[2 * index + 1]))
    }

    /// The gradient of a scalar, in the order of the flat tensor. Other networks in its graph get none.
    pub(crate) fn gradient(&self, loss: &Tensor) -> Tensor {
        let gradients = Tensor::run_backward(&[loss], &self.views, false, false);
        let flattened: Vec<Tensor> = gradients.iter().map(|g| g.reshape([-1])).collect();
        Tensor::cat_out(&self.gradient, &flattened, 0)
    }

    pub(crate) fn flat(&self) -> &Tensor {
        &self.flat
    }

    pub(crate) fn flat_mut(&mut self) -> &mut Tensor {
        &mut self.flat
    }

    pub(crate) fn to_vec(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.flat.numel()];
        self.flat.copy_data(&mut values, self.flat.numel());
        values
    }
}

/// Weights and biases from U(−1/√inputs, 1/√inputs), the framework default that HAQ's released code keeps.
pub(crate) fn uniform_fan_in(shapes: &[LinearShape], rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut values = Vec::with_capacity(shapes.iter().map(|shape| shape.n_parameters()).sum());
    for shape in shapes {
        let limit = 1.0 / (shape.inputs as f32).sqrt();
        values.extend((0..shape.n_parameters()).map(|_| rng.random_range(-limit..=limit)));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn initial_weights_fill_the_interval_of_their_fan_in() {
        let shapes = [LinearShape::new(4, 500), LinearShape::new(100, 50)];
        let values = uniform_fan_in(&shapes, &mut Stream::InitialWeights.rng(1, 0));
        let (first, second) = values.split_at(shapes[0].n_parameters());
        for (values, limit) in [(first, 0.5_f32), (second, 0.1)] {
            let max = values.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
            let variance = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
            assert!(max <= limit && max > 0.99 * limit, "{max} of {limit}");
            assert!(
                (variance / (limit * limit / 3.0) - 1.0).abs() < 0.05,
                "{variance} for {limit}"
            );
        }
    }

    #[test]
    fn a_change_of_the_flat_tensor_reaches_the_layers() {
        let shape = LinearShape::new(2, 1);
        let mut parameters = Parameters::new(&[1.0, 2.0, 3.0], &[shape], Role::Trained);
        let input = Tensor::from_slice(&[10.0_f32, 100.0]).view([1, 2]);
        assert_eq!(parameters.linear(0, &input).double_value(&[0, 0]), 213.0);
        parameters.flat_mut().copy_(&Tensor::from_slice(&[2.0_f32, 3.0, 4.0]));
        assert_eq!(parameters.linear(0, &input).double_value(&[0, 0]), 324.0);
        let gradient = parameters.gradient(&parameters.linear(0, &input).sum(tch::Kind::Float));
        assert_eq!(Vec::<f32>::try_from(&gradient).unwrap(), [10.0, 100.0, 1.0]);
    }
}
