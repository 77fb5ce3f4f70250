//! Where a plot goes: to the file that was named, or into the folder of plots.

use std::path::{Path, PathBuf};

use crate::cli::exit::UsageError;

/// Refuses a file that could not be written in the end, before the work begins.
///
/// # Errors
/// When the ending is neither `.svg` nor `.png`.
pub fn check(file: Option<&Path>) -> Result<(), UsageError> {
    let Some(file) = file else { return Ok(()) };
    let ending = file.extension().map(|ending| ending.to_ascii_lowercase());
    if ending.is_some_and(|ending| ending == "svg" || ending == "png") {
        return Ok(());
    }
    let shown = file.display();
    Err(UsageError(format!(
        "--plot {shown} ends neither in .svg nor in .png; it needs one of them"
    )))
}

/// The named file, or `name` in `folder`, which is made where it is not there.
pub fn path(file: Option<&Path>, folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    if let Some(file) = file {
        return Ok(file.to_owned());
    }
    std::fs::create_dir_all(folder)
        .map_err(|error| anyhow::anyhow!("{}: {error}", folder.display()))?;
    Ok(folder.join(name))
}
