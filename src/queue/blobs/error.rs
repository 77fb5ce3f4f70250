//! What can go wrong between a store of blobs and a machine's cache.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Every failure of stores and caches of blobs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    #[error(
        "{place} has no part {digest}; a search and its workers need the same --queue and, where one has it, \
         the same --blobs, and `haq resume` sends again what was deleted"
    )]
    Missing { place: String, digest: String },

    #[error(
        "{place}: what is kept as {expected} has digest {found} and {found_bytes} bytes; it is damaged, \
         and not used: delete it there and put the blob again"
    )]
    Damaged { place: String, expected: String, found: String, found_bytes: u64 },

    #[error("blob {digest} is none: {reason}")]
    NotABlob { digest: String, reason: String },

    #[error(
        "blob {digest} has {bytes} bytes, the cache {folder} holds {bytes_max}; give it more, \
         or this work to another worker"
    )]
    TooLarge { folder: PathBuf, digest: String, bytes: u64, bytes_max: u64 },

    #[error(
        "the cache {folder} has no room for {bytes} bytes: all of its {bytes_max} are in use by work that \
         goes on; give it more"
    )]
    InUse { folder: PathBuf, bytes: u64, bytes_max: u64 },

    #[error("{path}: the disk is full; free some space there, or put the cache elsewhere")]
    DiskFull { path: PathBuf },

    #[error("{path} cannot be used: {reason}")]
    File { path: PathBuf, reason: String },

    #[error(
        "{place} cannot keep blobs: {reason}; --blobs takes s3://BUCKET/PREFIX, file:///FOLDER or a folder"
    )]
    Place { place: String, reason: String },

    #[error("{place} did not {what}: {reason}")]
    Store { place: String, what: &'static str, reason: String },
}

impl BlobError {
    pub(super) fn of_file(path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::File { path, reason: error.to_string() },
        }
    }
}
