//! Constant arrays of a network, as plain memory: cheap to clone, safe to share between threads.

use std::sync::Arc;

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
        let data = data.into();
        assert_eq!(shape.iter().product::<usize>(), data.len(), "the shape holds the numbers");
        Self { shape, data: ArrayData::F32(data) }
    }

    /// # Panics
    /// When the shape does not hold exactly as many numbers as there are.
    pub fn i64(shape: Vec<usize>, data: impl Into<Arc<[i64]>>) -> Self {
        let data = data.into();
        assert_eq!(shape.iter().product::<usize>(), data.len(), "the shape holds the numbers");
        Self { shape, data: ArrayData::I64(data) }
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn data(&self) -> &ArrayData {
        &self.data
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
}
