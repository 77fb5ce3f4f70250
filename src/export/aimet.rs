//! Encodings of a quantized network as AIMET and Qualcomm's tools read them, beside a float
//! network.
//!
//! Source: `aimet-onnx` 2.42, whose loader refuses fields and names that are not as below.

use std::{collections::BTreeMap, fmt};

use serde_json::{Value, json};

use crate::{
    export::{deployment::bits_of, target::ExportError},
    network::{Coding, Graph, Grid, Node, Op, QuantizableLayer, TensorId},
};

/// Forms of the encodings file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AimetVersion {
    /// 1.0.0: what older tools of Qualcomm read.
    One,
    /// 2.0.0: as ONNX says it.
    Two,
}

impl fmt::Display for AimetVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::One => "1.0.0",
            Self::Two => "2.0.0",
        })
    }
}

/// What one tensor is rounded to.
struct Encoding {
    bits: u32,
    scales: Vec<f32>,
    /// Codes that stand for 0, of codes from 0 on; none for codes of two's complement.
    zero_points: Option<Vec<i32>>,
    /// Of a scale for each slice.
    axis: Option<usize>,
}

/// The encodings of all rounded tensors of a network.
///
/// A tensor that a layer reads is named by what computes it, before changes of its shape and maxima:
/// there AIMET has a quantizer, which rounds it for every reader.
///
/// - `graph`: with roundings; the file goes with the same network without
///
/// # Errors
/// [`ExportError::Layer`] for roundings that the form cannot say.
pub fn aimet_encodings(graph: &Graph, version: AimetVersion) -> Result<Value, ExportError> {
    let (mut parameters, mut activations) = (BTreeMap::new(), BTreeMap::<String, Encoding>::new());
    for layer in graph.quantizable_layers() {
        if let Some(encoding) = of_weight(graph, &layer)? {
            parameters.insert(graph.tensor_name(layer.weight).to_owned(), encoding);
        }
        let Some(rounding) = graph.producer(layer.input).map(|index| &graph.nodes()[index]) else {
            continue;
        };
        let Some(encoding) = of_rounding(&layer, rounding)? else { continue };
        let source = rounding.input(0).map(|tensor| computed(graph, tensor));
        let name = source.map(|tensor| graph.tensor_name(tensor).to_owned()).unwrap_or_default();
        let known = activations.get(&name).map_or(0, |known| known.bits);
        if encoding.bits > known {
            activations.insert(name, encoding);
        }
    }
    let list = |encodings: BTreeMap<String, Encoding>| -> Vec<Value> {
        encodings.iter().map(|(name, encoding)| encoding.json(name, version)).collect()
    };
    let producer = json!({
        "package": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
    });
    let (activations, parameters) = (list(activations), list(parameters));
    Ok(match version {
        AimetVersion::One => json!({
            "version": version.to_string(),
            "producer": producer,
            "activation_encodings": activations,
            "param_encodings": parameters,
        }),
        AimetVersion::Two => json!({
            "version": version.to_string(),
            "producer": producer,
            "encodings": Value::Array(activations.into_iter().chain(parameters).collect()),
        }),
    })
}

/// What a tensor is made from by changes of shape, and maxima, alone: rounding before them is
/// rounding after them.
fn computed(graph: &Graph, mut tensor: TensorId) -> TensorId {
    while let Some(Node { op, inputs, .. }) = graph.producer(tensor).map(|at| &graph.nodes()[at])
        && matches!(
            op,
            Op::Reshape { .. }
                | Op::Flatten { .. }
                | Op::Transpose { .. }
                | Op::Squeeze { .. }
                | Op::Unsqueeze { .. }
                | Op::Slice { .. }
                | Op::MaxPool { .. }
                | Op::Identity
        )
        && let Some(&Some(source)) = inputs.first()
    {
        tensor = source;
    }
    tensor
}

fn of_weight(graph: &Graph, layer: &QuantizableLayer) -> Result<Option<Encoding>, ExportError> {
    let (Some(coding), Some(weight)) = (graph.coding(layer.weight), graph.constant(layer.weight))
    else {
        return Ok(None);
    };
    let Some(codes) = coding.codes_of(weight).filter(|_| coding.offsets.is_empty()) else {
        return Err(refuse(layer, "an offset of its weights", "choose a method without"));
    };
    // Two levels around 0 are two of the four of 2 bits.
    let bits = u32::from(coding.bits.max(codes.least_bits())).max(2);
    let zero_points = codes.ranges.iter().map(|(low, _)| -low).collect();
    let Coding { axis, scales, .. } = coding;
    Ok(Some(Encoding {
        bits,
        scales: scales.to_vec(),
        zero_points: (!codes.are_signed(bits)).then_some(zero_points),
        axis: Some(*axis),
    }))
}

fn of_rounding(layer: &QuantizableLayer, node: &Node) -> Result<Option<Encoding>, ExportError> {
    match node.op {
        Op::FakeQuantize(grid) => {
            let Grid { scale, zero_point, low, .. } = grid;
            let zero_points = (low == 0).then(|| vec![zero_point]);
            Ok(Some(Encoding { bits: bits_of(grid), scales: vec![scale], zero_points, axis: None }))
        }
        Op::Binarize { .. } => Err(refuse(layer, "1 signed bit of its input", "give it 2")),
        Op::DynamicQuantize { .. } => {
            Err(refuse(layer, "a range found at run time", "choose a static method"))
        }
        _ => Ok(None),
    }
}

fn refuse(layer: &QuantizableLayer, what: &str, remedy: &'static str) -> ExportError {
    let (layer, what) = (layer.name.clone(), what.to_owned());
    ExportError::Layer { layer, what, format: "AIMET encodings", remedy }
}

impl Encoding {
    fn json(&self, name: &str, version: AimetVersion) -> Value {
        match version {
            AimetVersion::One => self.first_form(name),
            AimetVersion::Two => self.second_form(name),
        }
    }

    /// Codes count from 0 here: `(code + offset) * scale`.
    fn first_form(&self, name: &str) -> Value {
        let half = 1i64 << (self.bits - 1);
        let offsets: Vec<i64> = match &self.zero_points {
            None => vec![-half; self.scales.len()],
            Some(zero_points) => zero_points.iter().map(|&zero| -i64::from(zero)).collect(),
        };
        json!({
            "name": name,
            "dtype": "INT",
            "bw": self.bits,
            "is_sym": self.zero_points.is_none(),
            "enc_type": if self.axis.is_some() { "PER_CHANNEL" } else { "PER_TENSOR" },
            "scale": self.scales,
            "offset": offsets,
        })
    }

    fn second_form(&self, name: &str) -> Value {
        let sign = if self.zero_points.is_some() { "uint" } else { "int" };
        let mut entry = json!({
            "name": name,
            "output_dtype": format!("{sign}{}", self.bits),
        });
        entry["y_scale"] = match self.axis {
            Some(_) => json!(self.scales),
            None => json!(self.scales[0]),
        };
        if let Some(zero_points) = self.zero_points.as_ref().filter(|z| z.iter().any(|z| *z != 0)) {
            entry["y_zero_point"] = match self.axis {
                Some(_) => json!(zero_points),
                None => json!(zero_points[0]),
            };
        }
        if let Some(axis) = self.axis {
            entry["axis"] = json!(axis);
        }
        entry
    }
}

/// The bits that an encodings file gives each layer of a network: of its weights, and of what it
/// reads; none where it has no entry.
///
/// # Errors
/// What is wrong with the file.
pub fn bits_of_encodings(file: &Value, graph: &Graph) -> Result<Vec<[Option<u8>; 2]>, String> {
    let lists = ["encodings", "activation_encodings", "param_encodings"];
    let entries: Vec<&Value> =
        lists.iter().filter_map(|list| file[*list].as_array()).flatten().collect();
    if entries.is_empty() {
        return Err("it has no encodings; it needs a list of them, version 1.0.0 or 2.0.0".into());
    }
    let mut bits = BTreeMap::new();
    for entry in entries {
        let name = entry["name"].as_str().ok_or("an entry has no name")?;
        let typed = || {
            let kind = entry["output_dtype"].as_str()?;
            kind.trim_start_matches('u').strip_prefix("int")?.parse().ok()
        };
        let found = entry["bw"].as_u64().or_else(typed).filter(|bits| (1..=32).contains(bits));
        let found =
            found.ok_or_else(|| format!("entry {name} says no bits: bw or output_dtype"))?;
        bits.insert(name, found as u8);
    }
    let of = |tensor: TensorId| {
        let own = bits.get(graph.tensor_name(tensor));
        own.or_else(|| bits.get(graph.tensor_name(computed(graph, tensor)))).copied()
    };
    let layers = graph.quantizable_layers();
    let found: Vec<_> = layers.iter().map(|layer| [of(layer.weight), of(layer.input)]).collect();
    match found.iter().flatten().any(Option::is_some) {
        true => Ok(found),
        false => {
            Err("none of its entries names a weight or an input of the network's layers".into())
        }
    }
}
