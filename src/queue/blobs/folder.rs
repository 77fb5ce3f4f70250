//! Blobs in a folder that all workers see, such as one on a network file system.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use tokio::io::AsyncReadExt;

use super::{BlobError, BlobStore, is_digest};

/// A folder with one file a part.
#[derive(Debug, Clone)]
pub struct BlobFolder {
    folder: PathBuf,
}

impl BlobFolder {
    /// Makes the folder where it does not exist.
    pub fn new(folder: impl Into<PathBuf>) -> Result<Self, BlobError> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder).map_err(|error| BlobError::of_file(&folder, &error))?;
        Ok(Self { folder })
    }

    fn file(&self, digest: &str) -> Result<PathBuf, BlobError> {
        if !is_digest(digest) {
            let digest = digest.chars().take(64).collect();
            let reason = "its name is not a SHA-256 in lower-case hexadecimal".into();
            return Err(BlobError::NotABlob { digest, reason });
        }
        Ok(self.folder.join(digest))
    }
}

impl BlobStore for BlobFolder {
    fn place(&self) -> String {
        self.folder.display().to_string()
    }

    async fn has_part(&self, digest: &str) -> Result<bool, BlobError> {
        let file = self.file(digest)?;
        tokio::fs::try_exists(&file).await.map_err(|error| BlobError::of_file(&file, &error))
    }

    async fn put_part(&self, digest: &str, bytes: Bytes) -> Result<(), BlobError> {
        let (file, folder) = (self.file(digest)?, self.folder.clone());
        let shown = file.clone();
        let written = tokio::task::spawn_blocking(move || write_whole(&folder, &file, &bytes));
        written
            .await
            .expect("writing does not panic")
            .map_err(|error| BlobError::of_file(&shown, &error))
    }

    async fn part(&self, digest: &str, bytes_max: u64) -> Result<Bytes, BlobError> {
        let path = self.file(digest)?;
        let file = match tokio::fs::File::open(&path).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let digest = digest.to_owned();
                return Err(BlobError::Missing { place: self.place(), digest });
            }
            Err(error) => return Err(BlobError::of_file(&path, &error)),
        };
        let mut bytes = Vec::new();
        // One more than may be: then its length is seen to be wrong.
        let mut limited = file.take(bytes_max.saturating_add(1));
        let read = limited.read_to_end(&mut bytes).await;
        read.map_err(|error| BlobError::of_file(&path, &error))?;
        Ok(bytes.into())
    }
}

/// Under its name only once it is whole.
fn write_whole(folder: &Path, file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = tempfile::Builder::new().prefix(".part-").tempfile_in(folder)?;
    temporary.write_all(bytes)?;
    // Readable by workers of other users, as the folder is.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        temporary.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    temporary.persist(file).map_err(|error| error.error)?;
    Ok(())
}
