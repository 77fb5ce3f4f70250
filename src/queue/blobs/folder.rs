//! Blobs in a folder that all workers see, such as one on a network file system.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use bytes::Bytes;
use tokio::io::AsyncReadExt;

use super::{BlobError, BlobStore, KeptPart, check_name, is_digest, is_young};

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
        check_name(digest)?;
        Ok(self.folder.join(digest))
    }

    /// Runs what reads and writes files where it holds up nobody.
    async fn blocking<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BlobError> {
        let own = path.to_owned();
        let done = tokio::task::spawn_blocking(move || work(&own)).await;
        done.expect("work on files does not panic")
            .map_err(|error| BlobError::of_file(path, &error))
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

    async fn keeps_part(&self, digest: &str) -> Result<bool, BlobError> {
        self.blocking(&self.file(digest)?, renew).await
    }

    async fn put_part(&self, digest: &str, bytes: Bytes) -> Result<(), BlobError> {
        let folder = self.folder.clone();
        self.blocking(&self.file(digest)?, move |file| write_whole(&folder, file, &bytes)).await
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

    async fn parts(&self) -> Result<Vec<KeptPart>, BlobError> {
        self.blocking(&self.folder, list).await
    }

    async fn remove_part(&self, digest: &str) -> Result<(), BlobError> {
        let remove = |file: &Path| match std::fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        self.blocking(&self.file(digest)?, remove).await
    }
}

/// Makes a file count as written now. False where there is none, or one that is old and stays so.
fn renew(file: &Path) -> io::Result<bool> {
    let file = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    match file.set_modified(SystemTime::now()) {
        // Another user's.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Ok(is_young(file.metadata()?.modified()?))
        }
        set => set.map(|()| true),
    }
}

fn list(folder: &Path) -> io::Result<Vec<KeptPart>> {
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(digest) = name.to_str().filter(|name| is_digest(name)) else { continue };
        match entry.metadata() {
            Ok(found) if found.is_file() => parts.push(KeptPart {
                digest: digest.to_owned(),
                bytes: found.len(),
                sent: found.modified()?,
            }),
            Ok(_) => {}
            // Somebody else may be cleaning as well.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(parts)
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
