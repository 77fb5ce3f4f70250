//! Records as a format stores them: raw values, before any preprocessing.

use crate::data::DataError;

/// Raw values; bytes stay bytes, since a normalised f32 is four times as large.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values {
    U8(Vec<u8>),
    F32(Vec<f32>),
}

impl Values {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::F32(values) => values.len(),
        }
    }

    pub(super) fn get(&self, index: usize) -> f32 {
        match self {
            Self::U8(values) => values[index].into(),
            Self::F32(values) => values[index],
        }
    }

    pub(super) fn slice(&self, range: std::ops::Range<usize>) -> Self {
        match self {
            Self::U8(values) => Self::U8(values[range].to_vec()),
            Self::F32(values) => Self::F32(values[range].to_vec()),
        }
    }

    /// Appends a value; all become f32 with the first that no byte can hold.
    pub(super) fn push(&mut self, value: f32) {
        match self {
            Self::U8(bytes) if (0.0..=255.0).contains(&value) && value.fract() == 0.0 => {
                bytes.push(value as u8);
            }
            Self::U8(bytes) => {
                let mut floats: Vec<f32> = bytes.iter().map(|&byte| byte.into()).collect();
                floats.push(value);
                *self = Self::F32(floats);
            }
            Self::F32(floats) => floats.push(value),
        }
    }

    /// The largest value; 0 where there is none.
    pub(super) fn largest(&self) -> f32 {
        match self {
            Self::U8(values) => values.iter().copied().max().unwrap_or(0).into(),
            Self::F32(values) => values.iter().copied().fold(0.0, f32::max),
        }
    }
}

/// One image, channel by channel, each row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RawImage {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub values: Values,
}

impl RawImage {
    /// As messages show it: `3x32x32`.
    pub(super) fn shape_text(&self) -> String {
        format!("{}x{}x{}", self.channels, self.height, self.width)
    }
}

/// One part of a dataset: what a format offers to the rest.
pub(super) trait Records: Send + Sync {
    fn len(&self) -> usize;

    /// One label a record, or none at all.
    fn labels(&self) -> Option<&[i64]>;

    /// A name that finds the record again: `test_batch.bin record 12`, `n01440764.jpg`.
    fn name(&self, index: usize) -> String;

    /// Whether values go from 0 to 255 by the nature of the format.
    fn is_8_bit(&self) -> bool;

    fn read(&self, index: usize) -> Result<RawImage, DataError>;
}

/// # Errors
/// [`DataError::LabelOutOfRange`] with the first label the network has no class for.
pub(super) fn check_labels(
    records: &dyn Records,
    n_classes: Option<usize>,
) -> Result<(), DataError> {
    let (Some(labels), Some(n_classes)) = (records.labels(), n_classes) else { return Ok(()) };
    let in_range = |label: &i64| usize::try_from(*label).is_ok_and(|label| label < n_classes);
    match labels.iter().position(|label| !in_range(label)) {
        Some(index) => Err(DataError::LabelOutOfRange {
            record: records.name(index),
            label: labels[index],
            n_classes,
        }),
        None => Ok(()),
    }
}
