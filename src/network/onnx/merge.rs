//! Changes to codes and back, as quantized files have them, become one rounding each.

use std::collections::{BTreeMap, BTreeSet};

use crate::network::{
    array::Array,
    attributes::{Comparison, Grid},
    coding::Coding,
    graph::{Graph, Node, TensorId},
    ops::{Op, axis_index},
};

/// Replaces each `Quantize` whose codes are only moved, bounded and turned back into numbers by
/// one `FakeQuantize`.
pub(super) fn merge(graph: &mut Graph) {
    for index in 0..graph.nodes.len() {
        if let Some(found) = CodedRegion::behind(graph, index) {
            found.replace(graph, index);
        }
    }
    merge_signs(graph);
    remove_identities(graph);
}

/// What reads codes until they are numbers again.
struct CodedRegion {
    grid: Grid,
    /// Positions of nodes that the grid makes needless.
    needless: Vec<usize>,
    /// What is made of numbers again, behind nothing but bounds.
    numbers: Vec<TensorId>,
}

impl CodedRegion {
    fn behind(graph: &Graph, index: usize) -> Option<Self> {
        let node = &graph.nodes[index];
        let Op::Quantize { low, high, .. } = node.op else { return None };
        let scaling = Scaling::of(graph, node)?;
        let mut bounds = (low, high);
        // By tensor of codes: whether anything but bounds lies before it.
        let mut coded: BTreeMap<TensorId, bool> = [(node.output, false)].into();
        let (mut needless, mut numbers) = (Vec::new(), Vec::new());
        for (position, reader) in graph.nodes.iter().enumerate().skip(index + 1) {
            let read: BTreeSet<TensorId> =
                reader.reads().filter(|tensor| coded.contains_key(tensor)).collect();
            let Some(&tensor) = read.first() else { continue };
            if reader.input(0) != Some(tensor) || read.len() > 1 {
                return None;
            }
            let is_moved = coded[&tensor];
            match &reader.op {
                Op::Dequantize { block: 0, .. } if Scaling::of(graph, reader)? == scaling => {
                    needless.push(position);
                    if !is_moved {
                        numbers.push(reader.output);
                    }
                }
                Op::Max | Op::Min if !is_moved && graph.readers(tensor).len() == 1 => {
                    let bound = *graph.constant(reader.input(1)?)?.as_i64()?.first()?;
                    match reader.op {
                        Op::Max => bounds.0 = bounds.0.max(bound),
                        _ => bounds.1 = bounds.1.min(bound),
                    }
                    needless.push(position);
                    coded.insert(reader.output, false);
                }
                Op::Reshape { .. }
                | Op::Flatten { .. }
                | Op::Transpose { .. }
                | Op::Squeeze { .. }
                | Op::Unsqueeze { .. }
                | Op::Identity
                | Op::MaxPool { .. } => {
                    coded.insert(reader.output, true);
                }
                _ => return None,
            }
        }
        let whole = |number: i64| i32::try_from(number).ok();
        let (low, high) = (whole(bounds.0)?, whole(bounds.1)?);
        let escapes = coded.keys().any(|tensor| graph.is_output(*tensor));
        let grid = Grid { scale: scaling.scale, zero_point: scaling.zero_point, low, high };
        (!escapes && !needless.is_empty() && low < high).then_some(Self { grid, needless, numbers })
    }

    fn replace(self, graph: &mut Graph, index: usize) {
        let Self { grid, needless, numbers } = self;
        graph.nodes[index].op = Op::FakeQuantize(grid);
        graph.nodes[index].inputs.truncate(1);
        for position in needless {
            graph.nodes[position].op = Op::Identity;
            graph.nodes[position].inputs.truncate(1);
        }
        // The rounded tensor is the one that the file calls so.
        if let [only] = numbers[..] {
            let rounded = graph.nodes[index].output;
            graph.tensor_names.swap(rounded.index(), only.index());
        }
    }
}

/// One scale and one zero point.
#[derive(PartialEq)]
struct Scaling {
    scale: f32,
    zero_point: i32,
}

impl Scaling {
    fn of(graph: &Graph, node: &Node) -> Option<Self> {
        let [scale] = *graph.constant(node.input(1)?)?.as_f32()? else { return None };
        let zero_point = match node.input(2) {
            None => 0,
            Some(zero_point) => match graph.constant(zero_point)?.as_i64()? {
                [one] => i32::try_from(*one).ok()?,
                _ => return None,
            },
        };
        (scale > 0.0 && scale.is_finite()).then_some(Self { scale, zero_point })
    }
}

/// `x >= 0 ? scale : -scale`, as one bit of a signed tensor is written.
fn merge_signs(graph: &mut Graph) {
    for index in 0..graph.nodes.len() {
        if let Some((x, scale)) = signs(graph, &graph.nodes[index]) {
            graph.nodes[index].op = Op::Binarize { scale };
            graph.nodes[index].inputs = vec![Some(x)];
        }
    }
}

fn signs(graph: &Graph, node: &Node) -> Option<(TensorId, f32)> {
    if !matches!(node.op, Op::Where) {
        return None;
    }
    let number = |tensor: Option<TensorId>| match graph.constant(tensor?)?.as_f32()? {
        [one] => Some(*one),
        _ => None,
    };
    let (yes, no) = (number(node.input(1))?, number(node.input(2))?);
    let condition = &graph.nodes[graph.producer(node.input(0)?)?];
    let is_sign = matches!(condition.op, Op::Compare(Comparison::GreaterOrEqual))
        && number(condition.input(1)) == Some(0.0);
    (is_sign && yes > 0.0 && no == -yes).then_some((condition.input(0)?, yes))
}

/// Lets the readers of an identity read what it reads, unless it writes an output.
fn remove_identities(graph: &mut Graph) {
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let (Op::Identity, Some(from), to) = (&node.op, node.input(0), node.output) else {
            continue;
        };
        if !graph.is_output(to) {
            graph.redirect(to, from, |_| true);
        }
    }
    graph.remove_unused();
}

/// How a coded constant is coded once numbers are added, one for all or one a slice.
pub(super) fn moved_coding(op: &Op, known: &Coding, added: &Array) -> Option<Coding> {
    let numbers = added.as_f32()?;
    let is_along = added.shape().iter().filter(|length| **length > 1).count() <= 1;
    let fits = numbers.len() == known.scales.len() && is_along && known.offsets.is_empty();
    (matches!(op, Op::Add) && fits).then(|| Coding { offsets: numbers.into(), ..known.clone() })
}

/// How a constant is coded that was made from codes.
///
/// - `inputs`: of the `Dequantize` that makes it: codes, scales, zero points
pub(super) fn coding_of(op: &Op, inputs: [Option<&Array>; 2], made: &Array) -> Option<Coding> {
    let &Op::Dequantize { axis, block: 0 } = op else { return None };
    let [codes, scales] = inputs;
    let (codes, scales) = (codes?, scales?.as_f32()?);
    if scales.iter().any(|scale| !(*scale > 0.0 && scale.is_finite())) {
        return None;
    }
    let axis = match scales {
        [_] => 0,
        _ => axis_index(axis, codes.shape().len())?,
    };
    let mut coding = Coding::of_rows(scales.into(), 8);
    coding.axis = axis;
    coding.bits = coding.codes_of(made)?.least_bits();
    Some(coding)
}
