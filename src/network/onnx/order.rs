//! The order in which the nodes of a file are read.

use std::collections::{HashMap, HashSet};

use super::proto::{GraphProto, NodeProto};
use crate::network::error::NetworkError;

/// How far the walk has come with a node.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done,
}

/// Positions of the nodes that the outputs depend on, each after what it reads.
///
/// `given` are the names that need no node: inputs and initializers.
pub(super) fn sort(graph: &GraphProto, given: &HashSet<&str>) -> Result<Vec<usize>, NetworkError> {
    let producers = producers(graph, given)?;
    let mut order = Vec::with_capacity(graph.node.len());
    let mut marks = vec![Mark::New; graph.node.len()];
    for output in &graph.output {
        let Some(&producer) = producers.get(output.name()) else {
            if given.contains(output.name()) {
                continue;
            }
            return Err(dangling("the graph's output", output.name()));
        };
        visit(graph, given, &producers, producer, &mut marks, &mut order)?;
    }
    Ok(order)
}

/// Which node makes a tensor.
fn producers<'a>(
    graph: &'a GraphProto,
    given: &HashSet<&str>,
) -> Result<HashMap<&'a str, usize>, NetworkError> {
    let mut producers = HashMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            let taken = producers.insert(output.as_str(), index).is_some();
            if taken || given.contains(output.as_str()) {
                return Err(NetworkError::Duplicate { what: "tensor", name: output.clone() });
            }
        }
    }
    Ok(producers)
}

/// A walk in depth with its own stack, so that a deep graph can not exhaust ours.
fn visit(
    graph: &GraphProto,
    given: &HashSet<&str>,
    producers: &HashMap<&str, usize>,
    start: usize,
    marks: &mut [Mark],
    order: &mut Vec<usize>,
) -> Result<(), NetworkError> {
    let mut stack = vec![(start, 0)];
    while let Some((index, position)) = stack.pop() {
        let node = &graph.node[index];
        if position == 0 {
            if marks[index] == Mark::Done {
                continue;
            }
            marks[index] = Mark::Open;
        }
        let Some(name) = node.input.get(position) else {
            marks[index] = Mark::Done;
            order.push(index);
            continue;
        };
        stack.push((index, position + 1));
        if name.is_empty() || given.contains(name.as_str()) {
            continue;
        }
        let label = label(node, index);
        let producer = *producers.get(name.as_str()).ok_or_else(|| dangling(&label, name))?;
        match marks[producer] {
            Mark::New => stack.push((producer, 0)),
            Mark::Open => {
                return Err(NetworkError::Cyclic { node: label, tensor: name.clone() });
            }
            Mark::Done => {}
        }
    }
    Ok(())
}

/// The name of a node: its own, or one made of its operation and position.
pub(super) fn label(node: &NodeProto, index: usize) -> String {
    match node.name() {
        "" => format!("{}_{index}", node.op_type()),
        name => name.to_owned(),
    }
}

fn dangling(node: &str, tensor: &str) -> NetworkError {
    NetworkError::Dangling { node: node.to_owned(), tensor: tensor.to_owned() }
}
