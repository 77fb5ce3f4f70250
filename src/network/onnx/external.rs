//! Tensor data that lies in a file beside the model.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Component, Path, PathBuf},
};

use super::proto::TensorProto;
use crate::network::error::NetworkError;

/// Reads the bytes an initializer points to; `expected` is how many its shape needs.
///
/// The file must lie in the model's folder, links followed.
pub(super) fn read(
    tensor: &TensorProto,
    base: Option<&Path>,
    expected: usize,
) -> Result<Vec<u8>, NetworkError> {
    let entry = |key: &str| {
        let entry = tensor.external_data.iter().find(|entry| entry.key() == key);
        entry.map(|entry| entry.value())
    };
    let location = entry("location").unwrap_or_default();
    let error = |reason: String| NetworkError::ExternalData {
        tensor: tensor.name().to_owned(),
        location: location.to_owned(),
        reason,
    };
    let number = |key: &str| match entry(key) {
        None => Ok(None),
        Some(text) => text
            .parse::<u64>()
            .map(Some)
            .map_err(|_| error(format!("its {key} is {text:?}; it needs to be a whole number"))),
    };
    let base =
        base.ok_or_else(|| error("a model without a file has no folder to look in".into()))?;
    let path = confined(base, location).map_err(error)?;
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    if let Some(length) = length
        && length != expected as u64
    {
        return Err(error(format!("its length is {length} bytes; its shape needs {expected}")));
    }
    let io_error = |source: std::io::Error| error(source.to_string());
    let mut file = File::open(&path).map_err(io_error)?;
    let metadata = file.metadata().map_err(io_error)?;
    if !metadata.is_file() {
        return Err(error("it is not a file".into()));
    }
    let end = offset.checked_add(expected as u64);
    if end.is_none_or(|end| end > metadata.len()) {
        return Err(error(format!(
            "{expected} bytes from {offset} are needed; the file has {}",
            metadata.len()
        )));
    }
    file.seek(SeekFrom::Start(offset)).map_err(io_error)?;
    let mut bytes = vec![0; expected];
    file.read_exact(&mut bytes).map_err(io_error)?;
    Ok(bytes)
}

/// The path of a location inside the model's folder, or the reason why it is none.
fn confined(base: &Path, location: &str) -> Result<PathBuf, String> {
    let relative = Path::new(location);
    let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !relative.components().all(plain) {
        return Err("it needs to be a relative path that stays in the model's folder".into());
    }
    // An empty base is how the folder of a bare file name reads.
    let base = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    let base = base.canonicalize().map_err(|error| error.to_string())?;
    let path = base.join(relative).canonicalize().map_err(|error| error.to_string())?;
    if path.starts_with(&base) {
        return Ok(path);
    }
    Err("it leads out of the model's folder".into())
}
