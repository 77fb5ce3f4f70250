//! How rounded constants are written.

use super::{
    export::{OnnxForm, Writer},
    proto::{NodeProto, TensorProto, tensor_proto::DataType},
    write::{int, text},
};
use crate::network::{
    array::Array,
    coding::{Codes, Coding},
    graph::TensorId,
};

/// Where QONNX keeps its operations.
pub(super) const QONNX_DOMAIN: &str = "qonnx.custom_op.general";

/// Writes a rounded constant under its own name; says whether it did.
pub(super) fn constant(writer: &mut Writer<'_>, tensor: TensorId, array: &Array) -> bool {
    let Some(coding) = writer.graph.coding(tensor) else { return false };
    let Some(codes) = coding.codes_of(array) else { return false };
    match writer.form {
        OnnxForm::Float => false,
        OnnxForm::Qdq { two_bits } => {
            let container = Container::of(&codes, coding.bits, two_bits);
            container.is_some_and(|container| {
                CodedConstant { writer, tensor, array, coding, codes: &codes }.write(container);
                true
            })
        }
        OnnxForm::Qonnx if coding.bits == Coding::BIAS_BITS => false,
        OnnxForm::Qonnx => {
            let constant = CodedConstant { writer, tensor, array, coding, codes: &codes };
            constant.write_quant();
            true
        }
    }
}

/// The type that codes are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Container {
    data_type: DataType,
    width_bits: u32,
    /// Whether each slice's codes are moved to start at 0.
    is_unsigned: bool,
}

impl Container {
    /// The narrowest type for codes of so many bits; none where they fit no type.
    fn of(codes: &Codes, bits: u8, two_bits: bool) -> Option<Self> {
        let types = [
            (2, DataType::Int2, DataType::Uint2),
            (4, DataType::Int4, DataType::Uint4),
            (8, DataType::Int8, DataType::Uint8),
            (32, DataType::Int32, DataType::Int32),
        ];
        let wide_enough = |width: u32| width >= bits.into() && (width > 2 || two_bits);
        types.into_iter().filter(|(width, ..)| wide_enough(*width)).find_map(
            |(width_bits, signed, unsigned)| {
                let fits = |(low, high): &(i32, i32)| {
                    i64::from(*high) - i64::from(*low) < 1i64 << width_bits
                };
                if codes.are_signed(width_bits) {
                    Some(Self { data_type: signed, width_bits, is_unsigned: false })
                } else if width_bits <= 8 && codes.ranges.iter().all(fits) {
                    Some(Self { data_type: unsigned, width_bits, is_unsigned: true })
                } else {
                    None
                }
            },
        )
    }

    /// Codes as the file keeps them: the first of a byte in its lowest bits.
    fn pack(self, codes: impl Iterator<Item = i32>) -> Vec<u8> {
        match self.width_bits {
            32 => codes.flat_map(i32::to_le_bytes).collect(),
            8 => codes.map(|code| code as u8).collect(),
            width => {
                let (per_byte, mask) = (8 / width as usize, (1u8 << width) - 1);
                let codes: Vec<u8> = codes.map(|code| code as u8 & mask).collect();
                let byte = |part: &[u8]| {
                    part.iter().rev().fold(0, |byte, code| byte << (width % 8) | code)
                };
                codes.chunks(per_byte).map(byte).collect()
            }
        }
    }
}

/// A constant and what it is made of.
struct CodedConstant<'w, 'a> {
    writer: &'w mut Writer<'a>,
    tensor: TensorId,
    array: &'w Array,
    coding: &'w Coding,
    codes: &'w Codes,
}

impl CodedConstant<'_, '_> {
    fn name(&self) -> String {
        self.writer.graph.tensor_name(self.tensor).to_owned()
    }

    /// Whether all slices share one scale and one zero point.
    fn is_per_tensor(&self, is_unsigned: bool) -> bool {
        let same = |numbers: &[f32]| numbers.iter().all(|number| *number == numbers[0]);
        let Coding { scales, offsets, .. } = self.coding;
        same(scales) && (offsets.is_empty() || same(offsets)) && !is_unsigned
    }

    /// Codes, scale, zero point where codes were moved, and what makes numbers of them.
    fn write(mut self, container: Container) {
        let (name, n_slices) = (self.name(), self.coding.scales.len());
        let per_tensor = self.is_per_tensor(container.is_unsigned);
        let shape = if per_tensor { vec![] } else { vec![n_slices] };
        let kept = if per_tensor { 1 } else { n_slices };
        let zero_points: Vec<i32> = self
            .codes
            .ranges
            .iter()
            .map(|(low, _)| if container.is_unsigned { -low } else { 0 })
            .collect();
        let slice_of = self.coding.slices(self.array.shape());
        let codes = self.codes.codes.iter().enumerate();
        let packed = container.pack(codes.map(|(at, code)| code + zero_points[slice_of(at)]));
        let is_weight = self.coding.bits != Coding::BIAS_BITS;
        if is_weight {
            self.writer.stored.code_bytes += packed.len() as u64;
            let each = 4 + u64::from(container.is_unsigned);
            let offsets = if self.coding.offsets.is_empty() { 0 } else { 4 };
            self.writer.stored.scaling_bytes += kept as u64 * (each + offsets);
        }
        let mut inputs = vec![
            self.typed(&name, "codes", container.data_type, self.array.shape(), packed),
            self.writer.constant(&name, "scale", &Array::f32(shape, &self.coding.scales[..kept])),
        ];
        if container.is_unsigned {
            let zero_points = container.pack(zero_points.into_iter());
            inputs.push(self.typed(
                &name,
                "zero_point",
                container.data_type,
                &[n_slices],
                zero_points,
            ));
        }
        let is_moved = !self.coding.offsets.is_empty();
        let levels = if is_moved { self.writer.fresh_name(&name, "levels") } else { name.clone() };
        self.writer.push(NodeProto {
            name: Some(format!("{name}/DequantizeLinear")),
            op_type: Some("DequantizeLinear".into()),
            input: inputs,
            output: vec![levels.clone()],
            attribute: vec![int("axis", self.coding.axis as i64)],
            ..Default::default()
        });
        if is_moved {
            let offset = self.along_axis(&self.coding.offsets.clone());
            let offset = self.writer.constant(&name, "offset", &offset);
            self.writer.push(NodeProto {
                name: Some(format!("{name}/Add")),
                op_type: Some("Add".into()),
                input: vec![levels, offset],
                output: vec![name],
                ..Default::default()
            });
        }
    }

    /// Numbers of the slices in a shape that broadcasts over the constant.
    fn along_axis(&self, numbers: &[f32]) -> Array {
        let mut shape = vec![1; self.array.shape().len()];
        if let Some(length) = shape.get_mut(self.coding.axis) {
            *length = numbers.len();
        }
        Array::f32(shape, numbers)
    }

    /// Adds a constant of a type of the file's own, and returns its name.
    pub(super) fn typed(
        &mut self,
        name: &str,
        what: &str,
        data_type: DataType,
        shape: &[usize],
        bytes: Vec<u8>,
    ) -> String {
        typed(self.writer, name, what, data_type, shape, bytes)
    }

    /// The numbers as floats behind a node that rounds them to themselves.
    fn write_quant(self) {
        let name = self.name();
        let scales = match self.is_per_tensor(false) {
            true => Array::f32(vec![], [self.coding.scales[0]]),
            false => self.along_axis(&self.coding.scales),
        };
        // Offsets are taken off first: a Quant has none.
        let offsets = &self.coding.offsets;
        // Channels may have got more bits than their layer has.
        let bits = self.coding.bits.max(self.codes.least_bits());
        let numbers = match offsets.is_empty() {
            true => self.array.clone(),
            false => {
                let slice_of = self.coding.slices(self.array.shape());
                let levels = self.codes.codes.iter().enumerate();
                let levels: Vec<f32> = levels
                    .map(|(at, code)| *code as f32 * self.coding.scales[slice_of(at)])
                    .collect();
                Array::f32(self.array.shape().to_vec(), levels)
            }
        };
        let offset = (!offsets.is_empty()).then(|| self.along_axis(offsets));
        let zero_points: Vec<f32> = self.codes.ranges.iter().map(|(low, _)| -low as f32).collect();
        let zero_points = self.along_axis(&zero_points);
        let writer = self.writer;
        let inputs = vec![
            writer.constant(&name, "float", &numbers),
            writer.constant(&name, "scale", &scales),
        ];
        let rounded = match offset {
            Some(_) => writer.fresh_name(&name, "levels"),
            None => name.clone(),
        };
        let is_signed = self.codes.are_signed(u32::from(bits).max(2));
        let low = self.codes.ranges.iter().map(|(low, _)| *low).min().unwrap_or(0);
        let zero_point = if is_signed { Array::f32(vec![], [0.0]) } else { zero_points };
        let quant = Quant {
            bits,
            is_signed,
            is_narrow: is_signed && bits > 1 && low > -(1 << (bits - 1)),
            zero_point,
        };
        quant.write(writer, &name, inputs, rounded.clone());
        if let Some(offset) = offset {
            let offset = writer.constant(&name, "offset", &offset);
            writer.push(NodeProto {
                name: Some(format!("{name}/Add")),
                op_type: Some("Add".into()),
                input: vec![rounded, offset],
                output: vec![name],
                ..Default::default()
            });
        }
    }
}

/// Adds a constant of a type of the file's own, and returns its name.
pub(super) fn typed(
    writer: &mut Writer<'_>,
    owner: &str,
    what: &str,
    data_type: DataType,
    shape: &[usize],
    bytes: Vec<u8>,
) -> String {
    let name = writer.fresh_name(owner, what);
    writer.push_initializer(TensorProto {
        name: Some(name.clone()),
        dims: shape.iter().map(|&n| n as i64).collect(),
        data_type: Some(data_type.into()),
        raw_data: Some(bytes.into()),
        ..Default::default()
    });
    name
}

/// One QONNX rounding.
pub(super) struct Quant {
    pub bits: u8,
    pub is_signed: bool,
    pub is_narrow: bool,
    /// One number, or one a scale.
    pub zero_point: Array,
}

impl Quant {
    /// - `inputs`: what is rounded, and the scale
    pub fn write(
        self,
        writer: &mut Writer<'_>,
        owner: &str,
        mut inputs: Vec<String>,
        output: String,
    ) {
        let number = |number: f32| Array::f32(vec![], [number]);
        let is_bipolar = self.bits == 1 && self.is_signed;
        let (op, attribute) = match is_bipolar {
            true => ("BipolarQuant", vec![]),
            false => {
                inputs.push(writer.constant(owner, "zero_point", &self.zero_point));
                inputs.push(writer.constant(owner, "bits", &number(self.bits.into())));
                let flags = vec![
                    int("signed", self.is_signed.into()),
                    int("narrow", self.is_narrow.into()),
                    text("rounding_mode", "ROUND"),
                ];
                ("Quant", flags)
            }
        };
        writer.push(NodeProto {
            name: Some(format!("{owner}/{op}")),
            op_type: Some(op.into()),
            domain: Some(QONNX_DOMAIN.into()),
            input: inputs,
            output: vec![output],
            attribute,
            ..Default::default()
        });
    }
}
