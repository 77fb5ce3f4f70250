//! What is wrong with a hardware profile, where, and what would do.

use thiserror::Error;

/// The first thing found wrong with a profile.
#[derive(Debug, Error)]
pub enum ProfileError {
    #[error("{origin}: cannot be read: {source}")]
    Read { origin: String, source: std::io::Error },
    #[error("{origin}:{line}: {message}")]
    Syntax { origin: String, line: usize, message: String },
    #[error("{origin}:{line}: {key} is {found}; it needs to be {needed}")]
    Value { origin: String, line: usize, key: String, found: String, needed: String },
    #[error("{origin}:{line}: {key} is missing; it needs to be {needed}")]
    Missing { origin: String, line: usize, key: String, needed: String },
    #[error("{origin}:{line}: unknown key {key}; known here: {known}")]
    UnknownKey { origin: String, line: usize, key: String, known: String },
}

impl ProfileError {
    /// The line the problem is on, counted from 1; `None` when the file could not be read.
    pub fn line(&self) -> Option<usize> {
        match self {
            ProfileError::Read { .. } => None,
            ProfileError::Syntax { line, .. }
            | ProfileError::Value { line, .. }
            | ProfileError::Missing { line, .. }
            | ProfileError::UnknownKey { line, .. } => Some(*line),
        }
    }
}
