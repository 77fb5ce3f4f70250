//! The folder of one machine that keeps the blobs its workers need, up to a size.
//!
//! A file has its blob's digest as its name, once it is whole; before, it ends in `.partial`. Whoever
//! downloads a blob holds the lock of its name in `locks/`, whoever uses one a lock on the file
//! itself: locks end with their process, so that nothing is left behind by one that was killed.

use std::{
    collections::HashSet,
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Deref,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Blob, BlobError, BlobStore, PART_BYTES, digest};
use crate::domain::hexadecimal;

const LOCKS: &str = "locks";

/// Held while room is made: the one lock that no blob's name is.
const ROOM_LOCK: &str = "room";

/// A cache in a folder, which the processes of a machine share. Clones count together.
#[derive(Debug, Clone)]
pub struct BlobCache {
    folder: PathBuf,
    bytes_max: u64,
    moved_bytes: Arc<AtomicU64>,
    /// Digests of files that this process has seen to be whole.
    verified: Arc<Mutex<HashSet<String>>>,
}

/// A blob as a file; it stays there as long as this is kept.
#[derive(Debug)]
pub struct CachedBlob {
    path: PathBuf,
    _in_use: File,
}

impl CachedBlob {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Deref for CachedBlob {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl BlobCache {
    /// Makes the folder where it does not exist.
    ///
    /// - `bytes_max`: what it may hold; more is deleted, least recently used first
    pub fn new(folder: impl Into<PathBuf>, bytes_max: u64) -> Result<Self, BlobError> {
        let folder = folder.into();
        let locks = folder.join(LOCKS);
        fs::create_dir_all(&locks).map_err(|error| BlobError::of_file(&locks, &error))?;
        let (moved_bytes, verified) = Default::default();
        Ok(Self { folder, bytes_max, moved_bytes, verified })
    }

    /// Bytes that were downloaded through this cache by this process.
    pub fn moved_bytes(&self) -> u64 {
        self.moved_bytes.load(Ordering::Relaxed)
    }

    /// A blob as a file of this machine; downloads the parts that are not here yet.
    ///
    /// # Errors
    /// When the store has it not or damaged, or the cache has no room.
    pub async fn fetch(
        &self,
        store: &impl BlobStore,
        blob: &Blob,
    ) -> Result<CachedBlob, BlobError> {
        blob.check()?;
        if blob.bytes > self.bytes_max {
            return Err(BlobError::TooLarge {
                folder: self.folder.clone(),
                digest: blob.digest.clone(),
                bytes: blob.bytes,
                bytes_max: self.bytes_max,
            });
        }
        loop {
            if let Some(found) = self.blocking(blob, Self::open).await? {
                return Ok(found);
            }
            // Another process may be at it: then it is whole once this returns.
            let lock = self.blocking(blob, |cache, blob| cache.lock(&blob.digest)).await?;
            if let Some(found) = self.blocking(blob, Self::open).await? {
                return Ok(found);
            }
            self.download(store, blob).await?;
            drop(lock);
        }
    }

    /// Runs what reads and writes files where it holds up nobody.
    async fn blocking<T: Send + 'static>(
        &self,
        blob: &Blob,
        work: impl FnOnce(&Self, &Blob) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, BlobError> {
        let (cache, blob) = (self.clone(), blob.clone());
        let done = tokio::task::spawn_blocking(move || work(&cache, &blob)).await;
        done.expect("the cache's file work does not panic")
    }

    fn file(&self, blob: &Blob) -> PathBuf {
        self.folder.join(&blob.digest)
    }

    fn partial(&self, blob: &Blob) -> PathBuf {
        self.folder.join(format!("{}.partial", blob.digest))
    }

    /// Waits for the lock of a name.
    fn lock(&self, name: &str) -> Result<File, BlobError> {
        let path = self.folder.join(LOCKS).join(name);
        let failed = |error| BlobError::of_file(&path, &error);
        let lock = File::options().create(true).append(true).open(&path).map_err(failed)?;
        lock.lock().map_err(failed)?;
        Ok(lock)
    }

    /// The file, if it is there and whole; it is then marked as used now.
    fn open(&self, blob: &Blob) -> Result<Option<CachedBlob>, BlobError> {
        let path = self.file(blob);
        let failed = |error| BlobError::of_file(&path, &error);
        loop {
            let mut file = match File::options().read(true).append(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened.map_err(failed)?,
            };
            file.lock_shared().map_err(failed)?;
            // It may have been deleted before it was locked.
            let Some(named) = named_file(&path).map_err(failed)? else { return Ok(None) };
            if named != file.metadata().map_err(failed)?.ino() {
                continue;
            }
            if !self.is_whole(&mut file, blob).map_err(failed)? {
                tracing::warn!(path = %path.display(), "a cached file was damaged; fetching it anew");
                fs::remove_file(&path).map_err(failed)?;
                return Ok(None);
            }
            file.set_modified(SystemTime::now()).map_err(failed)?;
            return Ok(Some(CachedBlob { path, _in_use: file }));
        }
    }

    /// Reads all of it once in a process's life: after a power failure a file may be anything.
    fn is_whole(&self, file: &mut File, blob: &Blob) -> io::Result<bool> {
        if file.metadata()?.len() != blob.bytes {
            return Ok(false);
        }
        if self.verified().contains(&blob.digest) {
            return Ok(true);
        }
        let (mut whole, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
        loop {
            match file.read(&mut piece)? {
                0 => break,
                n_bytes => whole.update(&piece[..n_bytes]),
            }
        }
        let is_whole = hexadecimal(&whole.finalize()) == blob.digest;
        if is_whole {
            self.verified().insert(blob.digest.clone());
        }
        Ok(is_whole)
    }

    fn verified(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        // Nothing panics while the set is being changed, so it is whole.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the file, from where an earlier try ended. The lock of its name is held.
    async fn download(&self, store: &impl BlobStore, blob: &Blob) -> Result<(), BlobError> {
        let (mut whole, n_there) = self.blocking(blob, Self::resume).await?;
        for (index, expected) in blob.parts.iter().enumerate().skip(n_there) {
            let part = store.part(expected, blob.part_bytes(index)).await?;
            self.moved_bytes.fetch_add(part.len() as u64, Ordering::Relaxed);
            verify(store, expected, blob.part_bytes(index), &part)?;
            let add = move |cache: &Self, blob: &Blob| {
                whole.update(&part);
                cache.write_part(blob, index, &part)?;
                Ok(whole)
            };
            whole = self.blocking(blob, add).await?;
        }
        self.blocking(blob, move |cache, blob| cache.finish(blob, whole)).await
    }

    /// Makes room, and looks how many parts are there already: their digests, and so the whole's.
    fn resume(&self, blob: &Blob) -> Result<(Sha256, usize), BlobError> {
        let path = self.partial(blob);
        let failed = |error| BlobError::of_file(&path, &error);
        self.make_room(blob)?;
        let options =
            File::options().create(true).truncate(false).read(true).write(true).to_owned();
        let mut file = options.open(&path).map_err(failed)?;
        // Its length says at once what it will take.
        file.set_len(blob.bytes).map_err(failed)?;
        let (mut whole, mut n_there, mut part) = (Sha256::new(), 0, Vec::new());
        for (index, expected) in blob.parts.iter().enumerate() {
            part.clear();
            let mut limited = (&mut file).take(blob.part_bytes(index));
            limited.read_to_end(&mut part).map_err(failed)?;
            if digest(&part) != *expected {
                break;
            }
            whole.update(&part);
            n_there += 1;
        }
        Ok((whole, n_there))
    }

    fn write_part(&self, blob: &Blob, index: usize, part: &Bytes) -> Result<(), BlobError> {
        let path = self.partial(blob);
        let write = || {
            let mut file = File::options().write(true).open(&path)?;
            file.seek(SeekFrom::Start(PART_BYTES * index as u64))?;
            file.write_all(part)
        };
        write().map_err(|error| BlobError::of_file(&path, &error))
    }

    fn finish(&self, blob: &Blob, whole: Sha256) -> Result<(), BlobError> {
        let path = self.partial(blob);
        let found = hexadecimal(&whole.finalize());
        if found != blob.digest {
            // Each part is what it should be: the blob's description does not agree with itself.
            let _ = fs::remove_file(&path);
            let reason = format!("its parts are there, and together have digest {found}");
            return Err(BlobError::NotABlob { digest: blob.digest.clone(), reason });
        }
        fs::rename(&path, self.file(blob)).map_err(|error| BlobError::of_file(&path, &error))?;
        self.verified().insert(blob.digest.clone());
        Ok(())
    }

    /// Deletes what was least recently used and is not in use, until the blob has room.
    fn make_room(&self, blob: &Blob) -> Result<(), BlobError> {
        let _room = self.lock(ROOM_LOCK)?;
        let failed = |error| BlobError::of_file(&self.folder, &error);
        let mut files = self.files().map_err(failed)?;
        let own = self.partial(blob);
        files.retain(|file| file.path != own);
        files.sort_by_key(|file| file.used);
        let mut held: u64 = files.iter().map(|file| file.bytes).sum();
        for file in files {
            if held.saturating_add(blob.bytes) <= self.bytes_max {
                break;
            }
            if self.delete_unused(&file.path).map_err(failed)? {
                held -= file.bytes;
            }
        }
        if held.saturating_add(blob.bytes) > self.bytes_max {
            let (folder, bytes_max) = (self.folder.clone(), self.bytes_max);
            return Err(BlobError::InUse { folder, bytes: blob.bytes, bytes_max });
        }
        // Its length counts from here on.
        let partial = File::options().create(true).truncate(false).write(true).open(&own);
        partial.and_then(|file| file.set_len(blob.bytes)).map_err(failed)
    }

    /// False where somebody uses it, or downloads it.
    fn delete_unused(&self, path: &Path) -> io::Result<bool> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let lock = match name.strip_suffix(".partial") {
            Some(digest) => self.folder.join(LOCKS).join(digest),
            None => path.to_owned(),
        };
        let lock = match File::options().append(true).open(&lock) {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        match lock.as_ref().map(File::try_lock) {
            Some(Err(TryLockError::WouldBlock)) => return Ok(false),
            Some(Err(TryLockError::Error(error))) => return Err(error),
            Some(Ok(())) | None => {}
        }
        tracing::debug!(path = %path.display(), "deleted from the cache");
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(true),
        }
    }

    fn files(&self) -> io::Result<Vec<CacheFile>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(found) if found.is_file() => files.push(CacheFile {
                    path: entry.path(),
                    bytes: found.len(),
                    used: found.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                }),
                _ => {}
            }
        }
        Ok(files)
    }
}

struct CacheFile {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// Number of the file that has this name now.
fn named_file(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn verify(
    store: &impl BlobStore,
    expected: &str,
    bytes: u64,
    part: &Bytes,
) -> Result<(), BlobError> {
    let found = digest(part);
    if found == expected && part.len() as u64 == bytes {
        return Ok(());
    }
    Err(BlobError::Damaged {
        place: store.place(),
        expected: expected.to_owned(),
        found,
        found_bytes: part.len() as u64,
    })
}
