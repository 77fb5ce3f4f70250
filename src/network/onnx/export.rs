//! Writes a graph as an ONNX model. Tensors keep their names.

use prost::Message;

use super::{
    proto::{
        GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
        TypeProto, ValueInfoProto,
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

/// What is written: known to every runtime of the last years, with 4-bit types.
const OPSET: i64 = 21;
const IR_VERSION: i64 = 10;

impl Graph {
    /// The bytes of an ONNX file of opset 21 that computes the same.
    ///
    /// # Errors
    /// [`NetworkError::Unsupported`] for rounding to a grid, which is no ONNX operation.
    pub fn to_onnx(&self) -> Result<Vec<u8>, NetworkError> {
        let mut writer = Writer { graph: self, nodes: vec![], initializers: vec![] };
        for (tensor, array) in self.constants() {
            writer.initializers.push(tensor_message(self.tensor_name(tensor), array));
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
        let model = ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some(env!("CARGO_PKG_NAME").into()),
            producer_version: Some(env!("CARGO_PKG_VERSION").into()),
            opset_import: vec![OperatorSetIdProto {
                domain: Some(String::new()),
                version: Some(OPSET),
            }],
            graph: Some(graph),
            ..Default::default()
        };
        Ok(model.encode_to_vec())
    }
}

/// The messages made so far.
pub(super) struct Writer<'a> {
    graph: &'a Graph,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl Writer<'_> {
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

    /// A name that no tensor of the graph has.
    pub fn fresh_name(&self, node: &Node, what: &str) -> String {
        let mut name = format!("{}/{what}", self.output_name(node));
        while self.graph.tensor_named(&name).is_some() {
            name.push('_');
        }
        name
    }

    /// Adds a constant that only one node reads, and returns its name.
    pub fn constant(&mut self, node: &Node, what: &str, array: &Array) -> String {
        let name = self.fresh_name(node, what);
        self.initializers.push(tensor_message(&name, array));
        name
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
