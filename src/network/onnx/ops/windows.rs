//! Convolutions, pooling and padding.

use super::Lower;
use crate::network::{
    attributes::{Border, Reduction, Window},
    error::NetworkError,
    onnx::{
        lowered::{Lowered, Source},
        node::NodeReader,
    },
    ops::{Op, axis_index},
};

pub(super) const OPS: &[(&str, Lower)] = &[
    ("Conv", conv),
    ("ConvTranspose", conv_transpose),
    ("MaxPool", |node| pool(node, |window, ceil, _| Op::MaxPool { window, ceil })),
    ("AveragePool", |node| {
        pool(node, |window, ceil, count_padding| Op::AveragePool { window, ceil, count_padding })
    }),
    ("GlobalAveragePool", |node| Ok(Lowered::one(Op::GlobalAveragePool, node.take(1, 1)?))),
    ("GlobalMaxPool", global_max_pool),
    ("Pad", pad),
];

/// Images have two spatial axes; sequences have one and are treated as images of height 1.
fn spatial_axes(node: &NodeReader<'_>) -> Result<usize, NetworkError> {
    match node.rank(0)? {
        rank @ (3 | 4) => Ok(rank - 2),
        rank => Err(node.unsupported(
            format!("an input of {rank} dimensions"),
            "inputs of 3 (sequences) and 4 dimensions (images) are",
        )),
    }
}

/// The axis that makes a sequence an image.
const HEIGHT: i64 = 2;

fn conv(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let inputs = node.take(2, 3)?;
    let axes = spatial_axes(node)?;
    Ok(over_images(conv_op(node, 1)?, inputs, axes, &[0, 1]))
}

/// The convolution of a node whose weight is the input at `weight`.
pub(super) fn conv_op(node: &NodeReader<'_>, weight: usize) -> Result<Op, NetworkError> {
    let axes = spatial_axes(node)?;
    let found = node.required_fact(weight)?.rank();
    if found != axes + 2 {
        return Err(
            node.invalid(format!("its weight has {found} dimensions, its input {}", axes + 2))
        );
    }
    let kernel = match node.counts("kernel_shape", 1, axes)? {
        Some(kernel) => kernel,
        None => (0..axes).map(|axis| node.known_dim(weight, axis + 2)).collect::<Result<_, _>>()?,
    };
    let window = window(node, kernel)?;
    Ok(Op::Conv { window, groups: groups(node)? })
}

fn conv_transpose(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let inputs = node.take(2, 3)?;
    let axes = spatial_axes(node)?;
    let kernel = match node.counts("kernel_shape", 1, axes)? {
        Some(kernel) => kernel,
        None => (0..axes).map(|axis| node.known_dim(1, axis + 2)).collect::<Result<_, _>>()?,
    };
    let automatic = node.text("auto_pad")?.unwrap_or_default();
    if node.ints("output_shape")?.is_some() || automatic.starts_with("SAME") {
        return Err(node.unsupported("a given output shape", "export it with explicit pads"));
    }
    let window = window(node, kernel)?;
    let groups = groups(node)?;
    let more = node.counts("output_padding", 0, axes)?.unwrap_or_else(|| vec![0; axes]);
    let output_padding = match more[..] {
        [rows, columns] => [rows, columns],
        _ => [0, more[0]],
    };
    let op = Op::ConvTranspose { window, groups, output_padding };
    Ok(over_images(op, inputs, axes, &[0, 1]))
}

fn groups(node: &NodeReader<'_>) -> Result<usize, NetworkError> {
    let groups = node.int_or("group", 1)?;
    let known = usize::try_from(groups).ok().filter(|groups| *groups > 0);
    known.ok_or_else(|| node.wrong("group", groups, "above 0"))
}

fn pool(
    node: &NodeReader<'_>,
    make: fn(Window, bool, bool) -> Op,
) -> Result<Lowered, NetworkError> {
    let inputs = node.take(1, 1)?;
    let axes = spatial_axes(node)?;
    let kernel = node
        .counts("kernel_shape", 1, axes)?
        .ok_or_else(|| node.wrong("kernel_shape", "not given", "one number a spatial axis"))?;
    let window = window(node, kernel)?;
    let op = make(window, node.flag("ceil_mode", false)?, node.flag("count_include_pad", false)?);
    if let Op::AveragePool { window, .. } = &op
        && window.dilation != [1, 1]
    {
        return Err(node.unsupported("dilation", "export it without"));
    }
    Ok(over_images(op, inputs, axes, &[0]))
}

/// The operation itself, or for sequences the operation on images of height 1.
fn over_images(op: Op, mut inputs: Vec<Source>, axes: usize, widened: &[usize]) -> Lowered {
    if axes == 2 {
        return Lowered::one(op, inputs);
    }
    let mut steps = Vec::new();
    for &position in widened {
        let narrow = std::mem::replace(&mut inputs[position], Source::Step(steps.len()));
        steps.push((Op::Unsqueeze { axes: vec![HEIGHT] }, vec![narrow]));
    }
    let made = Source::Step(steps.len());
    steps.push((op, inputs));
    steps.push((Op::Squeeze { axes: vec![HEIGHT] }, vec![made]));
    Lowered::chain(steps)
}

fn window(node: &NodeReader<'_>, kernel: Vec<usize>) -> Result<Window, NetworkError> {
    let axes = kernel.len();
    let ones = || vec![1; axes];
    let stride = node.counts("strides", 1, axes)?.unwrap_or_else(ones);
    let dilation = node.counts("dilations", 1, axes)?.unwrap_or_else(ones);
    // Height 1 for sequences.
    let pair = |of: &[usize], fill| match *of {
        [height, width] => [height, width],
        [width] => [fill, width],
        _ => unreachable!("one or two spatial axes were found"),
    };
    let padding = padding(node, &kernel, &stride, &dilation)?;
    let (before, after) = padding.split_at(axes);
    let ([top, left], [bottom, right]) = (pair(before, 0), pair(after, 0));
    Ok(Window {
        kernel: pair(&kernel, 1),
        stride: pair(&stride, 1),
        padding: [top, left, bottom, right],
        dilation: pair(&dilation, 1),
    })
}

/// Padding before all axes, then after all axes.
fn padding(
    node: &NodeReader<'_>,
    kernel: &[usize],
    stride: &[usize],
    dilation: &[usize],
) -> Result<Vec<usize>, NetworkError> {
    let axes = kernel.len();
    let automatic = node.text("auto_pad")?.unwrap_or_default();
    match automatic.as_str() {
        "" | "NOTSET" => Ok(node.counts("pads", 0, 2 * axes)?.unwrap_or_else(|| vec![0; 2 * axes])),
        "VALID" => Ok(vec![0; 2 * axes]),
        "SAME_UPPER" | "SAME_LOWER" => {
            let mut padding = vec![0; 2 * axes];
            for axis in 0..axes {
                let extent = dilation[axis] * (kernel[axis] - 1) + 1;
                let total = if stride[axis] == 1 {
                    extent - 1
                } else {
                    let length = node.known_dim(0, axis + 2)?;
                    let last = (length.div_ceil(stride[axis]).max(1) - 1) * stride[axis];
                    (last + extent).saturating_sub(length)
                };
                let (small, large) = (total / 2, total - total / 2);
                let upper = automatic == "SAME_UPPER";
                padding[axis] = if upper { small } else { large };
                padding[axis + axes] = if upper { large } else { small };
            }
            Ok(padding)
        }
        other => Err(node.wrong("auto_pad", other, "NOTSET, VALID, SAME_UPPER or SAME_LOWER")),
    }
}

fn global_max_pool(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let inputs = node.take(1, 1)?;
    let axes = (2..node.rank(0)? as i64).collect();
    Ok(Lowered::one(Op::Reduce { kind: Reduction::Max, axes, keep: true }, inputs))
}

fn pad(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let inputs = node.take(1, 4)?;
    let mode = node.text("mode")?.unwrap_or_else(|| "constant".into());
    let border = match mode.as_str() {
        "constant" => None,
        "edge" => Some(Border::Edge),
        "reflect" => Some(Border::Reflect),
        other => {
            let known = "constant, edge and reflect are";
            return Err(node.unsupported(format!("mode {other}"), known));
        }
    };
    let rank = node.rank(0)?;
    let pads = node
        .ints_or_input("pads", 1)?
        .ok_or_else(|| node.wrong("pads", "not given", "two numbers an axis"))?;
    let value = match node.constant_float(2)? {
        Some(value) => value,
        None => node.float_or("value", 0.0)?,
    };
    let axes = match node.constant_ints(3)? {
        Some(axes) => axes,
        None => (0..rank as i64).collect(),
    };
    let expected = || format!("two numbers of moderate size for each of {} axes", axes.len());
    let moderate = |n: &i64| n.unsigned_abs() <= 1 << 24;
    if pads.len() != 2 * axes.len() || !pads.iter().all(moderate) {
        return Err(node.wrong("pads", format!("{pads:?}"), expected()));
    }
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    for (position, &axis) in axes.iter().enumerate() {
        let axis = axis_index(axis, rank)
            .ok_or_else(|| node.invalid(format!("axis {axis} does not exist")))?;
        before[axis] = pads[position];
        after[axis] = pads[position + axes.len()];
    }
    let op = match border {
        None => Op::Pad { before, after, value },
        Some(border) => {
            let amounts = |of: &[i64]| of.iter().map(|&n| usize::try_from(n)).collect();
            match (amounts(&before), amounts(&after)) {
                (Ok(before), Ok(after)) => Op::PadBorder { border, before, after },
                _ => return Err(node.unsupported("cropping in this mode", "constant crops")),
            }
        }
    };
    Ok(Lowered::one(op, inputs[..1].to_vec()))
}
