//! What can go wrong between a model file and its output.

use std::path::PathBuf;

/// Every failure names the node, tensor or file it happened in.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: {error}")]
    File { path: PathBuf, error: Box<NetworkError> },
    #[error("not an ONNX model: {reason}")]
    NotOnnx { reason: String },
    #[error("the model needs opset {found} of {domain}; {supported} can be read")]
    Opset { domain: String, found: i64, supported: String },
    #[error("node {node}: operation {op} is not supported; supported are {supported}")]
    UnsupportedOp { node: String, op: String, supported: String },
    #[error("node {node} ({op}): {what} is not supported; {remedy}")]
    Unsupported { node: String, op: String, what: String, remedy: String },
    #[error("node {node} ({op}): attribute {attribute} is {found}; it needs to be {expected}")]
    Attribute { node: String, op: String, attribute: String, found: String, expected: String },
    #[error("node {node} ({op}): {found} inputs are given; it needs {expected}")]
    InputCount { node: String, op: String, found: usize, expected: String },
    #[error("node {node}: tensor {tensor:?} is read but nothing makes it")]
    Dangling { node: String, tensor: String },
    #[error("{what} {name:?} is defined twice; names need to be unique")]
    Duplicate { what: &'static str, name: String },
    #[error("the graph is cyclic: node {node} reads {tensor:?}, which is made from what it writes")]
    Cyclic { node: String, tensor: String },
    #[error("tensor {tensor:?}: {reason}")]
    Tensor { tensor: String, reason: String },
    #[error("tensor {tensor:?}: external data {location:?}: {reason}")]
    ExternalData { tensor: String, location: String, reason: String },
    #[error("node {node} ({op}): {reason}")]
    Shape { node: String, op: String, reason: String },
    #[error("input {input:?} has shape {found}; the network needs {expected}")]
    InputShape { input: String, found: String, expected: String },
    #[error("the network has {found} {what}; this needs exactly one")]
    NotSingle { what: &'static str, found: usize },
    #[error("node {node} ({op}) cannot be computed: {reason}")]
    Execution { node: String, op: String, reason: String },
}

/// A shape as messages print it: `[n, 3, 32, 32]`.
pub(super) fn show_shape<D: ToString>(shape: &[D]) -> String {
    let dims: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("[{}]", dims.join(", "))
}
