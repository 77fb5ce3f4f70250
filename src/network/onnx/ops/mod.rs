//! What each ONNX operation becomes. One table a group; a new operation is one more row.

mod activations;
mod arithmetic;
mod normalization;
mod pointwise;
mod quantization;
mod resize;
mod views;
mod windows;

use super::{lowered::Lowered, node::NodeReader};
use crate::network::error::NetworkError;

/// Reads one kind of node.
type Lower = fn(&NodeReader<'_>) -> Result<Lowered, NetworkError>;

/// The operations by group.
const GROUPS: [&[(&str, Lower)]; 8] = [
    windows::OPS,
    resize::OPS,
    normalization::OPS,
    arithmetic::OPS,
    activations::OPS,
    pointwise::OPS,
    quantization::OPS,
    views::OPS,
];

/// What a node becomes.
pub(super) fn lower(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let domain = node.proto.domain();
    let name = match domain {
        "" | "ai.onnx" => node.op().to_owned(),
        domain => format!("{domain}.{}", node.op()),
    };
    let row = GROUPS.into_iter().flatten().find(|(known, _)| *known == name);
    match row {
        Some((_, lower)) => lower(node),
        None => Err(NetworkError::UnsupportedOp {
            node: node.name.clone(),
            op: name,
            supported: supported(),
        }),
    }
}

fn supported() -> String {
    let mut names: Vec<&str> = GROUPS.into_iter().flatten().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.join(", ")
}
