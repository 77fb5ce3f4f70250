//! The rounded network as training runs it: its layers and roundings, and one pass forward and
//! back over a part of a batch.

use std::collections::{BTreeMap, BTreeSet};

use tch::{Device, Tensor};

use crate::{
    domain::BitwidthPolicy,
    network::{Array, Executable, FoldedNorm, Graph, Node, TensorId},
    quantization::{
        error::QuantizationError,
        quantized_network::Quantizer,
        training::{
            layer::{LayerStart, TrainedLayer},
            loss::loss,
            rounding::TrainedRounding,
            settings::{BatchNormTraining, TrainingSettings},
            state::{Pass, State},
            tuned::{TunedLayer, TunedNetwork, TunedRounding},
        },
    },
};

/// What is trained, without the numbers that change. Holds no tensor, so threads share it.
#[derive(Debug)]
pub struct Blueprint {
    /// The network at the start: rounded weights, corrected biases, rounding nodes.
    pub graph: Graph,
    layers: Vec<TrainedLayer>,
    /// By the tensor that a rounding node writes.
    roundings: BTreeMap<TensorId, TrainedRounding>,
    names: Vec<String>,
    policy: BitwidthPolicy,
    input: TensorId,
    output: TensorId,
    distillation: f64,
}

/// A part of a batch.
pub struct Lesson {
    pub images: Tensor,
    pub labels: Option<Tensor>,
    pub float_outputs: Option<Tensor>,
}

/// What one part of a batch says.
pub struct Answer {
    pub loss: f64,
    /// By variable; none where the loss does not depend on it.
    pub gradients: Vec<Option<Tensor>>,
    /// Statistic and value.
    pub observed: Vec<(usize, Tensor)>,
}

impl Blueprint {
    /// The post-training network at `policy` as a start, with its numbers.
    ///
    /// - `norms`: batch norms that were folded into the quantizer's network
    /// - `one_image`: the shape of one image, `[1, ...]`
    ///
    /// # Errors
    /// When the policy does not fit, or batch norm is wanted and there is none.
    pub fn new(
        quantizer: &Quantizer,
        norms: &[FoldedNorm],
        policy: &BitwidthPolicy,
        one_image: &[usize],
        settings: &TrainingSettings,
    ) -> Result<(Self, State), QuantizationError> {
        let graph = quantizer.rounded_network(policy)?;
        let has_norm =
            quantizer.layers().iter().any(|l| norms.iter().any(|norm| norm.output == l.output));
        if settings.batch_norm != BatchNormTraining::Folded && !has_norm {
            return Err(QuantizationError::NoBatchNorm);
        }
        let mut names = BTreeSet::new();
        if let Some(layer) = quantizer.layers().iter().find(|layer| !names.insert(&layer.name)) {
            let name = &layer.name;
            let reason = format!("two layers are called {name}; each needs a name of its own");
            return Err(QuantizationError::Training { reason });
        }
        let mut state = State::default();
        let mut layers = Vec::new();
        for (index, (layer, bits)) in quantizer.layers().iter().zip(policy.layers()).enumerate() {
            let rounded = quantizer.rounded(index, bits.weight)?;
            let start = LayerStart {
                name: &layer.name,
                output: layer.output,
                weight: layer.weight,
                rows: quantizer.weight_rows(index),
                rounded: &rounded,
                bias: bias_of(&graph, layer.output),
                norm: norms.iter().find(|norm| norm.output == layer.output),
            };
            layers.push(TrainedLayer::new(&start, settings.batch_norm, &mut state));
        }
        let shapes = graph.shapes(one_image)?;
        let mut roundings = BTreeMap::new();
        for node in graph.nodes().iter().filter(|node| node.op.rounds()) {
            let tensor = node.input(0).expect("a rounding node reads a tensor");
            let n_features = shapes.get(tensor).iter().product();
            let name = graph.tensor_name(tensor);
            let rounding =
                TrainedRounding::new(name, &node.op, settings.ranges, n_features, &mut state);
            roundings.insert(node.output, rounding);
        }
        let blueprint = Self {
            input: graph.input()?.tensor,
            output: graph.output()?,
            graph,
            layers,
            roundings,
            names: quantizer.layers().iter().map(|layer| layer.name.clone()).collect(),
            policy: policy.clone(),
            distillation: settings.distillation,
        };
        Ok((blueprint, state))
    }

    /// The loss of one part of a batch, and its gradients.
    ///
    /// # Errors
    /// When the network does not run.
    pub fn answer(
        &self,
        executable: &Executable,
        pass: Pass,
        lesson: &Lesson,
    ) -> Result<Answer, QuantizationError> {
        let outputs = self.run(executable, &pass, &lesson.images)?.flatten(1, -1);
        let float_outputs = lesson.float_outputs.as_ref();
        let loss = loss(&outputs, lesson.labels.as_ref(), float_outputs, self.distillation)?;
        let gradients = Tensor::f_run_backward(&[&loss], &pass.values, false, false)?;
        let gradients = gradients.into_iter().map(|g| g.defined().then_some(g)).collect();
        let loss = loss.double_value(&[]);
        Ok(Answer { loss, gradients, observed: pass.into_observed() })
    }

    fn run(
        &self,
        executable: &Executable,
        pass: &Pass,
        images: &Tensor,
    ) -> Result<Tensor, QuantizationError> {
        let mut constants = Vec::new();
        for layer in &self.layers {
            constants.extend(layer.constants(pass)?);
        }
        let mut fed = vec![(self.input, images)];
        fed.extend(constants.iter().map(|(id, tensor)| (*id, tensor)));
        let mut replace = |node: &Node, inputs: &[Option<&Tensor>]| {
            let x = inputs.first().copied().flatten();
            let Some(x) = x else { return Ok(None) };
            if let Some(rounding) = self.roundings.get(&node.output) {
                return rounding.round(x, pass).map(Some);
            }
            match self.layers.iter().find(|layer| layer.output == node.output) {
                Some(layer) => layer.run(node, x, pass),
                None => Ok(None),
            }
        };
        Ok(executable.run_recorded(&fed, &[self.output], &mut replace)?.swap_remove(0))
    }

    /// The network as inference has it.
    ///
    /// # Errors
    /// When libtorch cannot, or a number is not finite.
    pub fn settle(&self, state: &State) -> Result<TunedNetwork, QuantizationError> {
        let pass = state.settled();
        let mut layers = Vec::new();
        for ((layer, name), &bits) in self.layers.iter().zip(&self.names).zip(self.policy.layers())
        {
            let settled = layer.settle(&pass)?;
            layers.push(TunedLayer {
                name: name.clone(),
                bits,
                weight: Array::from_tensor(&settled.weight)?,
                scales: Array::from_tensor(&settled.scales)?,
                bias: settled.bias.map(|bias| Array::from_tensor(&bias)).transpose()?,
            });
        }
        let roundings = self.graph.nodes().iter().filter_map(|node| {
            let rounding = self.roundings.get(&node.output)?;
            let tensor = node.input(0).expect("a rounding node reads a tensor");
            let tensor = self.graph.tensor_name(tensor).to_owned();
            Some(TunedRounding { tensor, op: rounding.op(&pass) })
        });
        Ok(TunedNetwork { roundings: roundings.collect(), layers })
    }

    /// The network's start on a device, without its numbers.
    ///
    /// # Errors
    /// When the constants cannot be placed.
    pub fn executable(&self) -> Result<Executable, QuantizationError> {
        Ok(Executable::new(&self.graph, Device::Cpu)?)
    }
}

/// The constant bias of the layer that writes `output`.
pub fn bias_of(graph: &Graph, output: TensorId) -> Option<(TensorId, Tensor)> {
    let node = &graph.nodes()[graph.producer(output)?];
    let id = node.input(2)?;
    let array = graph.constant(id).filter(|array| array.as_f32().is_some())?;
    Some((id, array.to_tensor()))
}
