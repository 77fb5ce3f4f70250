//! Constant arrays of a network, as plain memory: cheap to clone, safe to share between threads.

use std::{fmt, sync::Arc};

/// What kind of numbers a tensor holds. Narrower types of a file are widened to these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementType {
    F32,
    I64,
    Bool,
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ElementType::F32 => "f32",
            ElementType::I64 => "i64",
            ElementType::Bool => "bool",
        })
    }
}

/// The numbers of an array.
#[derive(Debug, Clone, PartialEq)]
pub enum ArrayData {
    F32(Arc<[f32]>),
    I64(Arc<[i64]>),
    Bool(Arc<[bool]>),
}

/// A constant of any rank, row-major; rank 0 is a scalar.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    shape: Vec<usize>,
    data: ArrayData,
}

impl Array {
    /// # Panics
    /// When the shape does not hold exactly as many numbers as there are.
    pub fn f32(shape: Vec<usize>, data: impl Into<Arc<[f32]>>) -> Self {
        Self::new(shape, ArrayData::F32(data.into()))
    }

    /// # Panics
    /// When the shape does not hold exactly as many numbers as there are.
    pub fn i64(shape: Vec<usize>, data: impl Into<Arc<[i64]>>) -> Self {
        Self::new(shape, ArrayData::I64(data.into()))
    }

    /// # Panics
    /// When the shape does not hold exactly as many numbers as there are.
    pub fn bool(shape: Vec<usize>, data: impl Into<Arc<[bool]>>) -> Self {
        Self::new(shape, ArrayData::Bool(data.into()))
    }

    /// # Panics
    /// When the shape does not hold exactly as many numbers as there are.
    pub fn new(shape: Vec<usize>, data: ArrayData) -> Self {
        let array = Self { shape, data };
        assert_eq!(
            array.shape.iter().product::<usize>(),
            array.n_numbers(),
            "the shape holds the numbers"
        );
        array
    }

    /// The same numbers under another shape.
    ///
    /// # Panics
    /// When the shape does not hold exactly as many numbers as there are.
    pub fn reshaped(&self, shape: Vec<usize>) -> Self {
        Self::new(shape, self.data.clone())
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn data(&self) -> &ArrayData {
        &self.data
    }

    pub fn element(&self) -> ElementType {
        match self.data {
            ArrayData::F32(_) => ElementType::F32,
            ArrayData::I64(_) => ElementType::I64,
            ArrayData::Bool(_) => ElementType::Bool,
        }
    }

    pub fn len(&self) -> usize {
        self.n_numbers()
    }

    pub fn is_empty(&self) -> bool {
        self.n_numbers() == 0
    }

    /// The numbers, when they are f32.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            ArrayData::F32(data) => Some(data),
            _ => None,
        }
    }

    /// The numbers, when they are i64.
    pub fn as_i64(&self) -> Option<&[i64]> {
        match &self.data {
            ArrayData::I64(data) => Some(data),
            _ => None,
        }
    }

    fn n_numbers(&self) -> usize {
        match &self.data {
            ArrayData::F32(data) => data.len(),
            ArrayData::I64(data) => data.len(),
            ArrayData::Bool(data) => data.len(),
        }
    }
}
