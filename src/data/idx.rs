//! IDX files as MNIST has them: a big-endian header, then bytes; plain or gzip.
//!
//! Format: <https://yann.lecun.com/exdb/mnist/>.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

use crate::data::{
    DataError,
    record::{RawImage, Records, Values},
};

const UNSIGNED_BYTE: u8 = 0x08;

/// Grey images of one file and, where there is a label file, their labels.
pub(super) struct Idx {
    path: PathBuf,
    height: usize,
    width: usize,
    pixels: Vec<u8>,
    labels: Option<Vec<i64>>,
}

impl Idx {
    /// # Errors
    /// Files that are unreadable, not IDX, cut short, or do not have as many labels as images.
    pub(super) fn open(images: &Path, labels: Option<&Path>) -> Result<Self, DataError> {
        let (shape, pixels) = read_idx(images, 3)?;
        let (n_images, height, width) = (shape[0], shape[1], shape[2]);
        if pixels.is_empty() {
            return Err(DataError::Empty { path: images.to_owned(), what: "images" });
        }
        let labels = labels.map(read_labels).transpose()?;
        if let Some((path, labels)) = &labels
            && labels.len() != n_images
        {
            let path = path.clone();
            return Err(DataError::LabelCount { path, images: n_images, labels: labels.len() });
        }
        let labels = labels.map(|(_, labels)| labels);
        Ok(Self { path: images.to_owned(), height, width, pixels, labels })
    }
}

fn read_labels(path: &Path) -> Result<(PathBuf, Vec<i64>), DataError> {
    let (_, labels) = read_idx(path, 1)?;
    Ok((path.to_owned(), labels.into_iter().map(i64::from).collect()))
}

/// Shape and bytes of an IDX file of unsigned bytes with `rank` dimensions.
fn read_idx(path: &Path, rank: usize) -> Result<(Vec<usize>, Vec<u8>), DataError> {
    let (bytes, read_error) = read_plain_or_gzip(path)?;
    let header_bytes = 4 + 4 * rank;
    if bytes.len() < header_bytes {
        return Err(DataError::Truncated {
            path: path.to_owned(),
            record: "the header".into(),
            found: bytes.len() as u64,
            expected: header_bytes as u64,
        });
    }
    let malformed = |what: String| DataError::malformed(path, "header", what);
    if bytes[..2] != [0, 0] {
        return Err(malformed("an IDX file starts with two zero bytes".into()));
    }
    if bytes[2] != UNSIGNED_BYTE {
        return Err(malformed(format!(
            "values are of type 0x{:02x}; unsigned bytes (0x08) can be read",
            bytes[2]
        )));
    }
    if usize::from(bytes[3]) != rank {
        return Err(malformed(format!("has {} dimensions; {rank} are needed", bytes[3])));
    }
    let shape: Vec<usize> = bytes[4..header_bytes]
        .chunks_exact(4)
        .map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize)
        .collect();
    check_whole(path, &shape, (bytes.len() - header_bytes) as u64)?;
    if let Some(source) = read_error {
        return Err(DataError::Unreadable { path: path.to_owned(), source });
    }
    Ok((shape, bytes[header_bytes..].to_vec()))
}

fn check_whole(path: &Path, shape: &[usize], found: u64) -> Result<(), DataError> {
    // A header may claim anything: sizes are multiplied where they cannot overflow.
    let record_bytes: u128 = shape[1..].iter().map(|&size| size as u128).product();
    let expected = record_bytes * shape[0] as u128;
    if u128::from(found) == expected {
        return Ok(());
    }
    if u128::from(found) > expected {
        let extra = u128::from(found) - expected;
        return Err(DataError::malformed(path, "end", format!("{extra} bytes follow the data")));
    }
    Err(DataError::Truncated {
        path: path.to_owned(),
        record: format!("record {}", u128::from(found) / record_bytes),
        found: (u128::from(found) % record_bytes) as u64,
        expected: u64::try_from(record_bytes).unwrap_or(u64::MAX),
    })
}

/// All bytes; of a gzip stream that ends early what is there, so that the record can be named.
fn read_plain_or_gzip(path: &Path) -> Result<(Vec<u8>, Option<io::Error>), DataError> {
    let mut file = File::open(path).map_err(DataError::unreadable(path))?;
    let mut bytes = Vec::new();
    let result = if path.extension().is_some_and(|extension| extension == "gz") {
        MultiGzDecoder::new(file).read_to_end(&mut bytes)
    } else {
        file.read_to_end(&mut bytes)
    };
    match result {
        Ok(_) => Ok((bytes, None)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok((bytes, Some(error))),
        Err(source) => Err(DataError::Unreadable { path: path.to_owned(), source }),
    }
}

impl Records for Idx {
    fn len(&self) -> usize {
        self.pixels.len() / (self.height * self.width)
    }

    fn labels(&self) -> Option<&[i64]> {
        self.labels.as_deref()
    }

    fn name(&self, index: usize) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{name} record {index}")
    }

    fn is_8_bit(&self) -> bool {
        true
    }

    fn read(&self, index: usize) -> Result<RawImage, DataError> {
        let n_pixels = self.height * self.width;
        let pixels = self.pixels[index * n_pixels..(index + 1) * n_pixels].to_vec();
        Ok(RawImage {
            channels: 1,
            height: self.height,
            width: self.width,
            values: Values::U8(pixels),
        })
    }
}
