//! Blobs in the server's object store: one object a part.

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use async_nats::jetstream::object_store::{
    Config, DeleteErrorKind, GetErrorKind, InfoErrorKind, ObjectInfo, ObjectMetadata, ObjectStore,
};
use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::io::AsyncReadExt;

use super::{JetStreamQueue, server::Trouble};
use crate::queue::{
    BlobError, BlobStore, KeptPart,
    blobs::{is_digest, is_young},
};

/// Bytes a message: half of what a server takes unless it is told otherwise.
const CHUNK_BYTES: usize = 512 << 10;

/// How long a part may be on its way before it is asked for again.
const PART_PATIENCE: Duration = Duration::from_secs(60);

impl BlobStore for JetStreamQueue {
    fn place(&self) -> String {
        format!("the object store {} at {}", self.bucket_name(), self.server.address)
    }

    async fn has_part(&self, digest: &str) -> Result<bool, BlobError> {
        Ok(self.info(digest).await?.is_some())
    }

    async fn keeps_part(&self, digest: &str) -> Result<bool, BlobError> {
        Ok(self.info(digest).await?.is_some_and(|info| is_young(sent(&info))))
    }

    async fn put_part(&self, digest: &str, bytes: Bytes) -> Result<(), BlobError> {
        self.patiently("keep a part", || async {
            let object = ObjectMetadata {
                name: digest.to_owned(),
                chunk_size: Some(CHUNK_BYTES),
                ..ObjectMetadata::default()
            };
            let objects = self.objects().await?;
            let mut unread: &[u8] = &bytes;
            within(objects.put(object, &mut unread)).await?.map_err(lost)?;
            Ok(())
        })
        .await
    }

    async fn part(&self, digest: &str, bytes_max: u64) -> Result<Bytes, BlobError> {
        let found = self
            .patiently("hand out a part", || async {
                let objects = self.objects().await?;
                let object = match objects.get(digest).await {
                    Ok(object) => object,
                    Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(lost(error)),
                };
                let mut bytes = Vec::new();
                // One more than may be: then its length is seen to be wrong.
                let mut limited = object.take(bytes_max.saturating_add(1));
                match within(limited.read_to_end(&mut bytes)).await? {
                    // Whoever asked finds out by its digest.
                    Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {}
                    read => {
                        read.map_err(lost)?;
                    }
                }
                Ok(Some(bytes))
            })
            .await?;
        let missing = || BlobError::Missing { place: self.place(), digest: digest.to_owned() };
        found.map(Bytes::from).ok_or_else(missing)
    }

    async fn parts(&self) -> Result<Vec<KeptPart>, BlobError> {
        let listed = self.patiently("list its parts", || async {
            let listed = self.objects().await?.list().await.map_err(lost)?;
            within(listed.try_collect::<Vec<_>>()).await?.map_err(lost)
        });
        let part = |info: ObjectInfo| KeptPart {
            sent: sent(&info),
            bytes: info.size as u64,
            digest: info.name,
        };
        Ok(listed.await?.into_iter().filter(|info| is_digest(&info.name)).map(part).collect())
    }

    async fn remove_part(&self, digest: &str) -> Result<(), BlobError> {
        self.patiently("delete a part", || async {
            match within(self.objects().await?.delete(digest)).await? {
                Err(error) if error.kind() == DeleteErrorKind::NotFound => Ok(()),
                deleted => deleted.map_err(lost),
            }
        })
        .await
    }
}

/// When a part was put there; one that does not say so counts as old.
fn sent(info: &ObjectInfo) -> SystemTime {
    info.modified.map_or(SystemTime::UNIX_EPOCH, SystemTime::from)
}

impl JetStreamQueue {
    fn bucket_name(&self) -> String {
        self.server.fleet.stream("blobs")
    }

    /// None where the part is not there.
    async fn info(&self, digest: &str) -> Result<Option<ObjectInfo>, BlobError> {
        self.patiently("tell whether it has a part", || async {
            match self.objects().await?.info(digest).await {
                Ok(info) => Ok((!info.deleted).then_some(info)),
                Err(error) if error.kind() == InfoErrorKind::NotFound => Ok(None),
                Err(error) => Err(lost(error)),
            }
        })
        .await
    }

    async fn objects(&self) -> Result<ObjectStore, Trouble> {
        let bucket = self.bucket_name();
        if let Ok(objects) = self.server.context.get_object_store(&bucket).await {
            return Ok(objects);
        }
        let config = Config { bucket, num_replicas: self.server.replicas, ..Config::default() };
        self.server.context.create_object_store(config).await.map_err(lost)
    }

    async fn patiently<T, F>(
        &self,
        what: &'static str,
        attempt: impl Fn() -> F + Send,
    ) -> Result<T, BlobError>
    where
        F: Future<Output = Result<T, Trouble>> + Send,
    {
        self.server.insist(attempt).await.map_err(|error| BlobError::Store {
            place: self.place(),
            what,
            reason: error.to_string(),
        })
    }
}

async fn within<T>(work: impl Future<Output = T>) -> Result<T, Trouble> {
    tokio::time::timeout(PART_PATIENCE, work)
        .await
        .map_err(|_| Trouble::Lost(format!("no answer within {} s", PART_PATIENCE.as_secs())))
}

fn lost(error: impl ToString) -> Trouble {
    Trouble::Lost(error.to_string())
}
