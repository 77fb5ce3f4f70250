//! What can be wrong with a dataset, always with the file and, where there is one, the record.

use std::{io, path::PathBuf};

use crate::data::Split;

/// Why a dataset or its card cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },

    #[error(
        "{}: {found}; a dataset is a CIFAR binary folder, a folder of IDX files, a folder of JPEG \
         or PNG images (one folder a class, or with a labels.csv), a .csv or .csv.gz of pixels, \
         or an .npz or .safetensors with `images` and `labels`", path.display()
    )]
    Unrecognised { path: PathBuf, found: String },

    #[error("{}: has no {what}", path.display())]
    Empty { path: PathBuf, what: &'static str },

    #[error(
        "{}: {record} is cut short: {found} of {expected} bytes are there", path.display()
    )]
    Truncated { path: PathBuf, record: String, found: u64, expected: u64 },

    #[error("{}: {place}: {what}", path.display())]
    Malformed { path: PathBuf, place: String, what: String },

    #[error(
        "{record} has label {label}; the network has {n_classes} classes, so labels go from 0 to {}",
        n_classes - 1
    )]
    LabelOutOfRange { record: String, label: i64, n_classes: usize },

    #[error("{}: {images} images but {labels} labels", path.display())]
    LabelCount { path: PathBuf, images: usize, labels: usize },

    #[error("{}: is not an image that can be decoded: {reason}", path.display())]
    NotAnImage { path: PathBuf, reason: String },

    #[error("{record} is {found}; the network takes {expected}: {advice}")]
    WrongSize { record: String, found: String, expected: String, advice: &'static str },

    #[error("{record}: value {index} is {value}; every value needs to be finite")]
    NotFinite { record: String, index: usize, value: f32 },

    #[error("{record}: value {index} is {value}; the card says values go from 0 to {scale_max}")]
    OutOfScale { record: String, index: usize, value: f32, scale_max: f32 },

    #[error(
        "{}: the largest value is {largest}, but values are divided by {scale_max}; give the \
         scale these values have (`scale_max` in the card)", path.display()
    )]
    DoubtfulScale { path: PathBuf, largest: f32, scale_max: f32 },

    #[error(
        "{}: {split} needs {asked} images; {available} can serve it ({total} in all, and no image \
         serves two splits)", path.display()
    )]
    TooFew { path: PathBuf, split: Split, asked: usize, available: usize, total: usize },

    #[error("{card}: {key} is {found}; {needed}")]
    Card { card: String, key: String, found: String, needed: String },

    #[error("{card}: is not JSON: {reason}")]
    CardSyntax { card: String, reason: String },

    #[error(
        "how pixels become the network's input is not known: put a card beside the model (a JSON \
         file of the same name with input.scale, input.mean and input.std), or give --mean and \
         --std, in units of pixel/255"
    )]
    NoPreprocessing,

    #[error("{what} is {found}; {needed}")]
    Setting { what: &'static str, found: String, needed: String },

    #[error(
        "the network's input shape is {found}; images need N,C,H,W (or N,H,W,C by the card's \
         layout, or N,features)"
    )]
    InputShape { found: String },
}

impl DataError {
    /// For `map_err` after a call that reads `path`.
    pub(super) fn unreadable(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Unreadable { path, source }
    }

    pub(super) fn malformed(
        path: impl Into<PathBuf>,
        place: impl Into<String>,
        what: impl Into<String>,
    ) -> Self {
        Self::Malformed { path: path.into(), place: place.into(), what: what.into() }
    }
}
