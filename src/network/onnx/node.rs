//! Typed access to one ONNX node: its attributes, inputs and what is known of them.

use std::collections::HashMap;

use super::{
    lowered::Source,
    order,
    proto::{AttributeProto, NodeProto, attribute_proto::AttributeType},
    tensor,
};
use crate::network::{
    array::Array,
    error::{NetworkError, show_shape},
    graph::TensorId,
    shapes::{Dim, Fact},
};

/// No attribute or constant that counts elements may be larger: more is a broken file.
const MAX_COUNT: i64 = 1 << 24;

/// One node of a file, with the tensors it reads already known.
pub(super) struct NodeReader<'a> {
    pub proto: &'a NodeProto,
    pub name: String,
    pub opset: i64,
    pub inputs: Vec<Option<TensorId>>,
    /// Of the inputs.
    pub facts: Vec<Option<&'a Fact>>,
    /// How the file keeps its constants, by name.
    data_types: &'a HashMap<&'a str, i32>,
}

impl<'a> NodeReader<'a> {
    pub fn new(
        proto: &'a NodeProto,
        index: usize,
        opset: i64,
        inputs: Vec<Option<TensorId>>,
        facts: Vec<Option<&'a Fact>>,
        data_types: &'a HashMap<&'a str, i32>,
    ) -> Self {
        Self { proto, name: order::label(proto, index), opset, inputs, facts, data_types }
    }

    /// The type that the file keeps a constant input in.
    pub fn data_type(&self, position: usize) -> Option<i32> {
        self.data_types.get(self.proto.input.get(position)?.as_str()).copied()
    }

    pub fn op(&self) -> &'a str {
        self.proto.op_type()
    }

    /// All inputs as they are.
    pub fn sources(&self) -> Vec<Source> {
        self.inputs.iter().copied().map(Source::from).collect()
    }

    /// One input as it is.
    pub fn source(&self, position: usize) -> Source {
        self.inputs.get(position).copied().flatten().into()
    }

    /// The first inputs, of which the first `required` must be given.
    pub fn take(&self, required: usize, most: usize) -> Result<Vec<Source>, NetworkError> {
        let found = self.inputs.iter().flatten().count();
        let given = self.inputs.iter().take(required).flatten().count();
        if given < required || self.inputs.len() > most {
            let expected = if required == most {
                required.to_string()
            } else {
                format!("{required} to {most}")
            };
            return Err(NetworkError::InputCount {
                node: self.name.clone(),
                op: self.op().to_owned(),
                found,
                expected,
            });
        }
        Ok(self.sources())
    }

    pub fn fact(&self, position: usize) -> Option<&'a Fact> {
        self.facts.get(position).copied().flatten()
    }

    pub fn required_fact(&self, position: usize) -> Result<&'a Fact, NetworkError> {
        self.fact(position).ok_or_else(|| self.invalid(format!("input {position} is missing")))
    }

    /// The number of axes of an input.
    pub fn rank(&self, position: usize) -> Result<usize, NetworkError> {
        Ok(self.required_fact(position)?.rank())
    }

    /// The value of an input that is not given, or that does not depend on the network's input.
    pub fn constant(&self, position: usize) -> Result<Option<&'a Array>, NetworkError> {
        let Some(fact) = self.fact(position) else { return Ok(None) };
        let varies = || {
            self.unsupported(
                format!("input {position} that depends on the network's input"),
                "it needs to be a constant",
            )
        };
        fact.array().map(Some).ok_or_else(varies)
    }

    /// The whole numbers of a constant input.
    pub fn constant_ints(&self, position: usize) -> Result<Option<Vec<i64>>, NetworkError> {
        let Some(array) = self.constant(position)? else { return Ok(None) };
        let numbers = array.as_i64().map(<[i64]>::to_vec);
        numbers
            .map(Some)
            .ok_or_else(|| self.invalid(format!("input {position} needs to be whole numbers")))
    }

    /// The one number of a constant input.
    pub fn constant_float(&self, position: usize) -> Result<Option<f32>, NetworkError> {
        let Some(array) = self.constant(position)? else { return Ok(None) };
        let number = match (array.as_f32(), array.as_i64()) {
            (Some([number]), _) => Some(*number),
            (_, Some([number])) => Some(*number as f32),
            _ => None,
        };
        number.map(Some).ok_or_else(|| {
            let shape = show_shape(array.shape());
            self.invalid(format!("input {position} has shape {shape}; it needs one number"))
        })
    }

    /// Whole numbers that older opsets give as an attribute and newer ones as an input.
    pub fn ints_or_input(
        &self,
        attribute: &str,
        position: usize,
    ) -> Result<Option<Vec<i64>>, NetworkError> {
        match self.ints(attribute)? {
            Some(ints) => Ok(Some(ints)),
            None => self.constant_ints(position),
        }
    }

    pub fn int(&self, name: &str) -> Result<Option<i64>, NetworkError> {
        let attribute = self.attribute(name, AttributeType::Int, "a whole number")?;
        Ok(attribute.map(|attribute| attribute.i()))
    }

    pub fn int_or(&self, name: &str, default: i64) -> Result<i64, NetworkError> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    /// A whole number that is 0 for no and anything else for yes.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, NetworkError> {
        Ok(self.int_or(name, default.into())? != 0)
    }

    pub fn float_or(&self, name: &str, default: f32) -> Result<f32, NetworkError> {
        let attribute = self.attribute(name, AttributeType::Float, "a number")?;
        Ok(attribute.map_or(default, |attribute| attribute.f()))
    }

    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, NetworkError> {
        let attribute = self.attribute(name, AttributeType::Ints, "whole numbers")?;
        Ok(attribute.map(|attribute| attribute.ints.clone()))
    }

    pub fn floats(&self, name: &str) -> Result<Option<Vec<f32>>, NetworkError> {
        let attribute = self.attribute(name, AttributeType::Floats, "numbers")?;
        Ok(attribute.map(|attribute| attribute.floats.clone()))
    }

    pub fn text(&self, name: &str) -> Result<Option<String>, NetworkError> {
        let attribute = self.attribute(name, AttributeType::String, "text")?;
        Ok(attribute.map(|attribute| String::from_utf8_lossy(attribute.s()).into_owned()))
    }

    pub fn tensor(&self, name: &str) -> Result<Option<Array>, NetworkError> {
        let attribute = self.attribute(name, AttributeType::Tensor, "a tensor")?;
        let Some(attribute) = attribute else { return Ok(None) };
        let missing = || self.wrong(name, "empty", "a tensor");
        tensor::read(attribute.t.as_ref().ok_or_else(missing)?, None).map(Some)
    }

    /// Counts such as strides and kernel sizes: at least `lowest`, one for each axis.
    pub fn counts(
        &self,
        name: &str,
        lowest: i64,
        length: usize,
    ) -> Result<Option<Vec<usize>>, NetworkError> {
        let Some(ints) = self.ints(name)? else { return Ok(None) };
        let expected = || format!("{length} whole numbers from {lowest} to {MAX_COUNT}");
        if ints.len() != length || !ints.iter().all(|n| (lowest..=MAX_COUNT).contains(n)) {
            return Err(self.wrong(name, format!("{ints:?}"), expected()));
        }
        Ok(Some(ints.iter().map(|&n| n as usize).collect()))
    }

    /// A dimension of an input that needs to be known.
    pub fn known_dim(&self, position: usize, axis: usize) -> Result<usize, NetworkError> {
        let dim = self.required_fact(position)?.shape.get(axis).copied().unwrap_or(Dim::Unknown);
        dim.known().ok_or_else(|| {
            self.unsupported(
                format!("an open length of axis {axis}"),
                "export the network with this length fixed",
            )
        })
    }

    fn attribute(
        &self,
        name: &str,
        kind: AttributeType,
        expected: &str,
    ) -> Result<Option<&'a AttributeProto>, NetworkError> {
        let Some(attribute) = self.proto.attribute.iter().find(|known| known.name() == name) else {
            return Ok(None);
        };
        // Files of the first IR versions leave the type out.
        if attribute.r#type() == kind || attribute.r#type() == AttributeType::Undefined {
            return Ok(Some(attribute));
        }
        let found = attribute.r#type().as_str_name().to_lowercase();
        Err(self.wrong(name, format!("of type {found}"), expected))
    }

    /// An attribute that says something it must not.
    pub fn wrong(
        &self,
        attribute: &str,
        found: impl ToString,
        expected: impl ToString,
    ) -> NetworkError {
        NetworkError::Attribute {
            node: self.name.clone(),
            op: self.op().to_owned(),
            attribute: attribute.to_owned(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }

    /// A form of the operation that is legal but not supported.
    pub fn unsupported(&self, what: impl Into<String>, remedy: &str) -> NetworkError {
        NetworkError::Unsupported {
            node: self.name.clone(),
            op: self.op().to_owned(),
            what: what.into(),
            remedy: remedy.to_owned(),
        }
    }

    /// A node that can not work as it stands.
    pub fn invalid(&self, reason: impl Into<String>) -> NetworkError {
        NetworkError::Shape {
            node: self.name.clone(),
            op: self.op().to_owned(),
            reason: reason.into(),
        }
    }
}
