//! Reshape targets that depend on the batch size, written as ONNX's "copy" and "the rest".

use crate::network::{
    array::Array,
    error::NetworkError,
    graph::Graph,
    ops::Op,
    shapes::{Dim, Entry, Fact},
};

/// Turns computed target shapes into constants that hold for every batch size.
pub(super) fn settle_targets(graph: &mut Graph) -> Result<(), NetworkError> {
    let facts = graph.open_facts()?;
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let Op::Reshape { allow_zero } = node.op else { continue };
        let (Some(x), Some(target)) = (node.input(0), node.input(1)) else { continue };
        if graph.constants.contains_key(&target) {
            continue;
        }
        let fact = |tensor: crate::network::TensorId| facts[tensor.index()].as_ref();
        let (Some(x), Some(target)) = (fact(x), fact(target)) else { continue };
        if let Some(target) = settled(x, target, allow_zero) {
            let name = format!("{}/shape", node.name);
            let constant = graph.add_constant(&name, target);
            graph.nodes[index].inputs[1] = Some(constant);
        }
    }
    Ok(())
}

/// The target with each open number replaced by 0 (the input's length at this place) or -1.
fn settled(x: &Fact, target: &Fact, allow_zero: bool) -> Option<Array> {
    let entries = target.as_entries()?;
    let mut rest_is_free = !entries.contains(&Entry::Known(-1));
    let mut numbers = Vec::with_capacity(entries.len());
    for (position, entry) in entries.iter().enumerate() {
        let copies = !allow_zero
            && matches!(entry, Entry::Symbol(symbol)
                if x.shape.get(position) == Some(&Dim::Symbol(*symbol)));
        numbers.push(match entry {
            Entry::Known(n) => *n,
            _ if copies => 0,
            _ if std::mem::take(&mut rest_is_free) => -1,
            _ => return None,
        });
    }
    Some(Array::i64(vec![numbers.len()], numbers))
}
