//! One tensor of one layer rounded, and everything else left in float: what sensitivity looks at.
//!
//! The changes are taken from whole quantized networks, so that they are what a method really
//! does. Biases come along, corrected beside 8 bits of the layer's other tensor.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    domain::{Bits, BitwidthPolicy, LayerBits, Operand},
    network::{Array, Graph, Node, TensorId},
    quantization::{error::QuantizationError, quantized_network::Quantizer},
};

/// The float network with one change.
#[derive(Debug, Clone)]
pub struct RoundedAlone {
    pub graph: Graph,
    /// Position in the float network's nodes of the first that answers differently.
    pub first_changed: usize,
    /// Sum of squared changes of the weights; none for activations.
    pub squared_error: Option<f64>,
}

/// Takes single roundings out of networks that are rounded everywhere.
pub struct SingleRoundings<'a> {
    quantizer: &'a Quantizer,
    /// Every layer at these bits of one operand, and 8 of the other.
    everywhere: BTreeMap<(Operand, Bits), Graph>,
}

impl<'a> SingleRoundings<'a> {
    pub fn new(quantizer: &'a Quantizer) -> Self {
        Self { quantizer, everywhere: BTreeMap::new() }
    }

    /// The float network with one layer's weights, or the tensor it reads, at `bits`. Layers
    /// that read the same tensor read it rounded too.
    ///
    /// # Errors
    /// When the method cannot give these bits, or changes more than one tensor to do so.
    pub fn at(
        &mut self,
        layer_index: usize,
        operand: Operand,
        bits: Bits,
    ) -> Result<RoundedAlone, QuantizationError> {
        if !self.everywhere.contains_key(&(operand, bits)) {
            let pair = match operand {
                Operand::Weight => LayerBits { weight: bits, ..LayerBits::EIGHT },
                Operand::Activation => LayerBits { activation: bits, ..LayerBits::EIGHT },
            };
            let policy = BitwidthPolicy::uniform(self.quantizer.layers().len(), pair);
            self.everywhere.insert((operand, bits), self.quantizer.apply(&policy)?);
        }
        let everywhere = &self.everywhere[&(operand, bits)];
        match operand {
            Operand::Weight => Ok(self.weights(layer_index, everywhere)),
            Operand::Activation => self.activations(layer_index, everywhere),
        }
    }

    fn weights(&self, layer_index: usize, everywhere: &Graph) -> RoundedAlone {
        let layer = &self.quantizer.layers()[layer_index];
        let mut graph = self.quantizer.graph().clone();
        let constant = "a quantizable layer's weight is a constant";
        let rounded = everywhere.constant(layer.weight).expect(constant);
        let float = graph.constant(layer.weight).expect(constant);
        let squared_error = squared_difference(float, rounded);
        graph.set_constant(layer.weight, rounded.clone());
        take_bias(&mut graph, everywhere, layer.output);
        let first_changed = graph.producer(layer.output).expect("a layer writes its output");
        RoundedAlone { graph, first_changed, squared_error: Some(squared_error) }
    }

    fn activations(
        &self,
        layer_index: usize,
        everywhere: &Graph,
    ) -> Result<RoundedAlone, QuantizationError> {
        let layers = self.quantizer.layers();
        let layer = &layers[layer_index];
        let not_alone = || QuantizationError::NotAlone { layer: layer.name.clone() };
        let rounding =
            rounding_node(everywhere, layer.output, layer.input).ok_or_else(not_alone)?;
        let reads = |node: &&Node| node.reads().any(|read| read == rounding.output);
        let readers: BTreeSet<TensorId> =
            everywhere.nodes().iter().filter(reads).map(|node| node.output).collect();
        let mut graph = self.quantizer.graph().clone();
        let first_changed = graph
            .nodes()
            .iter()
            .position(|node| readers.contains(&node.output))
            .ok_or_else(not_alone)?;
        graph.insert_between(layer.input, rounding.op.clone(), |node| {
            readers.contains(&node.output)
        });
        for reader in layers.iter().filter(|other| other.input == layer.input) {
            take_bias(&mut graph, everywhere, reader.output);
        }
        Ok(RoundedAlone { graph, first_changed, squared_error: None })
    }
}

/// What rounds `input` for the layer that writes `output`.
fn rounding_node(graph: &Graph, output: TensorId, input: TensorId) -> Option<&Node> {
    let layer = &graph.nodes()[graph.producer(output)?];
    let node = &graph.nodes()[graph.producer(layer.input(0)?)?];
    (node.op.rounds() && node.input(0) == Some(input)).then_some(node)
}

/// Gives the layer that writes `output` the bias it has in another network.
fn take_bias(graph: &mut Graph, from: &Graph, output: TensorId) {
    let bias = |graph: &Graph| -> Option<Array> {
        let node = &graph.nodes()[graph.producer(output)?];
        graph.constant(node.input(2)?).cloned()
    };
    if let Some(theirs) = bias(from)
        && bias(graph).as_ref() != Some(&theirs)
    {
        graph.set_bias(output, theirs);
    }
}

fn squared_difference(a: &Array, b: &Array) -> f64 {
    let numbers = |array: &Array| array.as_f32().expect("weights are f32").to_vec();
    let pairs = numbers(a).into_iter().zip(numbers(b));
    pairs.map(|(a, b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}
