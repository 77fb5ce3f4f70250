//! Models and data on their way to workers: bytes named by their own SHA-256, in parts, so that a
//! transfer that was cut goes on with the part it was at.
//!
//! [`BlobStore`] is where everybody finds them, [`BlobCache`] the folder of one machine.

mod bucket;
mod cache;
mod error;
mod folder;
mod place;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    future::Future,
    path::Path,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::{fs::File, io::AsyncReadExt};

pub use bucket::BlobBucket;
pub use cache::{BlobCache, CachedBlob};
pub use error::BlobError;
pub use folder::BlobFolder;
pub use place::BlobPlace;

use crate::domain::hexadecimal;

/// Length of every part but the last.
pub const PART_BYTES: u64 = 8 << 20;

/// Bytes that are kept somewhere: what they are, not where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// SHA-256 of the whole, hexadecimal.
    pub digest: String,
    /// Length of the whole.
    pub bytes: u64,
    /// SHA-256 of each part, in order.
    pub parts: Vec<String>,
}

impl Blob {
    /// What a blob of these bytes is called.
    pub fn of(bytes: &[u8]) -> Self {
        let parts = bytes.chunks(PART_BYTES as usize).map(digest).collect();
        Self { digest: digest(bytes), bytes: bytes.len() as u64, parts }
    }

    /// Length of one part.
    pub(crate) fn part_bytes(&self, index: usize) -> u64 {
        let before = PART_BYTES.saturating_mul(index as u64);
        self.bytes.saturating_sub(before).min(PART_BYTES)
    }

    /// Looks at what came from elsewhere before it names files.
    ///
    /// # Errors
    /// [`BlobError::NotABlob`].
    pub(crate) fn check(&self) -> Result<(), BlobError> {
        let refused = |reason: &str| BlobError::NotABlob {
            digest: self.digest.chars().take(64).collect(),
            reason: reason.to_owned(),
        };
        if !std::iter::once(&self.digest).chain(&self.parts).all(|digest| is_digest(digest)) {
            return Err(refused("its digests are not SHA-256 in lower-case hexadecimal"));
        }
        if self.parts.len() as u64 != self.bytes.div_ceil(PART_BYTES) {
            return Err(refused("its length and its number of parts do not agree"));
        }
        Ok(())
    }
}

/// Age from which a part is sent again by who needs it: what is cleaned away goes by age.
const RENEWAL: Duration = Duration::from_secs(7 * 86_400);

/// Parts that are deleted at the same time.
const N_REMOVALS: usize = 8;

/// A part in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPart {
    pub digest: String,
    pub bytes: u64,
    /// When somebody put it there last.
    pub sent: SystemTime,
}

/// What a store was rid of, and what it has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cleaned {
    pub n_removed: u64,
    pub removed_bytes: u64,
    pub n_kept: u64,
    pub kept_bytes: u64,
}

/// Where blobs are kept for all workers of a fleet.
pub trait BlobStore: Send + Sync {
    /// What errors call it.
    fn place(&self) -> String;

    fn has_part(&self, digest: &str) -> impl Future<Output = Result<bool, BlobError>> + Send;

    /// Whether a part is there and counts as sent lately: it need not be sent again. Where it is cheap
    /// this makes it count so.
    fn keeps_part(&self, digest: &str) -> impl Future<Output = Result<bool, BlobError>> + Send;

    /// Keeps a part, in place of one that is there already.
    fn put_part(
        &self,
        digest: &str,
        bytes: Bytes,
    ) -> impl Future<Output = Result<(), BlobError>> + Send;

    /// A part as it is kept; who asks has to look whether it is the right one.
    ///
    /// - `bytes_max`: what is longer is refused unread
    ///
    /// # Errors
    /// [`BlobError::Missing`].
    fn part(
        &self,
        digest: &str,
        bytes_max: u64,
    ) -> impl Future<Output = Result<Bytes, BlobError>> + Send;

    /// Every part that is there, in no order. What is not named as one is not listed.
    fn parts(&self) -> impl Future<Output = Result<Vec<KeptPart>, BlobError>> + Send;

    /// Deletes a part; one that is gone already is no error.
    fn remove_part(&self, digest: &str) -> impl Future<Output = Result<(), BlobError>> + Send;

    /// Deletes every part that was last sent before this.
    fn clean(&self, before: SystemTime) -> impl Future<Output = Result<Cleaned, BlobError>> + Send {
        async move {
            let mut cleaned = Cleaned::default();
            let mut old = Vec::new();
            for part in self.parts().await? {
                if part.sent < before {
                    cleaned.n_removed += 1;
                    cleaned.removed_bytes += part.bytes;
                    old.push(part.digest);
                } else {
                    cleaned.n_kept += 1;
                    cleaned.kept_bytes += part.bytes;
                }
            }
            let removals =
                old.into_iter().map(|digest| async move { self.remove_part(&digest).await });
            stream::iter(removals).buffer_unordered(N_REMOVALS).try_collect::<()>().await?;
            Ok(cleaned)
        }
    }

    /// Keeps a blob; parts that are there already are not sent again for a week.
    fn put(&self, bytes: &[u8]) -> impl Future<Output = Result<Blob, BlobError>> + Send {
        async {
            let blob = Blob::of(bytes);
            for (digest, part) in blob.parts.iter().zip(bytes.chunks(PART_BYTES as usize)) {
                if !self.keeps_part(digest).await? {
                    self.put_part(digest, Bytes::copy_from_slice(part)).await?;
                }
            }
            Ok(blob)
        }
    }

    /// The same for a file, of which one part at a time is in memory.
    fn put_file(&self, path: &Path) -> impl Future<Output = Result<Blob, BlobError>> + Send {
        async move {
            let failed = |error: &std::io::Error| BlobError::of_file(path, error);
            let mut file = File::open(path).await.map_err(|error| failed(&error))?;
            let mut whole = Sha256::new();
            let mut blob = Blob { digest: String::new(), bytes: 0, parts: Vec::new() };
            loop {
                let mut part = Vec::new();
                let mut limited = (&mut file).take(PART_BYTES);
                limited.read_to_end(&mut part).await.map_err(|error| failed(&error))?;
                if part.is_empty() {
                    break;
                }
                whole.update(&part);
                blob.bytes += part.len() as u64;
                let digest = digest(&part);
                if !self.keeps_part(&digest).await? {
                    self.put_part(&digest, part.into()).await?;
                }
                blob.parts.push(digest);
            }
            blob.digest = hexadecimal(&whole.finalize());
            Ok(blob)
        }
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// Looks at what came from elsewhere before it names anything.
fn check_name(digest: &str) -> Result<(), BlobError> {
    if is_digest(digest) {
        return Ok(());
    }
    let digest = digest.chars().take(64).collect();
    let reason = "its name is not a SHA-256 in lower-case hexadecimal".into();
    Err(BlobError::NotABlob { digest, reason })
}

pub(crate) fn is_young(sent: SystemTime) -> bool {
    // What was sent in the future was sent by another clock.
    sent.elapsed().map_or(true, |age| age < RENEWAL)
}

pub(crate) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
