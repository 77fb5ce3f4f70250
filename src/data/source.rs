//! Recognises a dataset by its path and finds the files of its parts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::data::{
    DataError, InputShape,
    arrays::Arrays,
    cifar::Cifar,
    csv::Csv,
    idx::Idx,
    image_folder::{self, ImageFolder},
    record::Records,
};

/// Files that together are one part of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PartFiles {
    Cifar { paths: Vec<PathBuf>, label_bytes: usize },
    Idx { images: PathBuf, labels: Option<PathBuf> },
    ImageFolder(PathBuf),
    Csv(PathBuf),
    Npz(PathBuf),
    Safetensors(PathBuf),
    Samples { path: PathBuf, names: Vec<String> },
}

/// The parts a dataset comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parts {
    Whole(PartFiles),
    TrainAndTest { train: PartFiles, test: PartFiles },
}

impl Parts {
    fn from_found(train: Option<PartFiles>, test: Option<PartFiles>) -> Option<Self> {
        match (train, test) {
            (Some(train), Some(test)) => Some(Self::TrainAndTest { train, test }),
            (Some(part), None) | (None, Some(part)) => Some(Self::Whole(part)),
            (None, None) => None,
        }
    }

    /// # Errors
    /// [`DataError::Unrecognised`] with what was found and what is understood.
    pub(super) fn find(path: &Path) -> Result<Self, DataError> {
        let unrecognised = |found: String| DataError::Unrecognised { path: path.to_owned(), found };
        if fs::metadata(path).map_err(DataError::unreadable(path))?.is_dir() {
            return Self::find_in_folder(path)?
                .ok_or_else(|| unrecognised("no file of a known format is in this folder".into()));
        }
        let name = path.to_string_lossy().to_ascii_lowercase();
        let path = path.to_owned();
        let part = if name.ends_with(".csv") || name.ends_with(".csv.gz") {
            PartFiles::Csv(path)
        } else if name.ends_with(".npz") {
            PartFiles::Npz(path)
        } else if name.ends_with(".safetensors") {
            PartFiles::Safetensors(path)
        } else {
            return Err(unrecognised("the ending of this file is not known".into()));
        };
        Ok(Self::Whole(part))
    }

    fn find_in_folder(folder: &Path) -> Result<Option<Self>, DataError> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .and_then(|entries| entries.collect::<Result<Vec<_>, _>>())
            .map_err(DataError::unreadable(folder))?
            .into_iter()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        let found = find_cifar(folder, &names).or_else(|| find_idx(folder, &names));
        if found.is_some() {
            return Ok(found);
        }
        let inside = |name: &str| names.iter().any(|n| n == name).then(|| folder.join(name));
        let train = inside("train").filter(|path| path.is_dir());
        let test = ["test", "val", "validation"].into_iter().find_map(inside);
        if let (Some(train), Some(test)) = (train, test.filter(|path| path.is_dir())) {
            let (train, test) = (PartFiles::ImageFolder(train), PartFiles::ImageFolder(test));
            return Ok(Some(Self::TrainAndTest { train, test }));
        }
        let has_images = image_folder::looks_like_images(folder)?;
        Ok(has_images.then(|| Self::Whole(PartFiles::ImageFolder(folder.to_owned()))))
    }
}

/// CIFAR-10 by `data_batch_*.bin` and `test_batch.bin`, CIFAR-100 by `train.bin` and `test.bin`.
fn find_cifar(folder: &Path, names: &[String]) -> Option<Parts> {
    let part = |is_part: &dyn Fn(&str) -> bool, label_bytes| {
        let paths: Vec<PathBuf> =
            names.iter().filter(|name| is_part(name)).map(|name| folder.join(name)).collect();
        (!paths.is_empty()).then_some(PartFiles::Cifar { paths, label_bytes })
    };
    let is_batch = |name: &str| name.starts_with("data_batch_") && name.ends_with(".bin");
    Parts::from_found(part(&is_batch, 1), part(&|name| name == "test_batch.bin", 1)).or_else(|| {
        Parts::from_found(part(&|name| name == "train.bin", 2), part(&|name| name == "test.bin", 2))
    })
}

/// `train*-images…` and `t10k-images…` (or `test*-images…`) with `labels` files of the same names.
fn find_idx(folder: &Path, names: &[String]) -> Option<Parts> {
    let is_images = |name: &str| {
        let plain = name.strip_suffix(".gz").unwrap_or(name);
        name.contains("images") && (plain.contains("idx") || plain.ends_with("ubyte"))
    };
    let part = |is_test: bool| {
        let is_part = |name: &&String| {
            is_images(name) && is_test == (name.contains("t10k") || name.contains("test"))
        };
        let images = names.iter().find(is_part)?;
        let labels = images.replace("images", "labels").replace("idx3", "idx1");
        // One of the two may be packed and the other not.
        let plain = labels.strip_suffix(".gz").unwrap_or(&labels);
        let packed = format!("{plain}.gz");
        let labels = [&labels, plain, &packed]
            .into_iter()
            .find(|name| names.iter().any(|n| n == name))
            .map(|name| folder.join(name));
        Some(PartFiles::Idx { images: folder.join(images), labels })
    };
    Parts::from_found(part(false), part(true))
}

/// What a part is opened for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OpenFor {
    pub input: InputShape,
    pub n_classes: Option<usize>,
    /// Class names in label order, where the card has them.
    pub classes: Option<Vec<String>>,
}

impl PartFiles {
    /// # Errors
    /// Files that are unreadable, damaged or empty.
    pub(super) fn open(&self, purpose: &OpenFor) -> Result<Box<dyn Records>, DataError> {
        let OpenFor { input, n_classes, classes } = purpose;
        let records: Box<dyn Records> = match self {
            Self::Cifar { paths, label_bytes } => Box::new(Cifar::open(paths, *label_bytes)?),
            Self::Idx { images, labels } => Box::new(Idx::open(images, labels.as_deref())?),
            Self::ImageFolder(path) => {
                Box::new(ImageFolder::open(path, classes.as_deref(), *n_classes)?)
            }
            Self::Csv(path) => Box::new(Csv::open(path, input)?),
            Self::Samples { path, names } => Box::new(Arrays::open_samples(path, names)?),
            Self::Npz(path) => Box::new(Arrays::open_npz(path, input)?),
            Self::Safetensors(path) => Box::new(Arrays::open_safetensors(path, input)?),
        };
        Ok(records)
    }
}
