//! A consistent copy of the database in one file, while others go on writing.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Instant,
};

use serde::Serialize;
use tempfile::TempPath;

use super::space::{live_bytes, require_space};
use crate::store::{
    Store, StoreError,
    open::{folder_of, has_pending_log, log_of},
};

/// A copy that was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backup {
    pub path: PathBuf,
    pub size_bytes: u64,
    pub wall_s: f64,
}

impl Store {
    /// Copies what is committed now to `target`, which appears whole or not at all, with the
    /// permissions of the database. Writers are not held up.
    ///
    /// # Errors
    /// A `target` that exists, unless `replace`; one that is the database itself or is in use.
    pub async fn back_up(&self, target: &Path, replace: bool) -> Result<Backup, StoreError> {
        let started = Instant::now();
        let path = self.path();
        let failed = |reason: String| StoreError::BackupFailed {
            path: path.to_owned(),
            backup: target.to_owned(),
            reason,
        };
        check_target(path, target, replace)?;
        // SQLite would take a relative name that starts with `file:` for a URI.
        let whole = std::path::absolute(target).map_err(|error| failed(error.to_string()))?;
        let folder = folder_of(&whole);
        let copy_bytes = live_bytes(path, &self.inner.readers).await?;
        require_space(path, folder, copy_bytes, "free some, or name a file elsewhere")?;

        let part = temporary_beside(&whole)
            .map_err(|error| failed(format!("{} cannot be written: {error}", folder.display())))?;
        let name = part.to_str().ok_or_else(|| failed("its name is not UTF-8".into()))?;
        // SQLite accepts an empty file as a target.
        sqlx::query("VACUUM INTO ?1")
            .bind(name.to_owned())
            .execute(&self.inner.readers)
            .await
            .map_err(|error| match StoreError::from_sqlite(path, error) {
                error @ (StoreError::Corrupt { .. } | StoreError::Busy { .. }) => error,
                StoreError::DiskFull { .. } => failed("the disk is full".into()),
                error => failed(error.to_string()),
            })?;
        let size_bytes = keep(path, &part, folder).map_err(|error| failed(error.to_string()))?;
        let moved = if replace { part.persist(&whole) } else { part.persist_noclobber(&whole) };
        moved.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => StoreError::BackupExists { backup: target.into() },
            _ => failed(error.to_string()),
        })?;
        sync_folder(folder).map_err(|error| failed(error.to_string()))?;
        let wall_s = started.elapsed().as_secs_f64();
        Ok(Backup { path: target.to_owned(), size_bytes, wall_s })
    }
}

fn check_target(path: &Path, target: &Path, replace: bool) -> Result<(), StoreError> {
    let backup = || target.to_owned();
    let folder = folder_of(target);
    if !folder.is_dir() {
        let (path, folder) = (backup(), folder.to_owned());
        return Err(if folder.exists() {
            StoreError::FolderIsFile { path, folder }
        } else {
            StoreError::NoFolder { path, folder }
        });
    }
    if let Ok(found) = fs::metadata(target) {
        if found.is_dir() {
            return Err(StoreError::IsFolder { path: backup() });
        }
        let own = fs::metadata(path).map_err(|error| StoreError::from_io(path, path, &error))?;
        if (found.dev(), found.ino()) == (own.dev(), own.ino()) {
            return Err(StoreError::BackupOfItself { path: path.to_owned() });
        }
        if !replace {
            return Err(StoreError::BackupExists { backup: backup() });
        }
    }
    // SQLite would add the log of another database to the copy.
    if has_pending_log(target) {
        return Err(StoreError::BackupInUse { backup: backup(), log: log_of(target) });
    }
    Ok(())
}

/// An empty file that is removed unless it gets its final name.
fn temporary_beside(target: &Path) -> io::Result<TempPath> {
    let mut prefix = target.file_name().unwrap_or_default().to_owned();
    prefix.push(".part-");
    Ok(tempfile::Builder::new().prefix(&prefix).tempfile_in(folder_of(target))?.into_temp_path())
}

/// Makes the copy outlive a power cut, and as private as the database.
fn keep(path: &Path, part: &Path, folder: &Path) -> io::Result<u64> {
    let copy = File::open(part)?;
    copy.set_permissions(fs::metadata(path)?.permissions())?;
    copy.sync_all()?;
    sync_folder(folder)?;
    Ok(copy.metadata()?.len())
}

/// A name is on disk once its folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
