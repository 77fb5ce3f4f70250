//! What `haq serve` types to start its workers.

use std::path::PathBuf;

use clap::Args;

use super::{FleetArgs, MachineArgs};

#[derive(Debug, Clone, Args)]
pub struct JobArgs {
    /// Number of the job; where absent only a request is checked
    #[arg(required_unless_present = "check")]
    pub job: Option<i64>,
    /// Fencing number of the lease
    #[arg(long, value_name = "N", required_unless_present = "check")]
    pub fence: Option<i64>,
    /// Plan the request in this file and say what is wrong with it; run nothing
    #[arg(long, value_name = "FILE")]
    pub check: Option<PathBuf>,
    #[command(flatten)]
    pub machine: MachineArgs,
    #[command(flatten)]
    pub fleet: FleetArgs,
}
