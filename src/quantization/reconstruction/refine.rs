//! A rounded network made better, segment by segment.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use tch::{Device, Tensor};

use crate::{
    domain::{BitwidthPolicy, LayerBits},
    network::{Array, Executable, Graph, TensorId},
    quantization::{
        error::QuantizationError,
        quantized_network::Quantizer,
        reconstruction::{
            Segment,
            activation_step::ActivationStep,
            fisher,
            learned::{Learned, LearnedLayer, Lessons},
            prefix::{Prefix, compute},
            segments::cut_points,
            settings::ReconstructionSettings,
            soft_rounding::SoftRounding,
        },
    },
};

/// Weights of this many bits and more are left as they are: there is nothing to win.
const ENOUGH_BITS: u8 = 8;

/// A network after reconstruction, and what it took.
pub struct Reconstruction {
    pub graph: Graph,
    pub segments: Vec<SegmentErrors>,
    pub wall_s: f64,
}

/// How far one segment's output is from the float network's: squared error, summed over
/// channels, averaged over calibration images and places.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentErrors {
    pub segment: Segment,
    /// With the method's own rounding.
    pub before: f64,
    /// With what was learned; never above `before`.
    pub after: f64,
}

impl Quantizer {
    /// The network at `policy`, its roundings learned on `images`.
    ///
    /// A segment that learning does not bring nearer to the float network stays as it was.
    ///
    /// - `images`: `[n, ...]` as the network reads them, f32; those of calibration will do
    ///
    /// # Errors
    /// As [`Quantizer::apply`], and when the network does not run on the images.
    pub fn refine(
        &self,
        policy: &BitwidthPolicy,
        images: &Tensor,
        settings: &ReconstructionSettings,
    ) -> Result<Reconstruction, QuantizationError> {
        if images.size()[0] == 0 {
            return Err(QuantizationError::NoImages);
        }
        let images = images.shallow_clone();
        std::thread::scope(|scope| {
            let learner = scope.spawn(move || {
                // Sums inside an operation depend on how many threads share it.
                tch::set_num_threads(1);
                self.refine_all(policy, &images, settings)
            });
            learner.join().expect("the learner does not panic")
        })
    }

    fn refine_all(
        &self,
        policy: &BitwidthPolicy,
        images: &Tensor,
        settings: &ReconstructionSettings,
    ) -> Result<Reconstruction, QuantizationError> {
        let start = Instant::now();
        let mut refinement = Refinement {
            quantizer: self,
            policy,
            settings,
            float: Executable::new(self.graph(), Device::Cpu)?,
            graph: self.rounded_network(policy)?,
            learned_steps: BTreeSet::new(),
        };
        let cuts = cut_points(self.graph());
        let mut prefix = Prefix {
            at: self.graph().input()?.tensor,
            float: images.shallow_clone(),
            rounded: images.shallow_clone(),
        };
        let mut segments = Vec::new();
        for (index, segment) in
            Segment::all(self.graph(), self.layers(), settings).into_iter().enumerate()
        {
            let rounded = Executable::new(&refinement.graph, Device::Cpu)?;
            let cut = last_cut(self.graph(), &cuts, segment.input);
            prefix.advance(cut.unwrap_or(prefix.at), &refinement.float, &rounded)?;
            segments.push(refinement.refine_segment(index, segment, &prefix, &rounded)?);
        }
        let wall_s = start.elapsed().as_secs_f64();
        tracing::info!(segments = segments.len(), wall_s, "reconstructed");
        Ok(Reconstruction { graph: refinement.graph, segments, wall_s })
    }
}

/// The last cut point that is not behind `tensor`.
fn last_cut(graph: &Graph, cuts: &[TensorId], tensor: TensorId) -> Option<TensorId> {
    let position = |tensor: TensorId| graph.producer(tensor).map_or(0, |index| index + 1);
    let limit = position(tensor);
    cuts.iter().copied().rfind(|&cut| position(cut) <= limit)
}

/// Reconstruction in progress.
struct Refinement<'a> {
    quantizer: &'a Quantizer,
    policy: &'a BitwidthPolicy,
    settings: &'a ReconstructionSettings,
    float: Executable,
    /// The rounded network, segments up to here learned.
    graph: Graph,
    /// Rounding nodes whose steps an earlier segment chose.
    learned_steps: BTreeSet<TensorId>,
}

impl<'a> Refinement<'a> {
    fn refine_segment(
        &mut self,
        index: usize,
        segment: Segment,
        prefix: &Prefix,
        rounded: &Executable,
    ) -> Result<SegmentErrors, QuantizationError> {
        let lessons = self.lessons(index, &segment, prefix, rounded)?;
        let (before, after) = {
            let learned = self.variables(&segment)?;
            let unlearned =
                Learned { segment: &segment, layers: Vec::new(), steps: BTreeMap::new() };
            let batch = self.settings.batch.max(1);
            let before = unlearned.decided_error(rounded, &lessons, batch)?;
            learned.learn(rounded, &lessons, index, self.settings)?;
            let after = learned.decided_error(rounded, &lessons, batch)?;
            if after < before {
                self.write_back(&learned)?;
            }
            (before, after.min(before))
        };
        let first = self.quantizer.layers()[segment.layers[0]].name.as_str();
        tracing::info!(first, layers = segment.layers.len(), before, after, "segment learned");
        Ok(SegmentErrors { segment, before, after })
    }

    fn lessons(
        &self,
        index: usize,
        segment: &Segment,
        prefix: &Prefix,
        rounded: &Executable,
    ) -> Result<Lessons, QuantizationError> {
        let float_input = compute(&self.float, prefix.at, &prefix.float, segment.input)?;
        let rounded_input = compute(rounded, prefix.at, &prefix.rounded, segment.input)?;
        let target = compute(&self.float, prefix.at, &prefix.float, segment.output)?;
        let weight = if self.settings.fisher && self.carries_all(segment.output) {
            let seed = self.settings.seed;
            Some(fisher::importance(&self.float, segment.output, &target, seed, index)?)
        } else {
            None
        };
        Ok(Lessons { float_input, rounded_input, target, weight })
    }

    /// Whether the network's answer can be computed from this tensor alone.
    fn carries_all(&self, tensor: TensorId) -> bool {
        cut_points(self.quantizer.graph()).contains(&tensor)
    }

    fn variables<'s>(&self, segment: &'s Segment) -> Result<Learned<'s>, QuantizationError>
    where
        'a: 's,
    {
        let (mut layers, mut steps) = (Vec::new(), BTreeMap::new());
        for &layer_index in &segment.layers {
            let bits = self.policy.layers()[layer_index];
            layers.push(self.layer_variables(layer_index, bits)?);
            if self.settings.step_rate == 0.0 {
                continue;
            }
            let layer = &self.quantizer.layers()[layer_index];
            let node = self.graph.producer(layer.output).expect("a layer writes its output");
            let read = self.graph.nodes()[node].input(0).expect("a layer reads a tensor");
            let rounding = self.graph.producer(read).map(|index| &self.graph.nodes()[index]);
            if let Some(rounding) = rounding.filter(|node| ActivationStep::fits(&node.op))
                && !self.learned_steps.contains(&read)
            {
                steps.insert(read, ActivationStep::new(&rounding.op));
            }
        }
        Ok(Learned { segment, layers, steps })
    }

    fn layer_variables(
        &self,
        layer_index: usize,
        bits: LayerBits,
    ) -> Result<LearnedLayer<'a>, QuantizationError> {
        let quantizer = self.quantizer;
        let layer = &quantizer.layers()[layer_index];
        let rows = quantizer.weight_rows(layer_index);
        let rounding = if bits.weight.get() < ENOUGH_BITS {
            let rounded = self.quantizer.rounded(layer_index, bits.weight)?;
            Some(SoftRounding::new(rows, &rounded, self.settings.start))
        } else {
            None
        };
        let node = self.graph.producer(layer.output).expect("a layer writes its output");
        let bias = self.graph.nodes()[node].input(2).filter(|_| self.settings.bias_rate > 0.0);
        let bias = bias.and_then(|id| {
            let values = self.graph.constant(id).filter(|array| array.as_f32().is_some())?;
            Some((id, values.to_tensor().set_requires_grad(true)))
        });
        Ok(LearnedLayer { weight: layer.weight, rows, rounding, bias })
    }

    /// Puts what was learned into the network.
    fn write_back(&mut self, learned: &Learned<'_>) -> Result<(), QuantizationError> {
        for layer in &learned.layers {
            if let Some(weight) = layer.decided_weight() {
                let weight = Array::from_tensor(&weight)?;
                match self.graph.coding(layer.weight).cloned() {
                    Some(coding) => self.graph.set_rounded(layer.weight, weight, coding),
                    None => self.graph.set_constant(layer.weight, weight),
                }
            }
            if let Some((id, bias)) = &layer.bias {
                self.graph.set_constant(*id, Array::from_tensor(&bias.detach())?);
            }
        }
        for (tensor, step) in &learned.steps {
            self.graph.set_op(*tensor, step.learned());
            self.learned_steps.insert(*tensor);
        }
        Ok(())
    }
}
