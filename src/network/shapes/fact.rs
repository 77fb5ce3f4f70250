//! What is known of a tensor before it is computed.

use std::fmt;

use crate::network::array::{Array, ElementType};

/// A length that may not be known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) enum Dim {
    Known(usize),
    /// An open dimension of an input: equal symbols mean equal lengths.
    Symbol(u32),
    Unknown,
}

impl Dim {
    pub fn known(self) -> Option<usize> {
        match self {
            Dim::Known(n) => Some(n),
            _ => None,
        }
    }

    /// Whether the two lengths can not be equal.
    pub fn contradicts(self, other: Dim) -> bool {
        matches!((self, other), (Dim::Known(a), Dim::Known(b)) if a != b)
    }

    /// The length of two tensors' common axis under broadcasting.
    pub fn broadcast(self, other: Dim) -> Option<Dim> {
        match (self, other) {
            (Dim::Known(1), dim) | (dim, Dim::Known(1)) => Some(dim),
            (Dim::Known(a), Dim::Known(b)) => (a == b).then_some(self),
            (Dim::Known(n), _) | (_, Dim::Known(n)) => Some(Dim::Known(n)),
            (a, b) if a == b => Some(a),
            _ => Some(Dim::Unknown),
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Known(n) => write!(f, "{n}"),
            Dim::Symbol(_) => f.write_str("n"),
            Dim::Unknown => f.write_str("?"),
        }
    }
}

/// A whole number of a small tensor that describes a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) enum Entry {
    Known(i64),
    Symbol(u32),
    Unknown,
}

impl From<Dim> for Entry {
    fn from(dim: Dim) -> Self {
        match dim {
            Dim::Known(n) => i64::try_from(n).map_or(Entry::Unknown, Entry::Known),
            Dim::Symbol(symbol) => Entry::Symbol(symbol),
            Dim::Unknown => Entry::Unknown,
        }
    }
}

/// The value of a tensor as far as it follows from shapes and constants alone.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::network) enum Value {
    Array(Array),
    /// i64 numbers of a tensor of rank 0 or 1, some of them open.
    Entries(Vec<Entry>),
}

/// What is known of a tensor before it is computed.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::network) struct Fact {
    pub element: ElementType,
    pub shape: Vec<Dim>,
    pub value: Option<Value>,
}

impl Fact {
    pub fn new(element: ElementType, shape: Vec<Dim>) -> Self {
        Self { element, shape, value: None }
    }

    pub fn constant(array: Array) -> Self {
        Self {
            element: array.element(),
            shape: array.shape().iter().copied().map(Dim::Known).collect(),
            value: Some(Value::Array(array)),
        }
    }

    /// i64 numbers of rank 0 or 1; a constant when all are known.
    pub fn entries(entries: Vec<Entry>, scalar: bool) -> Self {
        let shape = if scalar { vec![] } else { vec![entries.len()] };
        let known: Option<Vec<i64>> = entries
            .iter()
            .map(|entry| match entry {
                Entry::Known(n) => Some(*n),
                _ => None,
            })
            .collect();
        match known {
            Some(numbers) => Self::constant(Array::i64(shape, numbers)),
            None => Self {
                element: ElementType::I64,
                shape: shape.into_iter().map(Dim::Known).collect(),
                value: Some(Value::Entries(entries)),
            },
        }
    }

    pub fn array(&self) -> Option<&Array> {
        match &self.value {
            Some(Value::Array(array)) => Some(array),
            _ => None,
        }
    }

    /// The numbers of a shape-like tensor, open ones included.
    pub fn as_entries(&self) -> Option<Vec<Entry>> {
        match self.value.as_ref()? {
            Value::Entries(entries) => Some(entries.clone()),
            Value::Array(array) if array.shape().len() <= 1 => {
                Some(array.as_i64()?.iter().copied().map(Entry::Known).collect())
            }
            Value::Array(_) => None,
        }
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Whole numbers that one dimension or value would need, when every length is known.
    pub fn n_numbers(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |n, dim| n.checked_mul(dim.known()?))
    }
}
