//! What can be typed about the database itself.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Copy the database into one file, while searches or a server go on writing
    Backup(DbBackupArgs),
    /// Read all of it and say whether it is sound; changes nothing
    Check,
    /// Give the space of deleted runs back to the disk; who writes meanwhile waits
    Vacuum,
}

#[derive(Debug, Clone, Args)]
pub struct DbBackupArgs {
    /// The copy: a database like any other, that --db takes
    #[arg(value_name = "FILE")]
    pub target: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
}
