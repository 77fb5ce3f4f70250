//! A trained network as numbers to be kept: weights, biases, scales and roundings, in a file of
//! its own that gives exactly the network that was judged.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    domain::{BitwidthPolicy, LayerBits},
    network::{Array, Graph, Grid, Op, QuantizableLayer, TensorFile, TensorId},
    quantization::{
        error::QuantizationError, integer::WeightGrids, quantized_network::weight_coding,
        uniform::WeightGrid,
    },
};

/// Version of the file's form.
const SCHEMA: u32 = 1;

/// The text that says what the arrays are.
const DESCRIPTION: &str = "haq_tuned_network";

/// What training made of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct TunedNetwork {
    /// In the order of the network.
    pub layers: Vec<TunedLayer>,
    pub roundings: Vec<TunedRounding>,
}

/// One layer, batch norm folded.
#[derive(Debug, Clone, PartialEq)]
pub struct TunedLayer {
    pub name: String,
    pub bits: LayerBits,
    /// Every number a level: a scale times a code.
    pub weight: Array,
    /// One an output channel.
    pub scales: Array,
    pub bias: Option<Array>,
}

/// How a tensor is rounded for the layers that read it.
#[derive(Debug, Clone, PartialEq)]
pub struct TunedRounding {
    pub tensor: String,
    /// One that rounds.
    pub op: Op,
}

/// What stands in the file as text.
#[derive(Serialize, Deserialize)]
struct Description {
    schema: u32,
    model_digest: String,
    layers: Vec<LayerText>,
    roundings: Vec<RoundingText>,
}

#[derive(Serialize, Deserialize)]
struct LayerText {
    name: String,
    #[serde(flatten)]
    bits: LayerBits,
}

#[derive(Serialize, Deserialize)]
struct RoundingText {
    tensor: String,
    #[serde(flatten)]
    levels: LevelsText,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "levels", rename_all = "kebab-case")]
enum LevelsText {
    Grid { zero_point: i32, low: i32, high: i32 },
    Signs,
}

impl TunedLayer {
    /// One grid an output channel.
    fn weight_grids(&self) -> Vec<WeightGrid> {
        let scales = self.scales.as_f32().unwrap_or_default().iter();
        scales.map(|&scale| WeightGrid::new(self.bits.weight, scale)).collect()
    }
}

impl TunedNetwork {
    pub fn policy(&self) -> BitwidthPolicy {
        BitwidthPolicy::new(self.layers.iter().map(|layer| layer.bits).collect())
    }

    /// The grids of the weights, by what the layers of `float` write.
    pub fn weight_grids(&self, float: &Graph) -> WeightGrids {
        let layers = float.quantizable_layers().into_iter().zip(&self.layers);
        layers.map(|(layer, tuned)| (layer.output, tuned.weight_grids())).collect()
    }

    /// The quantized network: `float` with these weights, biases and roundings.
    ///
    /// - `float`: the network that was trained, folded
    ///
    /// # Errors
    /// [`QuantizationError::Tuned`] when it is another network.
    pub fn apply(&self, float: &Graph) -> Result<Graph, QuantizationError> {
        let (mut graph, layers) = self.with_weights(float)?;
        let outputs: BTreeSet<TensorId> = layers.iter().map(|layer| layer.output).collect();
        for rounding in &self.roundings {
            let read = graph
                .tensor_named(&rounding.tensor)
                .filter(|tensor| layers.iter().any(|layer| layer.input == *tensor));
            let tensor = read.ok_or_else(|| {
                misfit(format!("no layer of the network reads a tensor {}", rounding.tensor))
            })?;
            graph.insert_between(tensor, rounding.op.clone(), |reader| {
                outputs.contains(&reader.output)
            });
        }
        Ok(graph)
    }

    /// `float` with these weights and biases; activations are not rounded, so that all of it are
    /// plain ONNX operations.
    ///
    /// # Errors
    /// As [`TunedNetwork::apply`].
    pub fn apply_weights(&self, float: &Graph) -> Result<Graph, QuantizationError> {
        Ok(self.with_weights(float)?.0)
    }

    fn with_weights(
        &self,
        float: &Graph,
    ) -> Result<(Graph, Vec<QuantizableLayer>), QuantizationError> {
        let (mut graph, layers) = (float.clone(), float.quantizable_layers());
        if layers.len() != self.layers.len() {
            let (ours, theirs) = (self.layers.len(), layers.len());
            return Err(misfit(format!("it has {ours} layers, the network {theirs}")));
        }
        for (layer, tuned) in layers.iter().zip(&self.layers) {
            let name = &tuned.name;
            if layer.name != *name {
                return Err(misfit(format!("where it has {name} the network has {}", layer.name)));
            }
            let float = graph.constant(layer.weight).expect("a layer's weight is constant");
            if float.shape() != tuned.weight.shape() {
                let (ours, theirs) = (tuned.weight.shape(), float.shape());
                return Err(misfit(format!("layer {name} is {ours:?}, in the network {theirs:?}")));
            }
            let coding = weight_coding(&tuned.weight_grids(), layer.output_axis, tuned.bits.weight);
            match coding {
                Some(coding) => graph.set_rounded(layer.weight, tuned.weight.clone(), coding),
                None => graph.set_constant(layer.weight, tuned.weight.clone()),
            }
            if let Some(bias) = &tuned.bias {
                graph.set_bias(layer.output, bias.clone());
            }
        }
        Ok((graph, layers))
    }

    /// The network as a .safetensors file: `NAME.weight`, `NAME.weight_scale` and `NAME.bias` of
    /// every layer, `TENSOR.activation_scale` of every rounding, and a text that says the rest.
    ///
    /// - `model_digest`: of the model the network was trained from
    pub fn to_file(&self, model_digest: &str) -> TensorFile {
        let mut file = TensorFile::default();
        for layer in &self.layers {
            let mut keep = |what: &str, array: &Array| {
                file.arrays.insert(format!("{}.{what}", layer.name), array.clone())
            };
            keep("weight", &layer.weight);
            keep("weight_scale", &layer.scales);
            layer.bias.as_ref().map(|bias| keep("bias", bias));
        }
        for TunedRounding { tensor, op } in &self.roundings {
            let scale = match *op {
                Op::FakeQuantize(grid) => grid.scale,
                Op::Binarize { scale } => scale,
                ref op => unreachable!("{op:?} does not round"),
            };
            let name = format!("{tensor}.activation_scale");
            file.arrays.insert(name, Array::f32(vec![1], [scale]));
        }
        let text = serde_json::to_string(&self.describe(model_digest)).expect("it is plain data");
        file.texts.insert(DESCRIPTION.into(), text);
        file
    }

    fn describe(&self, model_digest: &str) -> Description {
        let layers = self.layers.iter();
        let roundings = self.roundings.iter().map(|rounding| RoundingText {
            tensor: rounding.tensor.clone(),
            levels: match rounding.op {
                Op::FakeQuantize(Grid { zero_point, low, high, .. }) => {
                    LevelsText::Grid { zero_point, low, high }
                }
                _ => LevelsText::Signs,
            },
        });
        Description {
            schema: SCHEMA,
            model_digest: model_digest.to_owned(),
            layers: layers.map(|l| LayerText { name: l.name.clone(), bits: l.bits }).collect(),
            roundings: roundings.collect(),
        }
    }

    /// Reads what [`TunedNetwork::to_file`] wrote; also gives the digest of the model.
    ///
    /// # Errors
    /// [`QuantizationError::Tuned`] when it is no such file, or part of it is missing or no
    /// usable number.
    pub fn of_file(file: &TensorFile) -> Result<(Self, String), QuantizationError> {
        let text = file.texts.get(DESCRIPTION).ok_or_else(|| {
            misfit("it holds no tuned network; tuned.safetensors of haq finetune does".into())
        })?;
        let described: Description =
            serde_json::from_str(text).map_err(|error| misfit(error.to_string()))?;
        if described.schema > SCHEMA {
            let found = described.schema;
            return Err(misfit(format!("schema {found} is newer than this program reads")));
        }
        let layers = described.layers.into_iter().map(|layer| tuned_layer(file, layer));
        let roundings = described.roundings.into_iter().map(|text| tuned_rounding(file, text));
        let network = Self {
            layers: layers.collect::<Result<_, _>>()?,
            roundings: roundings.collect::<Result<_, _>>()?,
        };
        Ok((network, described.model_digest))
    }
}

fn tuned_layer(file: &TensorFile, text: LayerText) -> Result<TunedLayer, QuantizationError> {
    let LayerText { name, bits } = text;
    let weight = finite(file, &format!("{name}.weight"))?;
    let scales = finite(file, &format!("{name}.weight_scale"))?;
    let bias = match file.arrays.contains_key(&format!("{name}.bias")) {
        true => Some(finite(file, &format!("{name}.bias"))?),
        false => None,
    };
    let usable = |scale: &f32| *scale > 0.0;
    if !scales.as_f32().is_some_and(|scales| scales.iter().all(usable)) {
        return Err(misfit(format!("{name}.weight_scale holds a number that is not above 0")));
    }
    if bias.as_ref().is_some_and(|bias| bias.shape() != scales.shape()) {
        return Err(misfit(format!("layer {name} has not as many biases as scales")));
    }
    Ok(TunedLayer { name, bits, weight, scales, bias })
}

fn tuned_rounding(
    file: &TensorFile,
    text: RoundingText,
) -> Result<TunedRounding, QuantizationError> {
    let name = format!("{}.activation_scale", text.tensor);
    let scale = finite(file, &name)?.as_f32().and_then(|data| data.first().copied());
    let scale = scale
        .filter(|scale| *scale > 0.0)
        .ok_or_else(|| misfit(format!("{name} is not a number above 0")))?;
    let op = match text.levels {
        LevelsText::Grid { zero_point, low, high } => {
            if low > high || !(low..=high).contains(&zero_point) {
                let codes = format!("{low} to {high} with zero point {zero_point}");
                return Err(misfit(format!("tensor {} has codes {codes}", text.tensor)));
            }
            Op::FakeQuantize(Grid { scale, zero_point, low, high })
        }
        LevelsText::Signs => Op::Binarize { scale },
    };
    Ok(TunedRounding { tensor: text.tensor, op })
}

/// An array of the file without NaN and infinity.
fn finite(file: &TensorFile, name: &str) -> Result<Array, QuantizationError> {
    let array = file.arrays.get(name).ok_or_else(|| misfit(format!("{name} is missing")))?;
    let numbers = array.as_f32().expect("a tensor file holds f32");
    match numbers.iter().position(|x| !x.is_finite()) {
        None => Ok(array.clone()),
        Some(at) => Err(misfit(format!("{name}: number {at} is {}", numbers[at]))),
    }
}

fn misfit(reason: String) -> QuantizationError {
    QuantizationError::Tuned { reason }
}
