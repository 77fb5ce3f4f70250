//! Writes a graph as an ONNX model. Tensors keep their names.

use std::collections::{BTreeMap, HashSet};

use super::{
    coded::{self, QONNX_DOMAIN},
    file::{OnnxFile, Stored},
    proto::{
        GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
        TensorShapeProto, TypeProto, ValueInfoProto,
        tensor_proto::DataType,
        tensor_shape_proto::{Dimension, dimension::Value as DimValue},
        type_proto::{Tensor as TensorType, Value as TypeValue},
    },
    write,
};
use crate::network::{
    array::{Array, ArrayData, ElementType},
    error::NetworkError,
    graph::{Graph, InputDim, Node, TensorId},
    shapes::Dim,
};

/// How rounded tensors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnnxForm {
    /// As floats; a graph that rounds on the way is refused.
    #[default]
    Float,
    /// Codes and scales: `QuantizeLinear`, `Clip` where a width is no type's, `DequantizeLinear`.
    Qdq {
        /// Whether codes of two bits may have a type of their own, which needs opset 25.
        two_bits: bool,
    },
    /// Floats behind `Quant` nodes of QONNX.
    Qonnx,
}

impl OnnxForm {
    /// Operator set and file version: known to every runtime of the last years unless two-bit
    /// types are wanted.
    fn versions(self) -> (i64, i64) {
        match self {
            OnnxForm::Qdq { two_bits: true } => (25, 13),
            _ => (21, 10),
        }
    }
}

impl Graph {
    /// The bytes of an ONNX file of opset 21 that computes the same.
    ///
    /// # Errors
    /// [`NetworkError::Unsupported`] for rounding to a grid, which is no ONNX operation.
    pub fn to_onnx(&self) -> Result<Vec<u8>, NetworkError> {
        Ok(self.to_onnx_file(OnnxForm::Float, &BTreeMap::new())?.to_bytes())
    }

    /// An ONNX file that computes the same.
    ///
    /// - `texts`: what the file keeps beside the network, by name
    ///
    /// # Errors
    /// [`NetworkError::Unsupported`] for what the form has no operation for.
    pub fn to_onnx_file(
        &self,
        form: OnnxForm,
        texts: &BTreeMap<String, String>,
    ) -> Result<OnnxFile, NetworkError> {
        let mut writer = Writer::new(self, form);
        for (tensor, array) in self.constants() {
            if !coded::constant(&mut writer, tensor, array) {
                writer.initializers.push(tensor_message(self.tensor_name(tensor), array));
            }
        }
        for node in self.nodes() {
            write::node(&mut writer, node)?;
        }
        let facts = self.open_facts()?;
        let output = |tensor: &TensorId| {
            let fact = facts[tensor.index()].as_ref();
            let element = fact.map_or(ElementType::F32, |fact| fact.element);
            let dims = fact.map(|fact| fact.shape.iter().map(|dim| dim_message(*dim)).collect());
            value_message(self.tensor_name(*tensor), element, dims)
        };
        let graph = GraphProto {
            name: Some("network".into()),
            node: writer.nodes,
            initializer: writer.initializers,
            input: self
                .inputs()
                .iter()
                .map(|input| {
                    let dims = input.dims.iter().map(input_dim_message).collect();
                    value_message(self.tensor_name(input.tensor), input.element, Some(dims))
                })
                .collect(),
            output: self.outputs().iter().map(output).collect(),
            ..Default::default()
        };
        let (opset, ir_version) = form.versions();
        let operators = |domain: &str, version| OperatorSetIdProto {
            domain: Some(domain.into()),
            version: Some(version),
        };
        let mut opset_import = vec![operators("", opset)];
        if form == OnnxForm::Qonnx {
            opset_import.push(operators(QONNX_DOMAIN, 1));
        }
        let text = |(key, value): (&String, &String)| StringStringEntryProto {
            key: Some(key.clone()),
            value: Some(value.clone()),
        };
        let model = ModelProto {
            ir_version: Some(ir_version),
            producer_name: Some(env!("CARGO_PKG_NAME").into()),
            producer_version: Some(env!("CARGO_PKG_VERSION").into()),
            opset_import,
            graph: Some(graph),
            metadata_props: texts.iter().map(text).collect(),
            ..Default::default()
        };
        Ok(OnnxFile { model, stored: writer.stored })
    }
}

/// The messages made so far.
pub(super) struct Writer<'a> {
    pub graph: &'a Graph,
    pub form: OnnxForm,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    pub stored: Stored,
    taken: HashSet<String>,
}

impl<'a> Writer<'a> {
    fn new(graph: &'a Graph, form: OnnxForm) -> Self {
        let taken = graph.tensor_names.iter().cloned().collect();
        let (nodes, initializers, stored) = (vec![], vec![], Stored::default());
        Self { graph, form, nodes, initializers, stored, taken }
    }

    /// The names of a node's inputs, empty where one is left out.
    pub fn input_names(&self, node: &Node) -> Vec<String> {
        let name = |input: &Option<TensorId>| {
            input.map_or_else(String::new, |id| self.graph.tensor_name(id).to_owned())
        };
        node.inputs.iter().map(name).collect()
    }

    pub fn output_name(&self, node: &Node) -> String {
        self.graph.tensor_name(node.output).to_owned()
    }

    /// A name that no tensor has yet, for something that belongs to a tensor.
    pub fn fresh_name(&mut self, owner: &str, what: &str) -> String {
        let mut name = format!("{owner}/{what}");
        while !self.taken.insert(name.clone()) {
            name.push('_');
        }
        name
    }

    /// Adds a constant that belongs to a tensor, and returns its name.
    pub fn constant(&mut self, owner: &str, what: &str, array: &Array) -> String {
        let name = self.fresh_name(owner, what);
        self.initializers.push(tensor_message(&name, array));
        name
    }

    pub fn push_initializer(&mut self, message: TensorProto) {
        self.initializers.push(message);
    }

    pub fn push(&mut self, message: NodeProto) {
        self.nodes.push(message);
    }
}

pub(super) fn data_type(element: ElementType) -> DataType {
    match element {
        ElementType::F32 => DataType::Float,
        ElementType::I64 => DataType::Int64,
        ElementType::Bool => DataType::Bool,
    }
}

pub(super) fn tensor_message(name: &str, array: &Array) -> TensorProto {
    let bytes: Vec<u8> = match array.data() {
        ArrayData::F32(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ArrayData::I64(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ArrayData::Bool(data) => data.iter().map(|&x| x.into()).collect(),
    };
    TensorProto {
        name: Some(name.to_owned()),
        dims: array.shape().iter().map(|&n| n as i64).collect(),
        data_type: Some(data_type(array.element()).into()),
        raw_data: Some(bytes.into()),
        ..Default::default()
    }
}

fn value_message(name: &str, element: ElementType, dims: Option<Vec<Dimension>>) -> ValueInfoProto {
    let tensor = TensorType {
        elem_type: Some(data_type(element).into()),
        shape: dims.map(|dim| TensorShapeProto { dim }),
    };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value: Some(TypeValue::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn input_dim_message(dim: &InputDim) -> Dimension {
    let value = match dim {
        InputDim::Fixed(n) => Some(DimValue::DimValue(*n as i64)),
        InputDim::Open(name) if name.is_empty() => None,
        InputDim::Open(name) => Some(DimValue::DimParam(name.clone())),
    };
    Dimension { value, ..Default::default() }
}

fn dim_message(dim: Dim) -> Dimension {
    Dimension { value: dim.known().map(|n| DimValue::DimValue(n as i64)), ..Default::default() }
}
