//! One segment while it is learned: its variables, its loss, and what becomes of them.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

use crate::{
    network::{Executable, Node, TensorId},
    quantization::{
        error::QuantizationError,
        layer_matrix::WeightRows,
        reconstruction::{
            Segment, activation_step::ActivationStep, adam::Adam, random,
            settings::ReconstructionSettings, soft_rounding::SoftRounding,
        },
    },
};

/// What a segment learns from; the first axis of each tensor runs over the images.
pub struct Lessons {
    /// The segment's input in the float network.
    pub float_input: Tensor,
    /// Its input in the rounded network.
    pub rounded_input: Tensor,
    /// Its output in the float network.
    pub target: Tensor,
    /// How much each number of the output counts; 1 where absent.
    pub weight: Option<Tensor>,
}

/// The variables of one layer.
pub struct LearnedLayer<'a> {
    pub weight: TensorId,
    pub rows: &'a WeightRows,
    /// Absent where the weights stay as they are.
    pub rounding: Option<SoftRounding>,
    pub bias: Option<(TensorId, Tensor)>,
}

/// The variables of one segment.
pub struct Learned<'a> {
    pub segment: &'a Segment,
    pub layers: Vec<LearnedLayer<'a>>,
    /// By the tensor that a rounding node writes.
    pub steps: BTreeMap<TensorId, ActivationStep>,
}

impl Learned<'_> {
    /// Runs all steps of Adam.
    ///
    /// - `executable`: the rounded network
    /// - `index`: which of the segments this is
    ///
    /// # Errors
    /// When the network does not run, or gives numbers that are not finite.
    pub fn learn(
        &self,
        executable: &Executable,
        lessons: &Lessons,
        index: usize,
        settings: &ReconstructionSettings,
    ) -> Result<(), QuantizationError> {
        let mut adam = Adam::new(self.parameters(&lessons.target, settings));
        let n_images = lessons.target.size()[0] as usize;
        for step in 0..settings.iterations {
            let mut rng = random::rng(settings.seed, index, step);
            let picked = random::pick(&mut rng, settings.batch, n_images);
            let of = |values: &Tensor| values.index_select(0, &picked);
            let mut input = of(&lessons.rounded_input);
            if settings.drop > 0.0 {
                let float = of(&lessons.float_input);
                input = mixed(&mut rng, &float, &input, settings.drop);
            }
            let weights: Vec<Option<Tensor>> =
                self.layers.iter().map(|layer| layer.soft_weight()).collect();
            let output = self.run(executable, &input, &weights, Some((&mut rng, settings.drop)))?;
            let weight = lessons.weight.as_ref().map(of);
            let mut loss = output_error(&output, &of(&lessons.target), weight.as_ref());
            if let Some(beta) = settings.beta_at(step) {
                let roundings = self.layers.iter().filter_map(|layer| layer.rounding.as_ref());
                for rounding in roundings {
                    loss = loss + rounding.undecided(beta) * settings.regularization;
                }
            }
            adam.descend(&loss)?;
        }
        Ok(())
    }

    /// Every variable with its learning rate.
    fn parameters(&self, target: &Tensor, settings: &ReconstructionSettings) -> Vec<(Tensor, f64)> {
        let spread = target.std(true).double_value(&[]).max(f64::MIN_POSITIVE);
        let mut parameters = Vec::new();
        for layer in &self.layers {
            if let Some(rounding) = &layer.rounding {
                parameters.push((rounding.v.shallow_clone(), settings.rounding_rate));
            }
            if let Some((_, bias)) = &layer.bias {
                parameters.push((bias.shallow_clone(), settings.bias_rate * spread));
            }
        }
        let steps = self.steps.values();
        parameters.extend(steps.map(|step| (step.log.shallow_clone(), settings.step_rate)));
        parameters
    }

    /// The segment's output; `drop` leaves activations unrounded with a chance.
    fn run(
        &self,
        executable: &Executable,
        input: &Tensor,
        weights: &[Option<Tensor>],
        mut drop: Option<(&mut ChaCha8Rng, f64)>,
    ) -> Result<Tensor, QuantizationError> {
        let mut fed = vec![(self.segment.input, input)];
        for (layer, weight) in self.layers.iter().zip(weights) {
            fed.extend(weight.as_ref().map(|weight| (layer.weight, weight)));
            fed.extend(layer.bias.as_ref().map(|(id, bias)| (*id, bias)));
        }
        let mut replace = |node: &Node, inputs: &[Option<&Tensor>]| {
            let Some(step) = self.steps.get(&node.output) else { return Ok(None) };
            let x = inputs[0].expect("a rounding node reads a tensor");
            let rounded = step.round(x)?;
            Ok(Some(match &mut drop {
                Some((rng, chance)) if *chance > 0.0 => mixed(rng, x, &rounded, *chance),
                _ => rounded,
            }))
        };
        let outputs = executable.run_recorded(&fed, &[self.segment.output], &mut replace);
        Ok(outputs?.swap_remove(0))
    }

    /// The error over all images with every rounding decided, per image.
    pub fn decided_error(
        &self,
        executable: &Executable,
        lessons: &Lessons,
        batch: usize,
    ) -> Result<f64, QuantizationError> {
        let _no_grad = tch::no_grad_guard();
        let weights: Vec<Option<Tensor>> =
            self.layers.iter().map(|layer| layer.decided_weight()).collect();
        let (n, mut total) = (lessons.target.size()[0], 0.0);
        for start in (0..n).step_by(batch) {
            let length = (batch as i64).min(n - start);
            let of = |values: &Tensor| values.narrow(0, start, length);
            let output = self.run(executable, &of(&lessons.rounded_input), &weights, None)?;
            let weight = lessons.weight.as_ref().map(of);
            let error = output_error(&output, &of(&lessons.target), weight.as_ref());
            total += error.double_value(&[]) * length as f64;
        }
        Ok(total / n as f64)
    }
}

impl LearnedLayer<'_> {
    fn soft_weight(&self) -> Option<Tensor> {
        self.rounding.as_ref().map(|rounding| self.rows.to_layout(&rounding.soft()))
    }

    pub fn decided_weight(&self) -> Option<Tensor> {
        self.rounding.as_ref().map(|rounding| self.rows.to_layout(&rounding.decided()))
    }
}

/// Squared error, summed over channels and averaged over images and places.
///
/// - `weight`: of the output's shape
pub fn output_error(output: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Tensor {
    let channels = if output.dim() > 1 { output.size()[1] } else { 1 };
    let square = (output - target).square();
    let square = weight.map_or(square.shallow_clone(), |weight| square * weight);
    square.mean(Kind::Float) * channels as f64
}

/// Numbers of `float` with the given chance, else of `rounded`.
fn mixed(rng: &mut ChaCha8Rng, float: &Tensor, rounded: &Tensor, chance: f64) -> Tensor {
    let mask = random::mask(rng, &float.size(), chance, float.device());
    float.where_self(&mask, rounded)
}
