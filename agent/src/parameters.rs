//! All weights of one network in a single flat tensor.
//!
//! Optimizer, soft update and checkpoint each touch a network as one vector; only the forward pass sees layers,
//! through views into the same memory.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

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
    layers: Vec<LinearViews>,
}

/// Views of one layer into a flat tensor.
#[derive(Debug)]
pub(crate) struct LinearViews {
    /// `[outputs, inputs]`
    pub(crate) weight: Tensor,
    /// `[outputs]`
    pub(crate) bias: Tensor,
}

impl Parameters {
    /// `values` are as many as the shapes hold.
    pub(crate) fn new(values: &[f32], shapes: &[LinearShape]) -> Self {
        assert_eq!(values.len(), shapes.iter().map(|shape| shape.n_parameters()).sum::<usize>());
        let flat = Tensor::from_slice(values);
        let mut start = 0;
        let mut view = |size: &[i64]| {
            let len = size.iter().product();
            start += len;
            flat.narrow(0, start - len, len).view(size)
        };
        let of_shape = |shape: &LinearShape| {
            let (inputs, outputs) = (shape.inputs as i64, shape.outputs as i64);
            LinearViews { weight: view(&[outputs, inputs]), bias: view(&[outputs]) }
        };
        let layers = shapes.iter().map(of_shape).collect();
        Self { flat, layers }
    }

    pub(crate) fn zeros(shapes: &[LinearShape]) -> Self {
        let n = shapes.iter().map(|shape| shape.n_parameters()).sum();
        Self::new(&vec![0.0; n], shapes)
    }

    pub(crate) fn layer(&self, index: usize) -> &LinearViews {
        &self.layers[index]
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

impl LinearViews {
    /// - `input`: `[batch, inputs]`
    /// - returns: `[batch, outputs]`
    pub(crate) fn forward(&self, input: &Tensor) -> Tensor {
        input.linear(&self.weight, Some(&self.bias))
    }

    /// What a loss loses by the layer's input, from what it loses by its output.
    pub(crate) fn backward(&self, output_gradient: &Tensor) -> Tensor {
        output_gradient.mm(&self.weight)
    }

    /// Overwrites weight and bias by the loss's gradient of them, taken of a layer that read `input`.
    pub(crate) fn set_gradient(&self, input: &Tensor, output_gradient: &Tensor) {
        let _ = output_gradient.tr().mm_out(&self.weight, input);
        let _ = output_gradient.sum_intlist_out(&self.bias, 0_i64, false, Kind::Float);
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
        let shapes = [LinearShape::new(2, 1)];
        let mut parameters = Parameters::new(&[1.0, 2.0, 3.0], &shapes);
        let input = Tensor::from_slice(&[10.0_f32, 100.0]).view([1, 2]);
        let output =
            |parameters: &Parameters| parameters.layer(0).forward(&input).double_value(&[0, 0]);
        assert_eq!(output(&parameters), 213.0);
        parameters.flat_mut().copy_(&Tensor::from_slice(&[2.0_f32, 3.0, 4.0]));
        assert_eq!(output(&parameters), 324.0);

        let output_gradient = Tensor::from_slice(&[1.0_f32, 2.0]).view([2, 1]);
        let inputs = Tensor::from_slice(&[10.0_f32, 100.0, 1.0, 0.0]).view([2, 2]);
        let gradient = Parameters::zeros(&shapes);
        gradient.layer(0).set_gradient(&inputs, &output_gradient);
        assert_eq!(gradient.to_vec(), [12.0, 100.0, 3.0]);
        let by_input = parameters.layer(0).backward(&output_gradient);
        assert_eq!(Vec::<f32>::try_from(by_input.view(-1)).unwrap(), [2.0, 3.0, 4.0, 6.0]);
    }
}
