//! Small models made by hand.

use haq::network::{Graph, NetworkError};
use prost::Message as _;

use crate::onnx;

const FLOAT: i32 = 1;
pub const INT64: i32 = 7;

pub fn value(name: &str, dims: &[i64]) -> onnx::Value {
    let dim = dims.iter().map(|&n| onnx::Dim { value: Some(n) }).collect();
    let tensor = onnx::TensorType { elem_type: FLOAT, shape: Some(onnx::Shape { dim }) };
    onnx::Value { name: name.into(), kind: Some(onnx::Type { tensor: Some(tensor) }) }
}

pub fn node(op: &str, inputs: &[&str], output: &str) -> onnx::Node {
    onnx::Node {
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        name: format!("the {op}"),
        op_type: op.into(),
        attribute: vec![],
    }
}

pub fn ints(name: &str, ints: &[i64]) -> onnx::Attribute {
    onnx::Attribute { name: name.into(), ints: ints.to_vec(), kind: 7, ..Default::default() }
}

pub fn floats(name: &str, dims: &[i64], data: &[f32]) -> onnx::Tensor {
    onnx::Tensor {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: FLOAT,
        float_data: data.to_vec(),
        ..Default::default()
    }
}

pub fn numbers(name: &str, data: &[i64]) -> onnx::Tensor {
    onnx::Tensor {
        name: name.into(),
        dims: vec![data.len() as i64],
        data_type: INT64,
        int64_data: data.to_vec(),
        ..Default::default()
    }
}

/// `y = relu(x)` for `x` of `[1, 3, 8, 8]`: sound, to be broken.
pub fn sound() -> onnx::Model {
    onnx::Model {
        ir_version: 8,
        opset_import: vec![onnx::Opset { domain: String::new(), version: 17 }],
        graph: Some(onnx::Graph {
            node: vec![node("Relu", &["x"], "y")],
            initializer: vec![],
            input: vec![value("x", &[1, 3, 8, 8])],
            output: vec![value("y", &[1, 3, 8, 8])],
        }),
    }
}

pub fn load(model: &onnx::Model) -> Result<Graph, NetworkError> {
    Graph::from_bytes(model.encode_to_vec(), None)
}

/// A model with other nodes and initializers.
pub fn with(node: Vec<onnx::Node>, initializer: Vec<onnx::Tensor>) -> onnx::Model {
    let mut model = sound();
    let graph = model.graph.as_mut().unwrap();
    (graph.node, graph.initializer) = (node, initializer);
    model
}
