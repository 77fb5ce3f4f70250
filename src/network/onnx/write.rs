//! What each operation is written as.

use super::{
    export::{Writer, data_type, tensor_message},
    proto::{AttributeProto, NodeProto, attribute_proto::AttributeType},
    roundings,
};
use crate::network::{
    array::Array,
    attributes::{Border, Coordinates, Cut, Interpolation, NearestRounding, ResizedLength, Window},
    error::NetworkError,
    graph::Node,
    ops::Op,
};

/// Writes one node as one ONNX node, or two for a product with a bias.
pub(super) fn node(writer: &mut Writer<'_>, node: &Node) -> Result<(), NetworkError> {
    if node.op.rounds() {
        return roundings::write(writer, node);
    }
    if matches!(node.op, Op::Quantize { .. } | Op::Dequantize { .. }) {
        return Err(unsupported(node, "roundings with one scale a tensor can be written"));
    }
    let mut inputs = writer.input_names(node);
    let extra = constants(&node.op);
    if !extra.is_empty() {
        // These operations read one tensor; everything else is theirs alone.
        inputs.truncate(1);
        for (what, array) in extra {
            let owner = writer.output_name(node);
            let name = array.map(|array| writer.constant(&owner, what, &array));
            inputs.push(name.unwrap_or_default());
        }
    }
    let output = writer.output_name(node);
    let bias = matches!(node.op, Op::MatMul).then(|| inputs.drain(2..).next()).flatten();
    let product = match &bias {
        Some(_) => writer.fresh_name(&output, "product"),
        None => output.clone(),
    };
    writer.push(NodeProto {
        name: Some(node.name.clone()),
        op_type: Some(node.op.name().to_owned()),
        input: inputs,
        output: vec![product.clone()],
        attribute: attributes(&node.op),
        ..Default::default()
    });
    if let Some(bias) = bias {
        writer.push(NodeProto {
            name: Some(format!("{}/bias", node.name)),
            op_type: Some("Add".into()),
            input: vec![product, bias],
            output: vec![output],
            ..Default::default()
        });
    }
    Ok(())
}

/// That an operation cannot be written in the form that is asked for.
pub(super) fn unsupported(node: &Node, remedy: &str) -> NetworkError {
    NetworkError::Unsupported {
        node: node.name.clone(),
        op: node.op.name().to_owned(),
        what: "writing it as ONNX".into(),
        remedy: remedy.into(),
    }
}

fn list(numbers: impl IntoIterator<Item = i64>) -> Option<Array> {
    let numbers: Vec<i64> = numbers.into_iter().collect();
    Some(Array::i64(vec![numbers.len()], numbers))
}

fn number(number: f32) -> Option<Array> {
    Some(Array::f32(vec![], [number]))
}

/// Inputs behind the first that hold what we keep as attributes, in ONNX order.
fn constants(op: &Op) -> Vec<(&'static str, Option<Array>)> {
    match op {
        Op::Clip { low, high } => {
            let bound = |x: f32| if x.is_finite() { number(x) } else { None };
            vec![("min", bound(*low)), ("max", bound(*high))]
        }
        Op::Pad { before, after, value } => {
            let pads = before.iter().chain(after).copied();
            vec![("pads", list(pads)), ("value", number(*value))]
        }
        Op::PadBorder { before, after, .. } => {
            vec![("pads", list(before.iter().chain(after).map(|&n| n as i64)))]
        }
        Op::Slice { cuts } => {
            let each = |part: fn(&Cut) -> i64| list(cuts.iter().map(part));
            vec![
                ("starts", each(|cut| cut.start)),
                ("ends", each(|cut| cut.end)),
                ("axes", each(|cut| cut.axis)),
                ("steps", each(|cut| cut.step)),
            ]
        }
        Op::CumSum { axis } => vec![("axis", Some(Array::i64(vec![], [*axis])))],
        Op::Squeeze { axes } | Op::Reduce { axes, .. } if axes.is_empty() => vec![],
        Op::Squeeze { axes } | Op::Unsqueeze { axes } | Op::Reduce { axes, .. } => {
            vec![("axes", list(axes.iter().copied()))]
        }
        Op::Resize { lengths, .. } => resize_lengths(lengths),
        _ => vec![],
    }
}

/// Region of interest (none), scales and sizes, for the axes that change.
fn resize_lengths(lengths: &[ResizedLength]) -> Vec<(&'static str, Option<Array>)> {
    let scale = |length: &ResizedLength| match length {
        ResizedLength::Scale(scale) => Some(*scale),
        _ => None,
    };
    let scales: Vec<f32> = lengths.iter().filter_map(scale).collect();
    if scales.is_empty() {
        let size = |length: &ResizedLength| match length {
            ResizedLength::Exactly(n) => Some(*n as i64),
            _ => None,
        };
        return vec![
            ("roi", None),
            ("scales", None),
            ("sizes", list(lengths.iter().filter_map(size))),
        ];
    }
    vec![("roi", None), ("scales", Some(Array::f32(vec![scales.len()], scales)))]
}

fn attributes(op: &Op) -> Vec<AttributeProto> {
    match op {
        Op::Conv { window, groups } => {
            let mut attributes = window_attributes(window, true);
            attributes.push(int("group", *groups as i64));
            attributes
        }
        Op::ConvTranspose { window, groups, output_padding } => {
            let mut attributes = window_attributes(window, true);
            attributes.push(int("group", *groups as i64));
            attributes.push(ints("output_padding", output_padding.map(|n| n as i64)));
            attributes
        }
        Op::MaxPool { window, ceil } => {
            let mut attributes = window_attributes(window, true);
            attributes.push(int("ceil_mode", (*ceil).into()));
            attributes
        }
        Op::AveragePool { window, ceil, count_padding } => {
            let mut attributes = window_attributes(window, false);
            attributes.push(int("ceil_mode", (*ceil).into()));
            attributes.push(int("count_include_pad", (*count_padding).into()));
            attributes
        }
        Op::Gemm { alpha, beta, transpose_a, transpose_b } => vec![
            float("alpha", *alpha),
            float("beta", *beta),
            int("transA", (*transpose_a).into()),
            int("transB", (*transpose_b).into()),
        ],
        Op::LayerNorm { axis, epsilon } => vec![int("axis", *axis), float("epsilon", *epsilon)],
        Op::GroupNorm { groups: 0, epsilon } | Op::BatchNorm { epsilon } => {
            vec![float("epsilon", *epsilon)]
        }
        Op::GroupNorm { groups, epsilon } => {
            vec![int("num_groups", *groups as i64), float("epsilon", *epsilon)]
        }
        Op::Elu { alpha } | Op::LeakyRelu { alpha } => vec![float("alpha", *alpha)],
        Op::HardSigmoid { alpha, beta } => vec![float("alpha", *alpha), float("beta", *beta)],
        Op::Gelu { tanh } => vec![text("approximate", if *tanh { "tanh" } else { "none" })],
        Op::Mod { truncated } => vec![int("fmod", (*truncated).into())],
        Op::Flatten { axis }
        | Op::Concat { axis }
        | Op::Softmax { axis }
        | Op::LogSoftmax { axis }
        | Op::Gather { axis }
        | Op::GatherElements { axis } => vec![int("axis", *axis)],
        Op::Einsum { equation } => vec![text("equation", equation)],
        Op::ArgMax { axis, keep } => vec![int("axis", *axis), int("keepdims", (*keep).into())],
        Op::Reduce { keep, .. } => vec![int("keepdims", (*keep).into())],
        Op::Reshape { allow_zero } => vec![int("allowzero", (*allow_zero).into())],
        Op::Transpose { axes } if axes.is_empty() => vec![],
        Op::Transpose { axes } => vec![ints("perm", axes.iter().map(|&axis| axis as i64))],
        Op::Shape { start, end } => {
            std::iter::once(int("start", *start)).chain(end.map(|end| int("end", end))).collect()
        }
        Op::ConstantOfShape { value } => vec![AttributeProto {
            t: Some(tensor_message("value", &value.reshaped(vec![1]))),
            ..attribute("value", AttributeType::Tensor)
        }],
        Op::Cast { to } => vec![int("to", i32::from(data_type(*to)).into())],
        Op::PadBorder { border: Border::Edge, .. } => vec![text("mode", "edge")],
        Op::PadBorder { border: Border::Reflect, .. } => vec![text("mode", "reflect")],
        Op::Resize { interpolation, coordinates, lengths } => {
            resize_attributes(*interpolation, *coordinates, lengths)
        }
        _ => vec![],
    }
}

fn window_attributes(window: &Window, dilated: bool) -> Vec<AttributeProto> {
    let wide = |of: &[usize]| of.iter().map(|&n| n as i64).collect::<Vec<_>>();
    let mut attributes = vec![
        ints("kernel_shape", wide(&window.kernel)),
        ints("strides", wide(&window.stride)),
        ints("pads", wide(&window.padding)),
    ];
    if dilated {
        attributes.push(ints("dilations", wide(&window.dilation)));
    }
    attributes
}

fn resize_attributes(
    interpolation: Interpolation,
    coordinates: Coordinates,
    lengths: &[ResizedLength],
) -> Vec<AttributeProto> {
    let changed = (0..lengths.len()).filter(|&axis| lengths[axis] != ResizedLength::Same);
    let coordinates = match coordinates {
        Coordinates::HalfPixel => "half_pixel",
        Coordinates::PytorchHalfPixel => "pytorch_half_pixel",
        Coordinates::AlignCorners => "align_corners",
        Coordinates::Asymmetric => "asymmetric",
    };
    let mut attributes = vec![
        ints("axes", changed.map(|axis| axis as i64)),
        text("coordinate_transformation_mode", coordinates),
    ];
    match interpolation {
        Interpolation::Nearest(rounding) => {
            let rounding = match rounding {
                NearestRounding::HalfDown => "round_prefer_floor",
                NearestRounding::HalfUp => "round_prefer_ceil",
                NearestRounding::Floor => "floor",
                NearestRounding::Ceil => "ceil",
            };
            attributes.push(text("mode", "nearest"));
            attributes.push(text("nearest_mode", rounding));
        }
        Interpolation::Linear => attributes.push(text("mode", "linear")),
        Interpolation::Cubic(coefficient) => {
            attributes.push(text("mode", "cubic"));
            attributes.push(float("cubic_coeff_a", coefficient));
        }
    }
    attributes
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(kind.into()), ..Default::default() }
}

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, AttributeType::Int) }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::Float) }
}

fn ints(name: &str, values: impl IntoIterator<Item = i64>) -> AttributeProto {
    let ints = values.into_iter().collect();
    AttributeProto { ints, ..attribute(name, AttributeType::Ints) }
}

pub(super) fn text(name: &str, value: &str) -> AttributeProto {
    let s = Some(value.as_bytes().to_vec().into());
    AttributeProto { s, ..attribute(name, AttributeType::String) }
}
