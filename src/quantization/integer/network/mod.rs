//! A whole network on integers: the image becomes codes once, and floats come back only as
//! logits.
//!
//! Every operation that computes makes 32-bit sums whose unit is known per channel; rounding to
//! a grid is one fixed-point multiplication, with ReLU and clips as bounds. The float network
//! with roundings at the same places comes along, so that the two can be compared.
//!
//! Source: Jacob et al. 2018, section 2.

mod addition;
mod compile;
mod layer;
mod movement;
mod points;
mod pool;
mod reference;
mod steps;
mod value;

use std::collections::BTreeMap;

use tch::Tensor;

use self::{
    compile::Compiler,
    reference::Reference,
    steps::Step,
    value::{Form, Value, channels_of},
};
pub use compile::KernelChoice;
pub use points::with_integer_points;
pub use steps::IntegerWorkspace;

use crate::{
    network::{Executable, Graph, NetworkError, TensorId},
    quantization::{
        clip::RangeRule, error::QuantizationError, integer::IntegerError, uniform::WeightGrid,
    },
};

/// A network compiled to integers.
#[derive(Debug)]
pub struct IntegerNetwork {
    reference: Reference,
    steps: Vec<Step>,
    output: Value,
    n_image: usize,
}

impl IntegerNetwork {
    /// Compiles a network whose tensors have grids.
    ///
    /// - `graph`: folded; rounds in front of whatever computes, as [`with_integer_points`] makes
    ///   it; every weight is a level of its grid
    /// - `grids`: by what a layer writes, the grids of its weights, one an output channel
    /// - `image`: the shape of one image, without the batch axis
    ///
    /// # Errors
    /// When an operation has no integer form, a weight is off its grid, or a sum could need
    /// more than 32 bits.
    pub fn compile(
        graph: &Graph,
        grids: &WeightGrids,
        image: &[usize],
        kernels: KernelChoice,
    ) -> Result<Self, QuantizationError> {
        Compiler::compile(graph, grids, image, kernels)
    }

    /// Compiles a network that rounds what its layers read; tensors that no layer reads get 8 bits.
    ///
    /// - `quantized`: folded, every weight a level of its grid
    /// - `images`: for the ranges of these tensors, `[n, ...]`
    /// - `rule`: how these ranges are chosen
    ///
    /// # Errors
    /// As [`with_integer_points`] and [`IntegerNetwork::compile`].
    pub fn of_quantized(
        quantized: Graph,
        grids: &WeightGrids,
        images: &Tensor,
        rule: RangeRule,
        kernels: KernelChoice,
    ) -> Result<Self, QuantizationError> {
        let graph = with_integer_points(quantized, images, rule)?;
        let image: Vec<usize> = images.size()[1..].iter().map(|&n| n as usize).collect();
        Self::compile(&graph, grids, &image, kernels)
    }

    /// The float network that rounds where the integers do, with their weights and biases.
    pub fn fake_quantized(&self) -> &Graph {
        &self.reference.graph
    }

    /// That network in double precision; it rounds in the two steps of the fixed-point rules.
    ///
    /// # Errors
    /// When its constants cannot be placed.
    pub fn reference(&self) -> Result<Executable, NetworkError> {
        self.reference.executable()
    }

    /// Outputs of [`IntegerNetwork::reference`] for a batch, f32.
    ///
    /// # Errors
    /// As [`Executable::run`].
    pub fn run_reference(
        &self,
        reference: &Executable,
        images: &Tensor,
    ) -> Result<Tensor, NetworkError> {
        self.reference.run(reference, images)
    }

    /// Logits of one image, row-major.
    ///
    /// - `image`: images with channels last, `[height, width, channels]`; others row-major
    ///
    /// # Errors
    /// When the image has another size.
    pub fn run(
        &self,
        image: &[f32],
        workspace: &mut IntegerWorkspace,
    ) -> Result<Vec<f32>, IntegerError> {
        if image.len() != self.n_image {
            let (found, expected) = (image.len(), self.n_image);
            return Err(IntegerError::Length { what: "image", found, expected });
        }
        workspace.prepare(&self.steps);
        for step in &self.steps {
            workspace.take(step, image)?;
        }
        Ok(self.logits(workspace))
    }

    fn logits(&self, workspace: &IntegerWorkspace) -> Vec<f32> {
        let real: Vec<f32> = match &self.output.form {
            Form::Sums { slot, sums } => {
                let channels = sums.channels.iter().cycle();
                let real = |(&sum, channel): (&i32, &value::SumChannel)| {
                    let [low, high] = sums.clip;
                    (f64::from(sum) * channel.scale).max(low).min(high) as f32
                };
                workspace.sums[*slot].iter().zip(channels).map(real).collect()
            }
            Form::Codes { slot, grid } => by_code(&workspace.codes[*slot], &grid.values()),
            Form::Function { slot, values } => by_code(&workspace.codes[*slot], values),
            Form::Image { .. } => unreachable!("an image as output was refused"),
        };
        let channels = match self.output.shape.len() {
            4 => channels_of(&self.output.shape),
            _ => return real,
        };
        let places = real.len() / channels;
        (0..real.len()).map(|i| real[i % places * channels + i / places]).collect()
    }
}

fn by_code(codes: &[u8], values: &[f64]) -> Vec<f32> {
    codes.iter().map(|&code| values[usize::from(code)] as f32).collect()
}

/// The weights' grids of a network's layers, by what the layer writes, one an output channel.
pub type WeightGrids = BTreeMap<TensorId, Vec<WeightGrid>>;

#[cfg(test)]
mod tests;
