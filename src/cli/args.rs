//! What can be typed: the subcommands, and what several of them share. One file a family.

mod db;
mod device;
mod export;
mod finetune;
mod job;
mod quantization;
mod queue;
mod runs;
mod search;
mod serve;
mod token;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::{
    db::{DbBackupArgs, DbCommand},
    device::{HwCalibrateArgs, HwCommand, SimulateArgs},
    export::{ExportArgs, ExportFormat, ImportArgs, VerifyArgs},
    finetune::FinetuneArgs,
    job::JobArgs,
    quantization::{BitsArgs, EvaluateArgs, QuantizeArgs, SensitivityArgs},
    queue::{
        CleanArgs, FleetAction, FleetArgs, FleetStateArgs, LetterAction, QueueArgs, WorkerArgs,
    },
    runs::{ParetoArgs, ReportArgs, RunsCommand, RunsCompareArgs, RunsListArgs, RunsShowArgs},
    search::{RemoteArgs, ResumeArgs, SearchArgs},
    serve::ServeArgs,
    token::{TokenCommand, TokenCreateArgs, TokenScope},
};
use crate::{quantization::Method, runner::ModelSource};

/// Finds how many bits each layer's weights and activations should have, for a trained network
/// and a piece of hardware.
#[derive(Debug, Parser)]
#[command(name = "haq", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  haq search --hw edge-tpu.toml                 embedded network and images
  haq search --model net.onnx --data images/ --hw bismo-edge.toml --budget latency=0.6
  haq runs list --hw bismo-edge --sort quality  past runs
  haq pareto 12 15 --out fronts.svg             their fronts in one plot
  haq simulate --model net.onnx --hw t4 --hw a100 --bits 8,8 --bits 4,4   side by side
  haq quantize --model net.onnx --data images/ --bits 8,8 --bits 4,4   methods side by side
  haq finetune 12 --epochs 10                   train run 12's best policy
  haq export 12 --format onnx --verify          run 12's answer as a file for ONNX Runtime
  haq serve                                     API, live pages and a queue at 127.0.0.1:8080
  haq search --hw edge-tpu --server http://127.0.0.1:8080   let a service do it
  haq search --hw edge-tpu --queue nats://queue.lab --round 8   let eight workers judge
  haq worker --queue nats://queue.lab           be one of them
  haq hw calibrate --profile t4 --measurements mine.csv --model net.onnx --out mine.toml

Exit codes: 0 done, 1 failed, 2 usage, 3 budget not reachable, 4 partial,
130 interrupted (resumable).";

#[derive(Debug, Args)]
pub struct Global {
    /// Database of runs
    #[arg(long, global = true, env = "HAQ_DB", default_value = "haq.db", value_name = "FILE")]
    pub db: PathBuf,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress, no notes: results and errors only
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// How much is logged to stderr: error, warn, info, debug or trace
    #[arg(long, global = true, env = "HAQ_LOG", default_value = "warn", value_name = "LEVEL")]
    pub log: String,
    /// Form of the log
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Search bitwidths for a network on a device
    Search(Box<SearchArgs>),
    /// Go on with a run that was interrupted
    Resume(ResumeArgs),
    /// List, show, compare and delete past runs
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Draw the Pareto fronts of runs
    Pareto(ParetoArgs),
    /// Write one page with everything about a run
    Report(ReportArgs),
    /// Cost of a network at given bits on a device, or on several side by side
    Simulate(SimulateArgs),
    /// Quality of a network at given bits
    Evaluate(EvaluateArgs),
    /// Methods of quantization side by side: quality, size and time of each at given bits
    Quantize(QuantizeArgs),
    /// What each layer alone loses when its weights, or what it reads, have few bits
    Sensitivity(SensitivityArgs),
    /// Train a network with its roundings in place: quantization-aware training
    Finetune(FinetuneArgs),
    /// Write a quantized network for other programs: ONNX, QONNX, AIMET encodings, policy
    Export(ExportArgs),
    /// Read the bits that a quantized ONNX file, AIMET encodings or a policy file give a network
    Import(ImportArgs),
    /// Run an ONNX file in ONNX Runtime and here, on the same images
    Verify(VerifyArgs),
    /// Look into a network
    #[command(subcommand)]
    Model(ModelCommand),
    /// Hardware profiles: list, show, check, calibrate
    #[command(subcommand)]
    Hw(HwCommand),
    /// The database of runs: copy it, check it, give back its free space
    #[command(subcommand)]
    Db(DbCommand),
    /// Serve searches over HTTP: an API, live pages, a queue
    Serve(ServeArgs),
    /// Judge policies for searches on other machines, or on this one
    Worker(WorkerArgs),
    /// Workers and tasks of a queue; hand out again or forget what was set aside
    Fleet(FleetStateArgs),
    /// Who may use the service from other machines
    #[command(subcommand)]
    Token(TokenCommand),
    /// Work on one search of `haq serve`, which starts it
    #[command(hide = true)]
    Job(JobArgs),
    /// Completion script for a shell
    Completions(CompletionsArgs),
}

/// Which network and images.
#[derive(Debug, Clone, Args)]
pub struct InputArgs {
    /// ONNX file; the embedded digits network where absent
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Other weights for it: .safetensors with its tensors' names
    #[arg(long, value_name = "FILE", requires = "model")]
    pub weights: Option<PathBuf>,
    #[command(flatten)]
    pub feed: FeedArgs,
    /// Calibration images
    #[arg(long, value_name = "N")]
    pub calibration: Option<usize>,
}

/// What a network is fed with, and how images become its input.
#[derive(Debug, Clone, Args)]
pub struct FeedArgs {
    /// Images: CIFAR-10 or IDX folder, image folder, CSV(.gz), .npz or .safetensors; or an array
    /// for each of the network's inputs, by their names; the embedded digits where absent
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Mean of each channel after scaling to 0..1, where no card says
    #[arg(long, value_delimiter = ',', value_name = "M,..", allow_negative_numbers = true)]
    pub mean: Option<Vec<f32>>,
    /// Standard deviation of each channel after scaling to 0..1
    #[arg(long, value_delimiter = ',', value_name = "S,..")]
    pub std: Option<Vec<f32>>,
    /// Resize the shorter side to so many pixels
    #[arg(long, value_name = "PIXELS")]
    pub resize: Option<u32>,
    /// Then cut a square of so many pixels from the centre
    #[arg(long, value_name = "PIXELS")]
    pub crop: Option<u32>,
}

impl InputArgs {
    /// What the network is read from.
    pub fn model_source(&self) -> ModelSource<'_> {
        let (model, weights) = (self.model.as_deref(), self.weights.as_deref());
        let data = self.feed.data.as_deref();
        ModelSource { model, weights, data, input_shape: None }
    }
}

/// How a network is rounded.
#[derive(Debug, Clone, Copy, Args)]
pub struct RecipeArgs {
    #[arg(
        long,
        default_value_t = Method::default(),
        value_name = "NAME",
        help = method_names("Recipe that quantizes"),
        long_help = method_lines("Recipe that quantizes")
    )]
    pub method: Method,
}

/// How evaluations run on this machine; changes no result.
#[derive(Debug, Clone, Args)]
pub struct MachineArgs {
    /// Worker threads; all cores where absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    pub device: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SplitName {
    Test,
    Search,
}

/// An option's purpose with the names of all methods.
fn method_names(purpose: &str) -> String {
    let names: Vec<&str> = Method::named().map(|(name, ..)| name).collect();
    format!("{purpose}: {}", names.join(", "))
}

/// The same with one line on each.
fn method_lines(purpose: &str) -> String {
    let width = Method::named().map(|(name, ..)| name.len()).max().unwrap_or(0);
    let lines = Method::named().map(|(name, _, line)| format!("{name:width$}  {line}"));
    format!("{purpose}:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&number| number > 0);
    number.ok_or_else(|| format!("{text:?} is not a number above 0"))
}

#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Layers, shapes, weights and multiply-accumulates
    Inspect(ModelInspectArgs),
}

#[derive(Debug, Clone, Args)]
pub struct ModelInspectArgs {
    /// ONNX file; the embedded digits network where absent
    pub model: Option<PathBuf>,
    /// Shape of one input batch, where the file leaves it open: N,C,H,W
    #[arg(long, value_name = "N,C,H,W", value_delimiter = ',')]
    pub input_shape: Option<Vec<usize>>,
}

#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
