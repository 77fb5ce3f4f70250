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
        let parameters = self.parameters(&lessons.target, settings);
        if parameters.is_empty() {
            return Ok(());
        }
        let mut adam = Adam::new(parameters);
        let n_images = lessons.target.size()[0] as usize;
        for step in 0..settings.iterations {
            let mut rng = random::rng(settings.seed, index, step);
            let picked = random::pick(&mut rng, settings.batch.max(1), n_images);
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
                    loss += rounding.undecided(beta) * settings.regularization;
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

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use tch::Device;

    use super::*;
    use crate::{
        domain::Bits,
        network::{Array, Graph, Op},
        quantization::{
            quantized_network::RoundedWeights, reconstruction::RoundingStart, uniform::WeightGrid,
        },
    };

    /// Made by tests/reference/make_reconstruction_reference.py.
    const REFERENCE: &str = include_str!("../../../tests/reference/reconstruction.json");

    #[derive(Deserialize)]
    struct Reference {
        adaround: Case,
    }

    #[derive(Deserialize)]
    struct Case {
        scales: Vec<f32>,
        weights: Vec<f32>,
        inputs: Vec<f32>,
        bias: Vec<f32>,
        target: Vec<f32>,
        beta: f64,
        regularization: f64,
        v: Vec<f64>,
        loss: f64,
        gradient: Vec<f64>,
    }

    fn matrix(values: &[f32], n_rows: usize) -> Tensor {
        Tensor::from_slice(values).view([n_rows as i64, -1])
    }

    #[test]
    fn one_step_of_learned_rounding_equals_the_reference() {
        let case = serde_json::from_str::<Reference>(REFERENCE).unwrap().adaround;
        let (mut graph, x) = Graph::sketch(&[0, 5]);
        let in_by_out = matrix(&case.weights, 3).tr();
        let weight = graph.hold("w", Array::from_tensor(&in_by_out).unwrap());
        let bias = graph.hold("b", Array::f32(vec![3], case.bias.clone()));
        let product = graph.draw(Op::MatMul, &[x, weight, bias]);
        let output = graph.draw(Op::Relu, &[product]);
        let rows = WeightRows::of(&graph, &graph.quantizable_layers()[0]);
        let grids: Vec<WeightGrid> =
            case.scales.iter().map(|&s| WeightGrid::new(Bits::new(3).unwrap(), s)).collect();
        let rounded = RoundedWeights { values: rows.values.clone(), grids, codebook: Vec::new() };
        let rounding = SoftRounding::new(&rows, &rounded, RoundingStart::Fraction);
        let v: Vec<f32> = Vec::try_from(rounding.v.detach().view(-1)).unwrap();
        let segment = Segment { input: x, output, layers: vec![0] };
        let layer = LearnedLayer { weight, rows: &rows, rounding: Some(rounding), bias: None };
        let learned = Learned { segment: &segment, layers: vec![layer], steps: BTreeMap::new() };

        let executable = Executable::new(&graph, Device::Cpu).unwrap();
        let soft = [learned.layers[0].soft_weight()];
        let found = learned.run(&executable, &matrix(&case.inputs, 8), &soft, None).unwrap();
        let rounding = learned.layers[0].rounding.as_ref().unwrap();
        let loss = output_error(&found, &matrix(&case.target, 8), None)
            + rounding.undecided(case.beta) * case.regularization;
        loss.backward();

        let close = |found: f64, expected: f64, what: &str| {
            assert!(
                (found - expected).abs() < 2e-4 * (1.0 + expected.abs()),
                "{what}: {found} {expected}"
            );
        };
        close(loss.double_value(&[]), case.loss, "loss");
        let gradient: Vec<f32> = Vec::try_from(rounding.v.grad().view(-1)).unwrap();
        for index in 0..v.len() {
            close(v[index].into(), case.v[index], "start");
            close(gradient[index].into(), case.gradient[index], "gradient");
        }
    }

    #[test]
    fn decided_weights_are_levels_beside_the_weight() {
        let weights = vec![0.31, -0.05, 2.0, -2.0, 0.26, 0.0];
        let rows = WeightRows::of_dense(weights.clone(), 6);
        for bits in 1..=7 {
            let grid = WeightGrid::new(Bits::new(bits).unwrap(), 0.25);
            let nearest: Vec<f32> = weights.iter().map(|&w| grid.round(w)).collect();
            for start in [RoundingStart::Fraction, RoundingStart::Rounded] {
                let rounded = RoundedWeights {
                    values: nearest.clone(),
                    grids: vec![grid],
                    codebook: Vec::new(),
                };
                let rounding = SoftRounding::new(&rows, &rounded, start);
                let decided: Vec<f32> = Vec::try_from(rounding.decided().view(-1)).unwrap();
                for (decided, nearest) in decided.iter().zip(&nearest) {
                    assert_eq!(grid.round(*decided), *decided, "{bits} bits");
                    assert!((decided - nearest).abs() < 1e-6, "{bits} bits: {decided} {nearest}");
                }
            }
        }
    }

    /// Second-order rounding may choose a level that is not beside the weight.
    #[test]
    fn learning_starts_at_the_level_that_rounding_chose() {
        let rows = WeightRows::of_dense(vec![0.1; 5], 5);
        let grid = WeightGrid::new(Bits::new(3).unwrap(), 1.0);
        let chosen = vec![-4.0, -1.0, 0.0, 2.0, 3.0];
        let rounded =
            RoundedWeights { values: chosen.clone(), grids: vec![grid], codebook: Vec::new() };
        let rounding = SoftRounding::new(&rows, &rounded, RoundingStart::Rounded);
        let decided: Vec<f32> = Vec::try_from(rounding.decided().view(-1)).unwrap();
        assert_eq!(decided, chosen);
        assert!(rounding.undecided(2.0).double_value(&[]) > 0.5, "each can still change");
    }
}
