//! From words to the place of a store that all machines of a fleet name.

use std::path::PathBuf;

use object_store::path::Path;

use super::BlobError;

const BUCKET_SCHEME: &str = "s3://";
const FILE_SCHEME: &str = "file://";

/// Where blobs are kept, unless the queue keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobPlace {
    /// As every machine sees it, such as one of a network file system.
    Folder(PathBuf),
    /// Of a store that speaks as Amazon's S3 does.
    Bucket { name: String, prefix: String },
}

impl BlobPlace {
    /// Reads `s3://BUCKET[/PREFIX]`, `file:///FOLDER` or the path of a folder.
    ///
    /// # Errors
    /// [`BlobError::Place`].
    pub fn parse(text: &str) -> Result<Self, BlobError> {
        let refused = |reason: &str| BlobError::Place {
            place: text.chars().filter(|c| !c.is_control()).collect(),
            reason: reason.to_owned(),
        };
        if text.is_empty() || text.contains(char::is_control) {
            return Err(refused("it is empty, or has control characters in it"));
        }
        if let Some(rest) = text.strip_prefix(BUCKET_SCHEME) {
            let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let prefix = prefix.trim_end_matches('/');
            let may_be_in_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            if name.is_empty() || !name.chars().all(may_be_in_name) {
                return Err(refused(
                    "the name of a bucket has letters, digits, dots and dashes; keys belong in AWS_ACCESS_KEY_ID \
                     and AWS_SECRET_ACCESS_KEY, a server's address in AWS_ENDPOINT_URL",
                ));
            }
            if prefix.contains(['?', '#']) || Path::parse(prefix).is_err() {
                return Err(refused("what follows the bucket is not names with / between them"));
            }
            return Ok(Self::Bucket { name: name.to_owned(), prefix: prefix.to_owned() });
        }
        if let Some(rest) = text.strip_prefix(FILE_SCHEME) {
            return match rest.starts_with('/') && !rest.contains('%') {
                true => Ok(Self::Folder(rest.into())),
                false => Err(refused(
                    "a folder's address begins with file:/// and is written as it is, without %",
                )),
            };
        }
        match text.split_once("://") {
            None => Ok(Self::Folder(text.into())),
            // It may be an address with a password in it.
            Some((scheme, _)) => Err(BlobError::Place {
                place: format!("{scheme}://…"),
                reason: "addresses begin with s3:// or file:///".into(),
            }),
        }
    }
}
