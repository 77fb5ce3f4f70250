//! What can be typed about past runs.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{domain::Strategy, store::RunSort};

#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// Runs, newest first
    List(RunsListArgs),
    /// One run: what was asked, what was found
    Show(RunsShowArgs),
    /// Runs side by side, and how their policies differ
    Compare(RunsCompareArgs),
    /// Remove runs and all their episodes
    Delete(RunsDeleteArgs),
}

#[derive(Debug, Clone, Args)]
pub struct RunsListArgs {
    /// Only runs on this profile
    #[arg(long, value_name = "PROFILE")]
    pub hw: Option<String>,
    /// Only runs of this model (file name)
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Only runs with this strategy
    #[arg(long, value_name = "NAME")]
    pub strategy: Option<Strategy>,
    /// Only runs in this state: running, completed, interrupted or failed
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// Sort by id, created, accuracy, latency, energy, size or memory; newest or best first
    #[arg(long, default_value_t = RunSort::Id, value_name = "KEY")]
    pub sort: RunSort,
    /// Turn the order around
    #[arg(long)]
    pub reverse: bool,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Print as CSV
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

#[derive(Debug, Clone, Args)]
pub struct RunsShowArgs {
    /// Number of the run
    pub run: i64,
    /// Print every episode as CSV
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Print the chosen policy as a file that --policy takes
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    pub policy: bool,
}

#[derive(Debug, Clone, Args)]
pub struct RunsCompareArgs {
    /// Numbers of the runs
    #[arg(required = true, num_args = 2..)]
    pub runs: Vec<i64>,
    /// SVG or PNG file: quality and hypervolume by evaluations and seconds, seeds as bands
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Print as CSV
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

#[derive(Debug, Clone, Args)]
pub struct RunsDeleteArgs {
    /// Numbers of the runs
    #[arg(required = true)]
    pub runs: Vec<i64>,
}

#[derive(Debug, Clone, Args)]
pub struct ParetoArgs {
    /// Numbers of the runs, drawn over each other
    #[arg(required = true)]
    pub runs: Vec<i64>,
    /// Cost on the horizontal axis: latency, energy, size or memory; the first run's own where absent
    #[arg(long, value_name = "COST")]
    pub cost: Option<String>,
    /// SVG or PNG file
    #[arg(long, default_value = "pareto.svg", value_name = "FILE")]
    pub out: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// Number of the run
    pub run: i64,
    /// HTML file; run-N.html where absent
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
