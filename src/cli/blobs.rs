//! From what was typed to a store of blobs.

use std::{env, path::PathBuf, time::SystemTime};

use bytes::Bytes;

use crate::{
    cli::{args::QueueArgs, queue::Queue},
    queue::{
        BlobBucket, BlobError, BlobFolder, BlobPlace, BlobStore, Cleaned, JetStreamQueue, KeptPart,
    },
};

/// Where a fleet's networks and images are.
pub enum Blobs {
    Folder(BlobFolder),
    Bucket(BlobBucket),
    JetStream(JetStreamQueue),
}

impl Blobs {
    /// What `--blobs` names; with the queue where it names nothing.
    ///
    /// # Errors
    /// When it cannot be used.
    pub async fn open(args: &QueueArgs, queue: &Queue) -> Result<Self, BlobError> {
        if let Some(named) = Self::named(args).await? {
            return Ok(named);
        }
        match queue {
            Queue::JetStream(queue) => Ok(Self::JetStream(queue.clone())),
            Queue::Local { file, .. } => {
                let mut folder = file.clone().into_os_string();
                folder.push(".blobs");
                BlobFolder::new(PathBuf::from(folder)).map(Self::Folder)
            }
        }
    }

    /// # Errors
    /// As [`Blobs::open`].
    pub async fn named(args: &QueueArgs) -> Result<Option<Self>, BlobError> {
        let Some(place) = args.blobs() else { return Ok(None) };
        Ok(Some(match BlobPlace::parse(place)? {
            BlobPlace::Folder(folder) => Self::Folder(BlobFolder::new(folder)?),
            BlobPlace::Bucket { name, prefix } => {
                let variables = env::vars_os().filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                });
                Self::Bucket(BlobBucket::open(&name, &prefix, variables).await?)
            }
        }))
    }
}

/// The same of whichever it is.
macro_rules! of_each {
    ($blobs:expr, $store:ident => $done:expr) => {
        match $blobs {
            Blobs::Folder($store) => $done,
            Blobs::Bucket($store) => $done,
            Blobs::JetStream($store) => $done,
        }
    };
}

impl BlobStore for Blobs {
    fn place(&self) -> String {
        of_each!(self, store => store.place())
    }

    async fn has_part(&self, digest: &str) -> Result<bool, BlobError> {
        of_each!(self, store => store.has_part(digest).await)
    }

    async fn keeps_part(&self, digest: &str) -> Result<bool, BlobError> {
        of_each!(self, store => store.keeps_part(digest).await)
    }

    async fn put_part(&self, digest: &str, bytes: Bytes) -> Result<(), BlobError> {
        of_each!(self, store => store.put_part(digest, bytes).await)
    }

    async fn part(&self, digest: &str, bytes_max: u64) -> Result<Bytes, BlobError> {
        of_each!(self, store => store.part(digest, bytes_max).await)
    }

    async fn parts(&self) -> Result<Vec<KeptPart>, BlobError> {
        of_each!(self, store => store.parts().await)
    }

    async fn remove_part(&self, digest: &str) -> Result<(), BlobError> {
        of_each!(self, store => store.remove_part(digest).await)
    }

    async fn clean(&self, before: SystemTime) -> Result<Cleaned, BlobError> {
        of_each!(self, store => store.clean(before).await)
    }
}
