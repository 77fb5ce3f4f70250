//! What can go wrong while reporting.

use std::path::PathBuf;

/// Why a plot, table or page could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("{}: cannot be written: {reason}", path.display())]
    Write { path: PathBuf, reason: std::io::Error },
    #[error(
        "{}: the ending says neither .svg nor .png; a plot is written as one of them",
        path.display()
    )]
    UnknownFormat { path: PathBuf },
    #[error("nothing to draw: {0}")]
    Empty(String),
    #[error("runs {first} and {other} cannot share a plot: {reason}")]
    Incomparable { first: i64, other: i64, reason: String },
    #[error("the plot could not be drawn: {0}")]
    Draw(String),
    #[error("the page could not be filled in: {0}")]
    Page(#[from] askama::Error),
}
