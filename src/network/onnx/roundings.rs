//! How roundings of tensors are written.

use super::{
    coded::{Quant, typed},
    export::{OnnxForm, Writer},
    proto::{AttributeProto, NodeProto, tensor_proto::DataType},
    write::{int, unsupported},
};
use crate::network::{array::Array, attributes::Grid, error::NetworkError, graph::Node, ops::Op};

/// Writes a node that rounds.
pub(super) fn write(writer: &mut Writer<'_>, node: &Node) -> Result<(), NetworkError> {
    if writer.form == OnnxForm::Float {
        return Err(unsupported(node, "write the float network"));
    }
    let is_qonnx = writer.form == OnnxForm::Qonnx;
    match node.op {
        Op::FakeQuantize(grid) if is_qonnx => quant_of_grid(writer, node, grid),
        Op::FakeQuantize(grid) => codes_and_back(writer, node, grid),
        Op::Binarize { scale } if is_qonnx => {
            let (name, mut inputs) = (writer.output_name(node), writer.input_names(node));
            inputs.push(writer.constant(&name, "scale", &Array::f32(vec![], [scale])));
            let zero_point = Array::f32(vec![], [0.0]);
            let quant = Quant { bits: 1, is_signed: true, is_narrow: false, zero_point };
            quant.write(writer, &name, inputs, name.clone());
            Ok(())
        }
        Op::Binarize { scale } => {
            signs(writer, node, scale);
            Ok(())
        }
        Op::DynamicQuantize { bits, per_row } => {
            own_range(writer, node, bits, per_row);
            Ok(())
        }
        _ => Err(unsupported(node, "write the float network")),
    }
}

fn quant_of_grid(writer: &mut Writer<'_>, node: &Node, grid: Grid) -> Result<(), NetworkError> {
    let Grid { scale, zero_point, low, high } = grid;
    let levels = i64::from(high) - i64::from(low) + 1;
    let bits = (i64::BITS - (levels - 1).leading_zeros()) as u8;
    let half = 1i64 << (bits - 1);
    // Codes from 0 on are unsigned, whatever their zero point; others are signed.
    let is_signed = low < 0;
    let first = if is_signed { -half } else { 0 };
    let is_narrow = levels < 1i64 << bits;
    let begins = i64::from(low) == first || (is_narrow && is_signed && i64::from(low) == first + 1);
    if !begins || levels < (1i64 << bits) - 1 {
        return Err(unsupported(node, "codes need to be all of a width"));
    }
    let (name, mut inputs) = (writer.output_name(node), writer.input_names(node));
    inputs.push(writer.constant(&name, "scale", &Array::f32(vec![], [scale])));
    let zero_point = Array::f32(vec![], [zero_point as f32]);
    let quant = Quant { bits, is_signed, is_narrow, zero_point };
    // One unsigned bit is no sign: 0 and 1 are its codes.
    quant.write(writer, &name, inputs, name.clone());
    Ok(())
}

/// `QuantizeLinear`, `Clip` where the codes are not all of their type, `DequantizeLinear`.
fn codes_and_back(writer: &mut Writer<'_>, node: &Node, grid: Grid) -> Result<(), NetworkError> {
    let Grid { scale, zero_point, low, high } = grid;
    let types = [
        (DataType::Uint8, 0, 255),
        (DataType::Int8, -128, 127),
        (DataType::Uint16, 0, 65535),
        (DataType::Int16, -32768, 32767),
    ];
    let found = types.into_iter().find(|(_, first, last)| low >= *first && high <= *last);
    let Some((data_type, first, last)) = found else {
        return Err(unsupported(node, "codes of up to 16 bits can be written"));
    };
    let (name, inputs) = (writer.output_name(node), writer.input_names(node));
    let bytes = |code: i32| match data_type {
        DataType::Uint8 | DataType::Int8 => vec![code as u8],
        _ => (code as u16).to_le_bytes().to_vec(),
    };
    let scale = writer.constant(&name, "scale", &Array::f32(vec![], [scale]));
    let zero_point = typed(writer, &name, "zero_point", data_type, &[], bytes(zero_point));
    let mut codes = writer.fresh_name(&name, "codes");
    let node_of = |op: &str, input: Vec<String>, output: String| NodeProto {
        name: Some(format!("{}/{op}", node.name)),
        op_type: Some(op.into()),
        input,
        output: vec![output],
        ..Default::default()
    };
    let x = inputs.into_iter().next().unwrap_or_default();
    let scaling = [scale, zero_point];
    let with_scaling = |first: String| [vec![first], scaling.to_vec()].concat();
    writer.push(node_of("QuantizeLinear", with_scaling(x), codes.clone()));
    if (low, high) != (first, last) {
        let bounds = [("min", low), ("max", high)];
        let bounds =
            bounds.map(|(what, code)| typed(writer, &name, what, data_type, &[], bytes(code)));
        let bounded = writer.fresh_name(&name, "bounded");
        let input = [vec![codes], bounds.to_vec()].concat();
        writer.push(node_of("Clip", input, bounded.clone()));
        codes = bounded;
    }
    writer.push(node_of("DequantizeLinear", with_scaling(codes), name));
    Ok(())
}

/// A few plain nodes in a row.
struct Chain<'w, 'a> {
    writer: &'w mut Writer<'a>,
    name: String,
}

impl Chain<'_, '_> {
    fn number(&mut self, what: &str, number: f32) -> String {
        self.writer.constant(&self.name, what, &Array::f32(vec![], [number]))
    }

    /// Adds a node and gives the name of what it writes.
    fn step(&mut self, op: &str, what: &str, inputs: &[&str]) -> String {
        let output = self.writer.fresh_name(&self.name, what);
        self.end(op, inputs, &output);
        output
    }

    fn end(&mut self, op: &str, inputs: &[&str], output: &str) {
        self.with_attributes(op, inputs, output, vec![]);
    }

    fn with_attributes(
        &mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attribute: Vec<AttributeProto>,
    ) {
        self.writer.push(NodeProto {
            name: Some(format!("{output}/{op}")),
            op_type: Some(op.into()),
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: vec![output.to_owned()],
            attribute,
            ..Default::default()
        });
    }
}

/// The scale where a number is 0 or more, its negative elsewhere.
fn signs(writer: &mut Writer<'_>, node: &Node, scale: f32) {
    let (name, inputs) = (writer.output_name(node), writer.input_names(node));
    let mut chain = Chain { writer, name };
    let (zero, yes) = (chain.number("zero", 0.0), chain.number("scale", scale));
    let no = chain.number("negative_scale", -scale);
    let is_positive = chain.step("GreaterOrEqual", "is_positive", &[&inputs[0], &zero]);
    let output = chain.name.clone();
    chain.end("Where", &[&is_positive, &yes, &no], &output);
}

/// Rounding to the range of the tensor's own values, or of each row's.
fn own_range(writer: &mut Writer<'_>, node: &Node, bits: u8, per_row: bool) {
    let (name, inputs) = (writer.output_name(node), writer.input_names(node));
    let x = inputs[0].as_str();
    let mut chain = Chain { writer, name };
    let zero = chain.number("zero", 0.0);
    let last = chain.number("last", ((1u32 << bits) - 1) as f32);
    let tiny = chain.number("tiny", Grid::TINY_SCALE);
    let axes = per_row.then(|| {
        let axes = Array::i64(vec![1], [-1]);
        chain.writer.constant(&chain.name, "axes", &axes)
    });
    let mut bound = |op: &str, what: &str, clip: &str| {
        let reduced = chain.writer.fresh_name(&chain.name, what);
        let inputs: Vec<&str> = std::iter::once(x).chain(axes.as_deref()).collect();
        chain.with_attributes(op, &inputs, &reduced, vec![int("keepdims", per_row.into())]);
        chain.step(clip, &format!("{what}_or_zero"), &[&reduced, &zero])
    };
    let (low, high) = (bound("ReduceMin", "low", "Min"), bound("ReduceMax", "high", "Max"));
    let width = chain.step("Sub", "width", &[&high, &low]);
    let step = chain.step("Div", "step", &[&width, &last]);
    let scale = chain.step("Max", "scale", &[&step, &tiny]);
    let below = chain.step("Div", "below", &[&low, &scale]);
    let above = chain.step("Neg", "above", &[&below]);
    let whole = chain.step("Round", "whole", &[&above]);
    let zero_point = chain.step("Clip", "zero_point", &[&whole, &zero, &last]);
    let scaled = chain.step("Div", "scaled", &[x, &scale]);
    let nearest = chain.step("Round", "nearest", &[&scaled]);
    let moved = chain.step("Add", "moved", &[&nearest, &zero_point]);
    let codes = chain.step("Clip", "codes", &[&moved, &zero, &last]);
    let centred = chain.step("Sub", "centred", &[&codes, &zero_point]);
    let output = chain.name.clone();
    chain.end("Mul", &[&centred, &scale], &output);
}
