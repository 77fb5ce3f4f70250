//! What integers cannot hold or compute.

use crate::network::Node;

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum IntegerError {
    #[error(
        "a multiplier of {0} has no fixed-point form; it needs to be finite, at least 0 and below 2^30"
    )]
    Multiplier(f64),
    #[error(
        "{what}: sums may reach {reach}, more than 32 bits hold; fewer bits or a shorter reduction would do"
    )]
    Accumulator { what: &'static str, reach: i64 },
    #[error("{what}: {found} values, {expected} expected")]
    Length { what: &'static str, found: usize, expected: usize },
    #[error("convolution: {0}")]
    Shape(&'static str),
    #[error("code {code} at {index} is outside {low} to {high}")]
    Code { index: usize, code: i32, low: i32, high: i32 },
    #[error("node {node} ({op}): {source}")]
    Node { node: String, op: &'static str, source: Box<IntegerError> },
    #[error("node {node} ({op}): integers cannot compute it {reason}")]
    Unsupported { node: String, op: &'static str, reason: String },
    #[error(
        "layer {layer}: weight {index} is {value}, and no level of its grid with scale {scale}; round the weights first"
    )]
    OffGrid { layer: String, index: usize, value: f32, scale: f32 },
    #[error("layer {layer}: {found} weight grids for {expected} output channels")]
    Grids { layer: String, found: usize, expected: usize },
    #[error(
        "tensor {tensor}: a grid from {low} to {high} around {zero_point}; codes have 8 bits and hold real 0"
    )]
    Grid { tensor: String, low: i32, high: i32, zero_point: i32 },
}

impl IntegerError {
    /// The same error with the node it came from.
    pub(super) fn at(self, node: &Node) -> Self {
        Self::Node { node: node.name.clone(), op: node.op.name(), source: Box::new(self) }
    }
}
