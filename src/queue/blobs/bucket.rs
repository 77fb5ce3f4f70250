//! Blobs in a bucket of Amazon's S3, or of a store that speaks as it does: one object a part.

mod http;

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{
    Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    path::Path,
};

use super::{BlobError, BlobStore, KeptPart, check_name, is_digest, is_young};
use http::Connector;

/// Of the environment: how to reach a store, and who asks.
const VARIABLE_PREFIX: &str = "AWS_";

/// File with the certificates that the store's may be signed by, in place of those that browsers
/// trust.
const ROOTS_VARIABLE: &str = "AWS_CA_BUNDLE";

/// Objects whose names are a prefix and the digest of a part.
#[derive(Debug, Clone)]
pub struct BlobBucket {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    place: String,
}

impl BlobBucket {
    /// Looks once whether the bucket is there and may be read.
    ///
    /// - `prefix`: before every name, empty for none
    /// - `variables`: of the environment; those that begin with `AWS_` are looked at
    ///
    /// # Errors
    /// When it is not, or nobody answers there.
    pub async fn open(
        name: &str,
        prefix: &str,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, BlobError> {
        let mut place = format!("s3://{name}/{prefix}").trim_end_matches('/').to_owned();
        let refused =
            |place: &str, reason: String| BlobError::Place { place: place.into(), reason };
        let (mut builder, mut roots_file) = (AmazonS3Builder::new(), None);
        for (variable, value) in variables.filter(|(_, value)| !value.is_empty()) {
            if variable == ROOTS_VARIABLE {
                roots_file = Some(value);
            } else if variable.starts_with(VARIABLE_PREFIX)
                && let Ok(key) = variable.to_ascii_lowercase().parse()
            {
                builder = builder.with_config(key, value);
            }
        }
        let value = |key| builder.get_config_value(&key);
        let endpoint = value(AmazonS3ConfigKey::S3Endpoint).or(value(AmazonS3ConfigKey::Endpoint));
        let has_key = value(AmazonS3ConfigKey::AccessKeyId).is_some();
        // An address with a password in it is not shown.
        if let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.contains('@')) {
            place += &format!(" at {endpoint}");
        }
        let connector =
            Connector::new(roots_file.as_deref()).map_err(|reason| refused(&place, reason))?;
        let prefix = Path::parse(prefix).map_err(|error| refused(&place, error.to_string()))?;
        let builder = builder.with_bucket_name(name).with_http_connector(connector);
        let build = |builder: AmazonS3Builder| {
            builder.build().map_err(|error| refused(&place, words(&error)))
        };
        let impatient = RetryConfig { max_retries: 2, ..RetryConfig::default() };
        let first_look = build(builder.clone().with_retry(impatient))?;
        if let Err(error) = first_look.list(Some(&prefix)).try_next().await {
            let mut reason = words(&error);
            if !has_key {
                reason += "; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and files in ~/.aws are \
                           not read";
            }
            return Err(refused(&place, reason));
        }
        Ok(Self { objects: Arc::new(build(builder)?), prefix, place })
    }

    /// - `place`: what errors call it
    #[cfg(test)]
    pub(super) fn over(objects: Arc<dyn ObjectStore>, prefix: &str, place: &str) -> Self {
        Self { objects, prefix: Path::from(prefix), place: place.to_owned() }
    }

    fn name(&self, digest: &str) -> Result<Path, BlobError> {
        check_name(digest)?;
        Ok(self.prefix.clone().join(digest))
    }

    fn failed(&self, what: &'static str, error: &Error) -> BlobError {
        BlobError::Store { place: self.place(), what, reason: words(error) }
    }

    /// When a part was sent; none where it is not there.
    async fn sent(&self, digest: &str) -> Result<Option<SystemTime>, BlobError> {
        match self.objects.head(&self.name(digest)?).await {
            Ok(object) => Ok(Some(object.last_modified.into())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("tell whether it has a part", &error)),
        }
    }
}

impl BlobStore for BlobBucket {
    fn place(&self) -> String {
        self.place.clone()
    }

    async fn has_part(&self, digest: &str) -> Result<bool, BlobError> {
        Ok(self.sent(digest).await?.is_some())
    }

    async fn keeps_part(&self, digest: &str) -> Result<bool, BlobError> {
        Ok(self.sent(digest).await?.is_some_and(is_young))
    }

    async fn put_part(&self, digest: &str, bytes: Bytes) -> Result<(), BlobError> {
        let put = self.objects.put(&self.name(digest)?, bytes.into()).await;
        put.map(|_| ()).map_err(|error| self.failed("keep a part", &error))
    }

    async fn part(&self, digest: &str, bytes_max: u64) -> Result<Bytes, BlobError> {
        // One more than may be: then its length is seen to be wrong.
        let range = GetRange::Bounded(0..bytes_max.saturating_add(1));
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let found = match self.objects.get_opts(&self.name(digest)?, options).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        found.map_err(|error| match error {
            Error::NotFound { .. } => {
                BlobError::Missing { place: self.place(), digest: digest.to_owned() }
            }
            error => self.failed("hand out a part", &error),
        })
    }

    async fn parts(&self) -> Result<Vec<KeptPart>, BlobError> {
        let objects = self.objects.list(Some(&self.prefix)).try_collect::<Vec<_>>().await;
        let objects = objects.map_err(|error| self.failed("list its parts", &error))?;
        let is_own = |name: &Path| {
            name.filename().is_some_and(|digest| {
                is_digest(digest) && self.prefix.clone().join(digest) == *name
            })
        };
        Ok(objects
            .into_iter()
            .filter(|object| is_own(&object.location))
            .map(|object| KeptPart {
                digest: object.location.filename().unwrap_or_default().to_owned(),
                bytes: object.size,
                sent: object.last_modified.into(),
            })
            .collect())
    }

    async fn remove_part(&self, digest: &str) -> Result<(), BlobError> {
        match self.objects.delete(&self.name(digest)?).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("delete a part", &error)),
        }
    }
}

/// On one line, whatever a server sent.
fn words(error: &Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
