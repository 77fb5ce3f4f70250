//! Zero padding of images folded into the convolution or mean that reads them.

use crate::network::{
    graph::{Graph, TensorId},
    ops::Op,
};

/// Only readers that pad with zeros themselves take the padding over; others go on reading it.
pub(super) fn fold(graph: &mut Graph) {
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let (Some(x), Some(amounts)) = (node.input(0), spatial_zeros(&node.op)) else { continue };
        for reader in graph.readers(node.output) {
            take_over(graph, reader, x, amounts);
        }
    }
}

/// Top, left, bottom and right padding, when the operation pads images with zeros and
/// nothing else.
fn spatial_zeros(op: &Op) -> Option<[usize; 4]> {
    let Op::Pad { before, after, value } = op else { return None };
    let &[0, 0, top, left] = before.as_slice() else { return None };
    let &[0, 0, bottom, right] = after.as_slice() else { return None };
    let amounts = [top, left, bottom, right].map(usize::try_from);
    let [Ok(top), Ok(left), Ok(bottom), Ok(right)] = amounts else { return None };
    (*value == 0.0).then_some([top, left, bottom, right])
}

fn take_over(graph: &mut Graph, reader: usize, x: TensorId, amounts: [usize; 4]) {
    let node = &mut graph.nodes[reader];
    let window = match &mut node.op {
        Op::Conv { window, .. } => window,
        Op::AveragePool { window, ceil: false, count_padding }
            if window.padding == [0; 4] || *count_padding =>
        {
            *count_padding = true;
            window
        }
        _ => return,
    };
    for (own, more) in window.padding.iter_mut().zip(amounts) {
        *own += more;
    }
    node.inputs[0] = Some(x);
}
