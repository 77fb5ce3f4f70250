//! Arrays named `images` and, optionally, `labels`, from .npz and .safetensors files.

use std::path::{Path, PathBuf};

use crate::data::{
    DataError, InputShape,
    csv::image_shape,
    npz,
    record::{RawImage, Records, Values},
    safetensors,
};

const IMAGES: &str = "images";
const LABELS: &str = "labels";

/// Types an array's numbers can have; little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl NumberType {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// The number in `self.bytes()` bytes.
    fn read(self, bytes: &[u8]) -> f64 {
        fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
            bytes.try_into().expect("a number has as many bytes as its type")
        }
        match self {
            Self::U8 => f64::from(bytes[0]),
            Self::I8 => f64::from(i8::from_le_bytes(fixed(bytes))),
            Self::U16 => f64::from(u16::from_le_bytes(fixed(bytes))),
            Self::I16 => f64::from(i16::from_le_bytes(fixed(bytes))),
            Self::U32 => f64::from(u32::from_le_bytes(fixed(bytes))),
            Self::I32 => f64::from(i32::from_le_bytes(fixed(bytes))),
            Self::U64 => u64::from_le_bytes(fixed(bytes)) as f64,
            Self::I64 => i64::from_le_bytes(fixed(bytes)) as f64,
            Self::F32 => f64::from(f32::from_le_bytes(fixed(bytes))),
            Self::F64 => f64::from_le_bytes(fixed(bytes)),
        }
    }
}

/// An array as stored: row-major, its bytes as many as type and shape say.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredArray {
    pub number: NumberType,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl StoredArray {
    /// # Errors
    /// What is wrong, when the bytes are not what type and shape need.
    pub(super) fn new(
        number: NumberType,
        shape: Vec<usize>,
        bytes: Vec<u8>,
    ) -> Result<Self, String> {
        let sizes = shape.iter().try_fold(number.bytes(), |n, &size| n.checked_mul(size));
        match sizes {
            Some(needed) if needed == bytes.len() => Ok(Self { number, shape, bytes }),
            Some(needed) => {
                Err(format!("has {} bytes; shape {shape:?} needs {needed}", bytes.len()))
            }
            None => Err(format!("shape {shape:?} is larger than any memory")),
        }
    }

    fn numbers(&self) -> impl Iterator<Item = f64> + '_ {
        self.bytes.chunks_exact(self.number.bytes()).map(|bytes| self.number.read(bytes))
    }
}

/// Axes of stored images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axes {
    ChannelsFirst,
    ChannelsLast,
}

/// All images of a file.
#[derive(Debug)]
pub(super) struct Arrays {
    path: PathBuf,
    values: Values,
    labels: Option<Vec<i64>>,
    /// Channels, height and width.
    shape: [usize; 3],
    axes: Axes,
    is_8_bit: bool,
}

impl Arrays {
    pub(super) fn open_npz(path: &Path, input: &InputShape) -> Result<Self, DataError> {
        Self::from_named(path, input, npz::read_named(path, &[IMAGES, LABELS])?)
    }

    pub(super) fn open_safetensors(path: &Path, input: &InputShape) -> Result<Self, DataError> {
        Self::from_named(path, input, safetensors::read_named(path, &[IMAGES, LABELS])?)
    }

    /// Samples that several arrays hold parts of, one after the other.
    pub(super) fn open_samples(path: &Path, names: &[String]) -> Result<Self, DataError> {
        let wanted: Vec<&str> = names.iter().map(String::as_str).chain([LABELS]).collect();
        let Named { mut arrays, all_names } = read_named(path, &wanted)?;
        let mut take = |name: &str| {
            let index = arrays.iter().position(|(n, _)| n == name)?;
            Some(arrays.swap_remove(index).1)
        };
        let mut parts = Vec::with_capacity(names.len());
        for name in names {
            let refuse = |what| DataError::malformed(path, format!("array `{name}`"), what);
            let array = take(name).ok_or_else(|| {
                refuse(format!("is missing; the file has {}", all_names.join(", ")))
            })?;
            let exact = |number: f64| number.abs() <= LARGEST_WHOLE_NUMBER;
            if !array.number.is_float() && !array.numbers().all(exact) {
                return Err(refuse(format!("holds whole numbers beyond {LARGEST_WHOLE_NUMBER}")));
            }
            let n = n_samples(&array);
            let expected = parts.first().map_or(n, n_samples);
            if n == 0 {
                return Err(DataError::Empty { path: path.to_owned(), what: "samples" });
            }
            if n != expected {
                return Err(refuse(format!("has {n} samples; `{}` has {expected}", names[0])));
            }
            parts.push(array);
        }
        let labels = take(LABELS).filter(|_| !names.iter().any(|name| name == LABELS));
        let labels = labels.map(|labels| read_labels(path, &labels)).transpose()?;
        let n = parts.first().map_or(0, n_samples);
        if let Some(labels) = labels.as_ref().map(Vec::len).filter(|&labels| labels != n) {
            return Err(DataError::LabelCount { path: path.to_owned(), images: n, labels });
        }
        let (values, width) = side_by_side(n, &parts);
        Ok(Self {
            path: path.to_owned(),
            values: Values::F32(values),
            labels,
            shape: [1, 1, width],
            axes: Axes::ChannelsFirst,
            is_8_bit: false,
        })
    }

    fn from_named(path: &Path, input: &InputShape, named: Named) -> Result<Self, DataError> {
        let Named { mut arrays, all_names } = named;
        let mut take = |name: &str| {
            let index = arrays.iter().position(|(n, _)| n == name)?;
            Some(arrays.swap_remove(index).1)
        };
        let images = take(IMAGES).ok_or_else(|| {
            let what = format!("is missing; the file has {}", all_names.join(", "));
            DataError::malformed(path, format!("array `{IMAGES}`"), what)
        })?;
        let (n_images, shape, axes) = image_axes(&images.shape, input).ok_or_else(|| {
            let what = format!(
                "has shape {:?}; it needs to be [n, c, h, w], [n, h, w, c], [n, h, w] or [n, \
                 values] for a network that takes {}",
                images.shape,
                input.text()
            );
            DataError::malformed(path, format!("array `{IMAGES}`"), what)
        })?;
        if n_images == 0 {
            return Err(DataError::Empty { path: path.to_owned(), what: "images" });
        }
        let labels = take(LABELS).map(|labels| read_labels(path, &labels)).transpose()?;
        if let Some(labels) = labels.as_ref().map(Vec::len).filter(|&n| n != n_images) {
            return Err(DataError::LabelCount { path: path.to_owned(), images: n_images, labels });
        }
        let is_8_bit = images.number == NumberType::U8;
        Ok(Self { path: path.to_owned(), values: values(images), labels, shape, axes, is_8_bit })
    }
}

/// Whole numbers up to this are floats too.
const LARGEST_WHOLE_NUMBER: f64 = 16_777_216.0;

fn read_named(path: &Path, names: &[&str]) -> Result<Named, DataError> {
    match path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npz")) {
        true => npz::read_named(path, names),
        false => safetensors::read_named(path, names),
    }
}

fn n_samples(array: &StoredArray) -> usize {
    array.shape.first().copied().unwrap_or(0)
}

/// Row by row what each array has in this row, and how much that is.
fn side_by_side(n: usize, parts: &[StoredArray]) -> (Vec<f32>, usize) {
    let widths: Vec<usize> = parts.iter().map(|a| a.shape[1..].iter().product()).collect();
    let width = widths.iter().sum();
    let mut values = vec![0.0; n * width];
    let mut start = 0;
    for (array, own) in parts.iter().zip(widths) {
        for (at, number) in array.numbers().enumerate() {
            values[at / own * width + start + at % own] = number as f32;
        }
        start += own;
    }
    (values, width)
}

/// The shape of one sample in each of these arrays; none where the path is no file of arrays, or
/// lacks one of them.
///
/// # Errors
/// When it is one that cannot be read.
pub fn sample_shapes(path: &Path, names: &[&str]) -> Result<Option<Vec<Vec<usize>>>, DataError> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    if !matches!(ending.as_deref(), Some("npz" | "safetensors")) {
        return Ok(None);
    }
    let Named { arrays, .. } = read_named(path, names)?;
    let shape = |name: &&str| {
        let (_, array) = arrays.iter().find(|(known, _)| known == *name)?;
        Some(array.shape.get(1..)?.to_vec())
    };
    Ok(names.iter().map(shape).collect())
}

/// Arrays that were asked for, and the names of all that are in the file.
pub(super) struct Named {
    pub arrays: Vec<(String, StoredArray)>,
    pub all_names: Vec<String>,
}

/// Number of images, their channels, height and width, and how their axes are ordered.
fn image_axes(shape: &[usize], input: &InputShape) -> Option<(usize, [usize; 3], Axes)> {
    let first = Axes::ChannelsFirst;
    let (n, image, axes) = match *shape {
        [n, n_values] => (n, image_shape(n_values, input)?, first),
        [n, h, w] => (n, [1, h, w], first),
        [n, a, b, c] => {
            let expected = [input.channels, input.height.unwrap_or(a), input.width.unwrap_or(b)];
            let is_last = [c, a, b] == expected && a != input.channels
                || matches!(c, 1 | 3) && !matches!(a, 1 | 3);
            match is_last {
                true => (n, [c, a, b], Axes::ChannelsLast),
                false => (n, [a, b, c], first),
            }
        }
        _ => return None,
    };
    (image.iter().all(|&size| size > 0)).then_some((n, image, axes))
}

fn values(images: StoredArray) -> Values {
    if images.number == NumberType::U8 {
        return Values::U8(images.bytes);
    }
    let fits_bytes = |n: f64| (0.0..=255.0).contains(&n);
    if !images.number.is_float() && images.numbers().all(fits_bytes) {
        return Values::U8(images.numbers().map(|n| n as u8).collect());
    }
    Values::F32(images.numbers().map(|n| n as f32).collect())
}

fn read_labels(path: &Path, labels: &StoredArray) -> Result<Vec<i64>, DataError> {
    let refuse = |what| DataError::malformed(path, format!("array `{LABELS}`"), what);
    if labels.number.is_float() {
        return Err(refuse("holds floats; labels need to be whole numbers".into()));
    }
    if !matches!(labels.shape.as_slice(), [_] | [_, 1]) {
        return Err(refuse(format!("has shape {:?}; it needs to be [n]", labels.shape)));
    }
    Ok(labels.numbers().map(|n| n as i64).collect())
}

impl Records for Arrays {
    fn len(&self) -> usize {
        self.values.len() / self.shape.iter().product::<usize>()
    }

    fn labels(&self) -> Option<&[i64]> {
        self.labels.as_deref()
    }

    fn name(&self, index: usize) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{name} image {index}")
    }

    fn is_8_bit(&self) -> bool {
        self.is_8_bit
    }

    fn read(&self, index: usize) -> Result<RawImage, DataError> {
        let [channels, height, width] = self.shape;
        let n_values = channels * height * width;
        let values = self.values.slice(index * n_values..(index + 1) * n_values);
        let values = match (self.axes, values) {
            (Axes::ChannelsFirst, values) => values,
            (Axes::ChannelsLast, Values::U8(bytes)) => Values::U8(channels_first(&bytes, channels)),
            (Axes::ChannelsLast, Values::F32(floats)) => {
                Values::F32(channels_first(&floats, channels))
            }
        };
        Ok(RawImage { channels, height, width, values })
    }
}

/// `[h, w, c]` → `[c, h, w]`.
pub(super) fn channels_first<T: Copy>(values: &[T], channels: usize) -> Vec<T> {
    let mut planar = Vec::with_capacity(values.len());
    for channel in 0..channels {
        planar.extend(values.iter().skip(channel).step_by(channels));
    }
    planar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_follow_the_network_and_otherwise_the_channel_counts() {
        let square = InputShape { channels: 3, height: Some(8), width: Some(8), features: None };
        let any = InputShape { channels: 3, height: None, width: None, features: None };
        let flat = InputShape { channels: 1, height: None, width: None, features: Some(12) };
        let first = Axes::ChannelsFirst;
        for (name, shape, input, expected) in [
            ("channels first", vec![5, 3, 8, 8], square, Some((5, [3, 8, 8], first))),
            ("channels last", vec![5, 8, 8, 3], square, Some((5, [3, 8, 8], Axes::ChannelsLast))),
            ("to be resized", vec![5, 9, 7, 3], square, Some((5, [3, 9, 7], Axes::ChannelsLast))),
            ("three everywhere", vec![5, 3, 3, 3], any, Some((5, [3, 3, 3], first))),
            ("grey", vec![5, 9, 7], any, Some((5, [1, 9, 7], first))),
            ("rows", vec![5, 192], square, Some((5, [3, 8, 8], first))),
            ("rows of a square", vec![5, 12], any, Some((5, [3, 2, 2], first))),
            ("vectors", vec![5, 12], flat, Some((5, [1, 1, 12], first))),
            ("rows of another size", vec![5, 191], square, None),
            ("no image axes", vec![5], square, None),
            ("no width", vec![5, 3, 8, 0], square, None),
        ] {
            assert_eq!(image_axes(&shape, &input), expected, "{name}");
        }
    }
}
