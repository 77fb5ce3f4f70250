//! What can be typed after `haq token`.

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, and print it once: only its SHA-256 is kept
    Create(TokenCreateArgs),
    /// Tokens there are, by name
    List,
    /// Refuse a token from now on
    Revoke(TokenRevokeArgs),
}

#[derive(Debug, Clone, Args)]
pub struct TokenCreateArgs {
    /// What searches handed in with it are said to be from
    pub name: String,
    /// What it allows
    #[arg(long, value_enum, default_value = "read", value_name = "SCOPE")]
    pub scope: TokenScope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TokenScope {
    /// Look at everything
    Read,
    /// Also hand in, stop and delete searches and upload files
    Write,
}

#[derive(Debug, Clone, Args)]
pub struct TokenRevokeArgs {
    pub name: String,
}
