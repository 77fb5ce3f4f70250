//! What can be wrong with a configuration.

use std::{io, path::PathBuf};

use super::{Origin, keys};

/// Names the key and where it was set.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("{path} cannot be read: {source}")]
    Unreadable { path: PathBuf, source: io::Error },

    #[error("{path}:{line}: not TOML: {reason}")]
    NotToml { path: PathBuf, line: usize, reason: String },

    #[error("{key} ({origin}) is not a setting; {}", hint(key))]
    Unknown { key: String, origin: Origin },

    #[error("{key} is {found} ({origin}); it needs to be {needs}")]
    Value { key: &'static str, origin: Origin, found: String, needs: String },
}

fn hint(key: &str) -> String {
    match keys::nearest(key) {
        Some(nearest) => format!("{nearest} may be meant"),
        None => {
            let known: Vec<&str> = keys::KEYS.iter().map(|(key, _)| *key).collect();
            format!("settings are {}", known.join(", "))
        }
    }
}
