//! Where a profile's name leads: to a file, to one in `./hw-profiles`, to one built in.

use std::path::{Path, PathBuf};

use haq_simulator::{HardwareProfile, ProfileError};

use crate::runner::RunnerError;

/// Where a profile's text came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProfileSource {
    File(PathBuf),
    BuiltIn,
}

/// A profile's text, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundProfile {
    pub source: ProfileSource,
    /// As messages name it.
    pub origin: String,
    pub text: String,
}

impl FoundProfile {
    /// # Errors
    /// Names file, line and key of what is wrong.
    pub fn parse(&self) -> Result<HardwareProfile, ProfileError> {
        HardwareProfile::parse(&self.text, &self.origin)
    }
}

const FOLDER: &str = "hw-profiles";

/// Looks for `name` as a path, then in `./hw-profiles`, then among the built-in ones; the
/// ending `.toml` may be left out.
///
/// # Errors
/// When there is none, with the names there are; when the file cannot be read.
pub fn find_profile(name: &str) -> Result<FoundProfile, RunnerError> {
    let stem = name.strip_suffix(".toml").unwrap_or(name);
    let in_folder = Path::new(FOLDER).join(format!("{stem}.toml"));
    for path in [PathBuf::from(name), in_folder] {
        if path.is_file() {
            let origin = path.display().to_string();
            let text = std::fs::read_to_string(&path)
                .map_err(|source| RunnerError::Read { path: origin.clone(), source })?;
            return Ok(FoundProfile { source: ProfileSource::File(path), origin, text });
        }
    }
    match haq_simulator::profile::builtin(stem) {
        Some(text) => Ok(FoundProfile {
            source: ProfileSource::BuiltIn,
            origin: format!("{stem}.toml (built in)"),
            text: text.to_owned(),
        }),
        None => {
            Err(RunnerError::NoProfile { name: name.to_owned(), known: known_names().join(", ") })
        }
    }
}

fn known_names() -> Vec<String> {
    profile_names().into_iter().map(|(name, _)| name).collect()
}

/// Every profile that can be named, each with where it is; a file hides a built-in one.
pub fn profile_names() -> Vec<(String, ProfileSource)> {
    let mut names: Vec<(String, ProfileSource)> = Vec::new();
    let files = std::fs::read_dir(FOLDER).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in files.filter(|path| path.extension().is_some_and(|ending| ending == "toml")) {
        if let Some(stem) = path.file_stem() {
            names.push((stem.to_string_lossy().into_owned(), ProfileSource::File(path)));
        }
    }
    for name in haq_simulator::profile::builtin_names() {
        if names.iter().all(|(known, _)| known != name) {
            names.push((name.to_owned(), ProfileSource::BuiltIn));
        }
    }
    names.sort_by(|a, b| a.0.cmp(&b.0));
    names
}
