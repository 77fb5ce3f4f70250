//! What a copy of the database needs on a disk, and what is free there.

use std::{ffi::CString, mem::MaybeUninit, os::unix::ffi::OsStrExt, path::Path};

use sqlx::SqlitePool;

use crate::store::{StoreError, error::At};

/// Size of the pages in use: about that of a copy.
pub(super) async fn live_bytes(path: &Path, pool: &SqlitePool) -> Result<u64, StoreError> {
    let size: i64 = sqlx::query_scalar(
        "SELECT (page_count - freelist_count) * page_size
         FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
    )
    .fetch_one(pool)
    .await
    .at(path)?;
    Ok(size.unsigned_abs())
}

/// Refuses what would fill the disk, under which everybody on it would suffer.
pub(super) fn require_space(
    path: &Path,
    folder: &Path,
    needed_bytes: u64,
    advice: &'static str,
) -> Result<(), StoreError> {
    match free_bytes(folder) {
        Some(free_bytes) if free_bytes < needed_bytes => {
            let (path, folder) = (path.to_owned(), folder.to_owned());
            Err(StoreError::NoSpace { path, folder, needed_bytes, free_bytes, advice })
        }
        _ => Ok(()),
    }
}

/// What an ordinary user may still write there; `None` where the file system does not tell.
fn free_bytes(folder: &Path) -> Option<u64> {
    let name = CString::new(folder.as_os_str().as_bytes()).ok()?;
    let mut found = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `name` ends in a zero byte, and `found` has room for the answer.
    let answer = unsafe { libc::statvfs(name.as_ptr(), found.as_mut_ptr()) };
    // SAFETY: the call fills `found` when it answers 0.
    let found = (answer == 0).then(|| unsafe { found.assume_init() })?;
    // Their widths differ from system to system.
    #[allow(clippy::unnecessary_cast)]
    let (all, free, block_bytes) =
        (found.f_blocks as u64, found.f_bavail as u64, found.f_frsize as u64);
    // A file system without a size has no blocks at all.
    (all > 0).then(|| free.saturating_mul(block_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_space_is_refused_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("haq.db");
        require_space(&path, folder.path(), 1, "free some").unwrap();
        let error = require_space(&path, folder.path(), u64::MAX, "free some").unwrap_err();
        let message = error.to_string();
        for part in ["haq.db was left as it is", "are needed in", "free; free some"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(message.contains(folder.path().to_str().unwrap()), "{message}");
    }

    #[test]
    fn a_folder_that_does_not_tell_is_let_through() {
        require_space(Path::new("haq.db"), Path::new("nowhere/at/all"), u64::MAX, "").unwrap();
    }
}
