//! CIFAR-10 and CIFAR-100 binary files: label bytes, then a red, a green and a blue plane.
//!
//! Format: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and the
//! description that comes with the files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::data::{
    DataError,
    record::{RawImage, Records, Values},
};

const SIDE: usize = 32;
const PIXEL_BYTES: usize = 3 * SIDE * SIDE;

/// The records of one or more files, in the order of the files.
pub(super) struct Cifar {
    files: Vec<CifarFile>,
    labels: Vec<i64>,
    label_bytes: usize,
}

struct CifarFile {
    path: PathBuf,
    bytes: Vec<u8>,
    first_record: usize,
}

impl Cifar {
    /// - `label_bytes`: 1 for CIFAR-10; 2 for CIFAR-100, where the second is the fine label
    ///
    /// # Errors
    /// Unreadable or empty files, and a last record that is cut short.
    pub(super) fn open(paths: &[PathBuf], label_bytes: usize) -> Result<Self, DataError> {
        let record_bytes = label_bytes + PIXEL_BYTES;
        let mut files = Vec::with_capacity(paths.len());
        let mut labels = Vec::new();
        for path in paths {
            let bytes = fs::read(path).map_err(DataError::unreadable(path))?;
            check_whole(path, bytes.len(), record_bytes)?;
            let first_record = labels.len();
            let label_of = |record: &[u8]| i64::from(record[label_bytes - 1]);
            labels.extend(bytes.chunks_exact(record_bytes).map(label_of));
            files.push(CifarFile { path: path.clone(), bytes, first_record });
        }
        Ok(Self { files, labels, label_bytes })
    }

    fn locate(&self, index: usize) -> (&CifarFile, usize) {
        let after = self.files.partition_point(|file| file.first_record <= index);
        let file = &self.files[after - 1];
        (file, index - file.first_record)
    }
}

fn check_whole(path: &Path, n_bytes: usize, record_bytes: usize) -> Result<(), DataError> {
    if n_bytes == 0 {
        return Err(DataError::Empty { path: path.to_owned(), what: "records" });
    }
    match n_bytes % record_bytes {
        0 => Ok(()),
        rest => Err(DataError::Truncated {
            path: path.to_owned(),
            record: format!("record {}", n_bytes / record_bytes),
            found: rest as u64,
            expected: record_bytes as u64,
        }),
    }
}

impl Records for Cifar {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn labels(&self) -> Option<&[i64]> {
        Some(&self.labels)
    }

    fn name(&self, index: usize) -> String {
        let (file, record) = self.locate(index);
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{name} record {record}")
    }

    fn is_8_bit(&self) -> bool {
        true
    }

    fn read(&self, index: usize) -> Result<RawImage, DataError> {
        let (file, record) = self.locate(index);
        let start = record * (self.label_bytes + PIXEL_BYTES) + self.label_bytes;
        let pixels = file.bytes[start..start + PIXEL_BYTES].to_vec();
        Ok(RawImage { channels: 3, height: SIDE, width: SIDE, values: Values::U8(pixels) })
    }
}
