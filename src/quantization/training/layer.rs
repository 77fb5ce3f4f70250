//! One layer while it is trained: latent weights behind a grid, and a bias or a batch norm.
//!
//! Sources: Jacob et al. 2018, section 3.2 (batch norm folded with the batch's statistics);
//! Hubara et al. 2016 (latent weights behind a sign).

use tch::{TchError, Tensor};

use crate::{
    domain::Bits,
    network::{FoldedNorm, Node, TensorId, compute},
    quantization::{
        layer_matrix::WeightRows,
        quantized_network::RoundedWeights,
        training::{
            descent::{Bound, Variable},
            fake_quantize::{Codes, codes_of, learned_step, sign, signs_of},
            norm::TrainedNorm,
            settings::BatchNormTraining,
            state::{Pass, State},
        },
        uniform::WeightGrid,
    },
};

/// How near to the edge of its level's cell a latent weight starts at most, in steps.
const EDGE: f32 = 0.45;

/// A scale never falls below this share of its start: it stays above 0.
const LOWEST_SHARE: f64 = 0.01;

/// Where a layer's numbers stand in the state. Holds no tensor, so threads share it.
#[derive(Debug)]
pub struct TrainedLayer {
    /// What it writes: finds its node.
    pub output: TensorId,
    weight: TensorId,
    bias: Option<TensorId>,
    rows: WeightRows,
    bits: Bits,
    latent_at: usize,
    scale_at: usize,
    bias_at: Option<usize>,
    norm: Option<TrainedNorm>,
}

/// What a layer starts from.
pub struct LayerStart<'a> {
    pub name: &'a str,
    pub output: TensorId,
    pub weight: TensorId,
    pub rows: &'a WeightRows,
    /// What the post-training method made of the weights.
    pub rounded: &'a RoundedWeights,
    /// The layer's bias in the rounded network.
    pub bias: Option<(TensorId, Tensor)>,
    pub norm: Option<&'a FoldedNorm>,
}

/// A layer's numbers as inference uses them.
pub struct SettledLayer {
    /// In the layer's own layout, every number a level.
    pub weight: Tensor,
    /// `[n_rows]`, above 0.
    pub scales: Tensor,
    pub bias: Option<Tensor>,
}

impl TrainedLayer {
    /// Adds the layer's numbers to the state so that inference gives the rounded network.
    pub fn new(start: &LayerStart<'_>, treatment: BatchNormTraining, state: &mut State) -> Self {
        let LayerStart { name, output, weight, rows, rounded, ref bias, norm } = *start;
        let bits = rounded.grids[0].bits();
        let shape = [rows.n_rows as i64, rows.n_columns as i64];
        let mut latent = Tensor::from_slice(&latent_weights(rows, rounded)).view(shape);
        let scales: Vec<f32> = rounded.grids.iter().map(WeightGrid::scale).collect();
        let mut scales = Tensor::from_slice(&scales).view([-1, 1]);
        let norm = norm.filter(|_| treatment != BatchNormTraining::Folded);
        let trained_norm = norm.map(|norm| {
            let own_bias = bias.as_ref().expect("a folded layer has a bias");
            let (trained, slope) = TrainedNorm::new(norm, treatment, &own_bias.1, name, state);
            // The slope of the norm stands behind these weights: it is taken off them.
            let slope = slope.view([-1, 1]);
            latent = &latent / &slope;
            if treatment == BatchNormTraining::Keep {
                scales = &scales / &slope;
            }
            trained
        });
        let (latent_at, scale_at) =
            add_weight(name, latent, scales, bits, rows.n_columns as f64, state);
        let bias_at = match (bias, &trained_norm) {
            (Some((_, bias)), None) => {
                Some(state.add(Variable::new(format!("{name}.bias"), bias.copy())))
            }
            _ => None,
        };
        Self {
            output,
            weight,
            bias: bias.as_ref().map(|(id, _)| *id),
            rows: rows.clone(),
            bits,
            latent_at,
            scale_at,
            bias_at,
            norm: trained_norm,
        }
    }

    /// The constants of the layer as this pass has them, where the node itself can use them.
    ///
    /// # Errors
    /// When libtorch cannot.
    pub fn constants(&self, pass: &Pass) -> Result<Vec<(TensorId, Tensor)>, TchError> {
        if self.norm.is_some() {
            return Ok(Vec::new());
        }
        let rounded = self.round(&pass.values[self.latent_at], pass)?;
        let mut constants = vec![(self.weight, self.rows.to_layout(&rounded))];
        if let (Some(id), Some(at)) = (self.bias, self.bias_at) {
            constants.push((id, pass.values[at].shallow_clone()));
        }
        Ok(constants)
    }

    /// What the layer with its batch norm makes of `x`; none where it has no norm of its own.
    ///
    /// # Errors
    /// When libtorch cannot.
    pub fn run(&self, node: &Node, x: &Tensor, pass: &Pass) -> Result<Option<Tensor>, TchError> {
        let Some(norm) = &self.norm else { return Ok(None) };
        let latent = &pass.values[self.latent_at];
        let product = |rows: &Tensor, bias: Option<&Tensor>| {
            compute(&node.op, &[Some(x), Some(&self.rows.to_layout(rows)), bias])
        };
        let output = match norm.treatment {
            BatchNormTraining::Keep => {
                norm.run(&product(&self.round(latent, pass)?, None)?, pass)?
            }
            _ => {
                let (mean, variance) = match pass.phase.norms_follow_batches {
                    true => norm.moments(&product(latent, None)?, pass)?,
                    false => norm.running(pass),
                };
                let (slope, bias) = norm.affine(&mean, &variance, pass)?;
                let folded = self.round(&latent.f_mul(&slope.view([-1, 1]))?, pass)?;
                product(&folded, Some(&bias))?
            }
        };
        Ok(Some(output))
    }

    /// The levels of the weights, `[n_rows, n_columns]`; gradients pass to weights and scales.
    fn round(&self, weights: &Tensor, pass: &Pass) -> Result<Tensor, TchError> {
        let scales = &pass.values[self.scale_at];
        if self.bits.get() == 1 {
            return sign(weights, scales, &Tensor::ones_like(scales));
        }
        learned_step(weights, scales, codes(self.bits))
    }

    /// The layer as inference has it, batch norm folded.
    ///
    /// # Errors
    /// When libtorch cannot.
    pub fn settle(&self, pass: &Pass) -> Result<SettledLayer, TchError> {
        let _no_grad = tch::no_grad_guard();
        let mut weights = pass.values[self.latent_at].shallow_clone();
        let mut scales = pass.values[self.scale_at].shallow_clone();
        let mut bias = self.bias_at.map(|at| pass.values[at].copy());
        let mut after = None;
        if let Some(norm) = &self.norm {
            let (mean, variance) = norm.running(pass);
            let (slope, shift) = norm.affine(&mean, &variance, pass)?;
            let slope = slope.view([-1, 1]);
            match norm.treatment {
                BatchNormTraining::Keep => after = Some(slope),
                _ => weights = weights.f_mul(&slope)?,
            }
            bias = Some(shift);
        }
        let codes = match self.bits.get() {
            1 => signs_of(&weights)?,
            _ => codes_of(&weights, &scales, codes(self.bits))?,
        };
        if let Some(slope) = after {
            scales = scales.f_mul(&slope)?;
        }
        let weight = self.rows.to_layout(&codes.f_mul(&scales)?);
        Ok(SettledLayer { weight, scales: scales.view([-1]), bias })
    }
}

fn codes(bits: Bits) -> Codes {
    let (low, high) = WeightGrid::codes(bits);
    Codes { low: low.into(), high: high.into() }
}

/// Adds latent weights and scales to the state.
fn add_weight(
    name: &str,
    latent: Tensor,
    scales: Tensor,
    bits: Bits,
    n_columns: f64,
    state: &mut State,
) -> (usize, usize) {
    let mut of_scale = Variable::new(format!("{name}.weight_scale"), scales);
    of_scale.gradient_factor = 1.0 / (n_columns * codes(bits).high).sqrt();
    of_scale.bound = Bound::AtLeast(&of_scale.value * LOWEST_SHARE);
    let mut of_latent = Variable::new(format!("{name}.weight"), latent);
    if bits.get() == 1 {
        of_latent.value = of_latent.value.clamp(-1.0, 1.0);
        of_latent.bound = Bound::Unit;
    } else {
        of_latent.decays = true;
    }
    (state.add(of_latent), state.add(of_scale))
}

/// Weights that round to the chosen levels and lie as near to the float weights as their
/// levels' cells allow.
fn latent_weights(rows: &WeightRows, rounded: &RoundedWeights) -> Vec<f32> {
    let mut latent = Vec::with_capacity(rows.values.len());
    for (row, grid) in rounded.grids.iter().enumerate() {
        let levels = &rounded.values[row * rows.n_columns..(row + 1) * rows.n_columns];
        let scale = grid.scale();
        latent.extend(rows.row(row).iter().zip(levels).map(|(&weight, &level)| {
            if grid.bits().get() > 1 {
                level + (weight - level).clamp(-EDGE * scale, EDGE * scale)
            } else if (weight >= 0.0) == (level >= 0.0) {
                weight
            } else {
                // On the level's side, ready to change.
                level * 0.05
            }
        }));
    }
    latent
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::{
        network::{Array, Graph, Op},
        quantization::training::{
            reference::{FoldCase, assert_close, leaf, reference},
            state::Phase,
        },
    };

    /// The linear layer of the reference, its numbers in f64.
    fn layer(case: &FoldCase, treatment: BatchNormTraining) -> (Graph, TrainedLayer, State) {
        let single = |numbers: &[f64]| numbers.iter().map(|&x| x as f32).collect::<Vec<f32>>();
        let (mut graph, x) = Graph::sketch(&[0, 6]);
        let weight = graph.hold("w", Array::f32(vec![4, 6], single(&case.weight)));
        let bias = graph.hold("b", Array::f32(vec![4], [0.0; 4]));
        let gemm = Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b: true };
        let output = graph.draw(gemm, &[x, weight, bias]);
        let rows = WeightRows::of(&graph, &graph.quantizable_layers()[0]);
        let bits = Bits::new(3).unwrap();
        let grids = single(&case.scale).iter().map(|&s| WeightGrid::new(bits, s)).collect();
        let rounded = RoundedWeights::on_grids(rows.values.clone(), grids);
        let norm = FoldedNorm {
            output,
            weight: graph.constant(weight).unwrap().clone(),
            bias: vec![0.0; 4],
            gain: single(&case.gain),
            offset: single(&case.offset),
            mean: single(&case.mean),
            variance: single(&case.variance),
            epsilon: case.epsilon as f32,
        };
        let start = LayerStart {
            name: "fc",
            output,
            weight,
            rows: &rows,
            rounded: &rounded,
            bias: Some((bias, Tensor::zeros([4], (Kind::Float, tch::Device::Cpu)))),
            norm: Some(&norm),
        };
        let mut state = State::default();
        let layer = TrainedLayer::new(&start, treatment, &mut state);
        for variable in &mut state.variables {
            variable.value = match variable.name.as_str() {
                "fc.weight" => leaf(&case.weight, &[4, 6]),
                "fc.weight_scale" => leaf(&case.scale, &[4, 1]),
                "fc.norm.gain" => leaf(&case.gain, &[4]),
                "fc.norm.offset" => leaf(&case.offset, &[4]),
                other => panic!("{other} is no variable of the layer"),
            }
            .detach();
        }
        for statistic in &mut state.statistics {
            let running =
                if statistic.name.ends_with("mean") { &case.mean } else { &case.variance };
            statistic.value = Tensor::from_slice(running);
        }
        (graph, layer, state)
    }

    fn run(
        case: &FoldCase,
        treatment: BatchNormTraining,
        norms_follow_batches: bool,
    ) -> (Tensor, Pass, State) {
        let (graph, layer, state) = layer(case, treatment);
        let pass = state.leaves(Phase { rounds_activations: true, norms_follow_batches });
        let x = Tensor::from_slice(&case.x).view([case.n, 6]);
        let output = layer.run(&graph.nodes()[0], &x, &pass).unwrap().unwrap();
        let upstream = Tensor::from_slice(&case.upstream).view_as(&output);
        (&output * upstream).sum(Kind::Double).backward();
        (output, pass, state)
    }

    fn gradient(state: &State, pass: &Pass, name: &str) -> Tensor {
        let at = state.variables.iter().position(|variable| variable.name == name).unwrap();
        pass.values[at].grad()
    }

    /// The running statistics after one batch.
    fn assert_followed(state: &State, pass: Pass, mean: &[f64], variance: &[f64]) {
        let observed = pass.into_observed();
        assert_eq!(observed.len(), 2);
        for (at, seen) in observed {
            let statistic = &state.statistics[at];
            let moved = &statistic.value + (seen - &statistic.value) * statistic.rate;
            let is_mean = statistic.name.ends_with("mean");
            assert_close(&moved, if is_mean { mean } else { variance }, &statistic.name);
        }
    }

    #[test]
    fn folding_with_the_batchs_statistics_equals_the_reference() {
        let case = reference().fold;
        let (output, pass, state) = run(&case, BatchNormTraining::Fold, true);
        assert_close(&output, &case.folded, "output");
        assert_followed(&state, pass, &case.folded_mean_after, &case.folded_variance_after);
        let (output, pass, state) = run(&case, BatchNormTraining::Fold, false);
        assert_close(&output, &case.settled, "output at the end");
        let found = gradient(&state, &pass, "fc.weight");
        assert_close(&found, &case.settled_by_weight, "gradient of the weights");
        let found = gradient(&state, &pass, "fc.norm.offset");
        assert_close(&found, &case.settled_by_offset, "gradient of the offset");
        assert!(pass.into_observed().is_empty(), "at the end statistics stay");
    }

    #[test]
    fn a_kept_norm_equals_the_reference() {
        let case = reference().fold;
        let (output, pass, state) = run(&case, BatchNormTraining::Keep, true);
        assert_close(&output, &case.kept, "output");
        let found = gradient(&state, &pass, "fc.weight");
        assert_close(&found, &case.kept_by_weight, "gradient of the weights");
        assert_followed(&state, pass, &case.kept_mean_after, &case.kept_variance_after);
    }

    /// At the end both treatments are one linear layer, weights on their grid.
    #[test]
    fn a_settled_layer_gives_what_training_gives_at_the_end() {
        let case = reference().fold;
        let x = Tensor::from_slice(&case.x).view([case.n, 6]);
        for treatment in [BatchNormTraining::Fold, BatchNormTraining::Keep] {
            let (expected, _, state) = run(&case, treatment, false);
            let (_, layer, _) = layer(&case, treatment);
            let settled = layer.settle(&state.settled()).unwrap();
            let output = x.matmul(&settled.weight.tr()) + settled.bias.unwrap();
            let expected: Vec<f64> = Vec::try_from(expected.detach().view(-1)).unwrap();
            assert_close(&output, &expected, "output");
            let codes = settled.weight / settled.scales.view([-1, 1]);
            let rounded = codes.round();
            assert!((&codes - &rounded).abs().max().double_value(&[]) < 1e-9);
            assert!(rounded.min().double_value(&[]) >= -4.0);
            assert!(rounded.max().double_value(&[]) <= 3.0);
        }
    }

    #[test]
    fn latent_weights_round_to_the_levels_that_were_chosen() {
        let weights = vec![0.31, -0.05, 2.0, -2.0, 0.26, 0.1];
        let rows = WeightRows::of_dense(weights, 6);
        for (bits, chosen) in [
            (3, vec![0.25, -0.25, 0.75, -1.0, 0.5, 0.0]),
            (1, vec![0.25, 0.25, 0.25, -0.25, -0.25, 0.25]),
        ] {
            let grid = WeightGrid::new(Bits::new(bits).unwrap(), 0.25);
            let rounded = RoundedWeights::on_grids(chosen.clone(), vec![grid]);
            let latent = latent_weights(&rows, &rounded);
            let found: Vec<f32> = latent.iter().map(|&w| grid.round(w)).collect();
            assert_eq!(found, chosen, "{bits} bits");
        }
    }
}
