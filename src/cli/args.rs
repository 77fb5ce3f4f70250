//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    cli::{quantize::MethodList, workload::WorkloadArgs},
    domain::{BudgetRequest, LayerBits, Measure, Operand, Strategy},
    quantization::{Augmentation, BatchNormTraining, Method, RangeLearning},
    search::{BitList, Pins, parse_layer_bits},
    store::RunSort,
};

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
    Search(SearchArgs),
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
    /// Look into a network
    #[command(subcommand)]
    Model(ModelCommand),
    /// Hardware profiles: list, show, check, calibrate
    #[command(subcommand)]
    Hw(HwCommand),
    /// Completion script for a shell
    Completions(CompletionsArgs),
}

/// Which network and images.
#[derive(Debug, Clone, Args)]
pub struct InputArgs {
    /// ONNX file; the embedded digits network where absent
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Images: CIFAR-10 or IDX folder, image folder, CSV(.gz), .npz or .safetensors; the
    /// embedded digits where absent
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
    /// Calibration images
    #[arg(long, value_name = "N")]
    pub calibration: Option<usize>,
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

#[derive(Debug, Clone, Args)]
pub struct SearchArgs {
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Hardware profile: a file, or the name of one in ./hw-profiles or built in
    #[arg(long, value_name = "PROFILE")]
    pub hw: String,
    /// Limit on latency, energy, size or memory: a ratio to 8/8 (latency=0.6) or a value with
    /// its unit (latency=5ms, energy=2mJ, size=1.1MB, memory=512KB); repeatable
    #[arg(long, value_name = "COST=LIMIT")]
    pub budget: Vec<BudgetRequest>,
    /// Policies to try
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub episodes: u32,
    /// Who proposes policies: ddpg, random, uniform, greedy, ilp or evolution
    #[arg(long, default_value_t = Strategy::Ddpg, value_name = "NAME")]
    pub strategy: Strategy,
    /// Quality to keep: top1, top5, or without labels agreement, kl, mse
    #[arg(long, default_value_t = Measure::Top1, value_name = "NAME")]
    pub measure: Measure,
    /// Equal seeds give equal episodes
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Weight widths to choose from: 2-8 or 2,4,8; what the profile can use where absent
    #[arg(long, value_name = "BITS")]
    pub weight_bits: Option<BitList>,
    /// Activation widths to choose from
    #[arg(long, value_name = "BITS")]
    pub activation_bits: Option<BitList>,
    /// Layers with fixed bits: first=8,last=8 or NAME=W/A or none
    #[arg(long, default_value_t = Pins::first_and_last(), value_name = "PINS")]
    pub pin: Pins,
    #[arg(
        long,
        default_value_t = Method::default(),
        value_name = "NAME",
        help = method_names("Recipe that quantizes"),
        long_help = method_lines("Recipe that quantizes")
    )]
    pub method: Method,
    /// Train each policy for so many epochs on the calibration images before it is judged, as
    /// HAQ does; dear
    #[arg(long, value_name = "EPOCHS", num_args = 0..=1, default_value_t = 0, default_missing_value = "1")]
    pub episode_finetune: u32,
    /// Images each policy is judged on
    #[arg(long, value_name = "N")]
    pub search_images: Option<usize>,
    /// Test images for the final figures
    #[arg(long, value_name = "N")]
    pub images: Option<usize>,
    /// Images the simulated device takes at once; the profile's own where absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65536))]
    pub batch: Option<u64>,
    /// Folder for plots and the policy
    #[arg(long, default_value = "haq-out", value_name = "FOLDER")]
    pub out: PathBuf,
    /// Print plan, layers, size of the search space and cheapest and dearest policy, and stop
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Clone, Args)]
pub struct ResumeArgs {
    /// Number of the run; the newest interrupted one where absent
    pub run: Option<i64>,
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Folder for plots and the policy
    #[arg(long, default_value = "haq-out", value_name = "FOLDER")]
    pub out: PathBuf,
}

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
}

#[derive(Debug, Clone, Args)]
pub struct RunsCompareArgs {
    /// Numbers of the runs
    #[arg(required = true, num_args = 2..)]
    pub runs: Vec<i64>,
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

#[derive(Debug, Clone, Args)]
#[group(id = "bits_source", required = true, multiple = false)]
pub struct BitsArgs {
    /// Bits of every layer, weights then activations: 8,8
    #[arg(long, value_name = "W,A", value_parser = parse_layer_bits, group = "bits_source")]
    pub bits: Option<LayerBits>,
    /// Bits of each layer from a policy file, as a search writes it
    #[arg(long, value_name = "FILE", group = "bits_source")]
    pub policy: Option<PathBuf>,
    /// Network as haq finetune left it, with its bits, weights and scales: tuned.safetensors
    #[arg(long, value_name = "FILE", group = "bits_source", conflicts_with = "method")]
    pub tuned: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Hardware profile: a file, or the name of one in ./hw-profiles or built in; repeatable
    #[arg(long, required = true, value_name = "PROFILE")]
    pub hw: Vec<String>,
    /// Bits of every layer, weights then activations: 8,8; repeatable
    #[arg(long, value_name = "W,A", value_parser = parse_layer_bits)]
    pub bits: Vec<LayerBits>,
    /// Bits of each layer from a policy file, as a search writes it; repeatable
    #[arg(long, value_name = "FILE")]
    pub policy: Vec<PathBuf>,
    /// Exceptions to --bits: first=8,last=8 or NAME=W/A
    #[arg(long, value_name = "PINS", requires = "bits")]
    pub pin: Option<Pins>,
    /// Images at once; the profile's own where absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65536))]
    pub batch: Option<u64>,
    /// Show what each layer reads and writes at each memory level
    #[arg(long)]
    pub explain: bool,
    /// Every profile with every policy side by side, against the first; implied by more than
    /// one --hw, --bits or --policy
    #[arg(long)]
    pub compare: bool,
    /// Draw the layers under the device's roofs, as SVG or PNG
    #[arg(long, value_name = "FILE")]
    pub roofline: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SplitName {
    Test,
    Search,
}

#[derive(Debug, Clone, Args)]
pub struct EvaluateArgs {
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
    #[command(flatten)]
    pub bits: BitsArgs,
    /// Exceptions: first=8,last=8 or NAME=W/A
    #[arg(long, value_name = "PINS", requires = "bits")]
    pub pin: Option<Pins>,
    #[arg(
        long,
        default_value_t = Method::default(),
        value_name = "NAME",
        help = method_names("Recipe that quantizes"),
        long_help = method_lines("Recipe that quantizes")
    )]
    pub method: Method,
    /// Also run it on integers alone, beside the float network that rounds at the same places;
    /// packed counts bits below 8 bits
    #[arg(long, value_enum, value_name = "KERNELS", num_args = 0..=1, default_missing_value = "int8")]
    pub integer: Option<KernelName>,
    /// Images to judge on
    #[arg(long, value_enum, default_value = "test")]
    pub split: SplitName,
    /// At most so many of them
    #[arg(long, value_name = "N")]
    pub images: Option<usize>,
    /// Which images land in which split
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
}

/// How `--integer` multiplies; changes no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KernelName {
    Int8,
    Packed,
}

#[derive(Debug, Clone, Args)]
pub struct QuantizeArgs {
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Bits of every layer, weights then activations: 8,8; repeatable
    #[arg(long, value_name = "W,A", value_parser = parse_layer_bits, default_values = ["8,8", "4,8", "4,4"])]
    pub bits: Vec<LayerBits>,
    /// Exceptions: first=8,last=8 or NAME=W/A
    #[arg(long, value_name = "PINS")]
    pub pin: Option<Pins>,
    #[arg(
        long,
        default_value = "all",
        value_name = "NAMES",
        help = method_names("Recipes to compare, all or with commas"),
        long_help = method_lines("Recipes to compare, all or with commas")
    )]
    pub methods: MethodList,
    /// Quality to compare by: top1, top5, or without labels agreement, kl, mse
    #[arg(long, default_value_t = Measure::Top1, value_name = "NAME")]
    pub measure: Measure,
    /// Images to judge on
    #[arg(long, value_enum, default_value = "test")]
    pub split: SplitName,
    /// At most so many of them
    #[arg(long, value_name = "N")]
    pub images: Option<usize>,
    /// Which images land in which split
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// So many seeds, counted from --seed: mean and standard deviation are shown
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeats: u32,
    /// Hardware profile that size and latency are modelled on as well
    #[arg(long, value_name = "PROFILE")]
    pub hw: Option<String>,
    /// Measure again what the database has already
    #[arg(long)]
    pub again: bool,
    /// Print as CSV
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// SVG or PNG file for the plot of quality against size; one in --out where absent
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Folder for the plot
    #[arg(long, default_value = "haq-out", value_name = "FOLDER")]
    pub out: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct SensitivityArgs {
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Widths to try: 2-8 or 2,3,4,8
    #[arg(long, default_value = "2,3,4,8", value_name = "BITS")]
    pub bits: BitList,
    /// Figure in the tables and the heat map: kl, mse, agreement, top1 or top5; all are kept
    #[arg(long, default_value_t = Measure::Kl, value_name = "NAME")]
    pub measure: Measure,
    /// Which of a layer's tensors: weights, activations
    #[arg(long, value_delimiter = ',', default_values = ["weights", "activations"], value_name = "TENSORS")]
    pub tensors: Vec<Operand>,
    #[arg(
        long,
        default_value_t = Method::default(),
        value_name = "NAME",
        help = method_names("Recipe that rounds"),
        long_help = method_lines("Recipe that rounds")
    )]
    pub method: Method,
    /// Images to judge on
    #[arg(long, value_enum, default_value = "search")]
    pub split: SplitName,
    /// At most so many of them
    #[arg(long, value_name = "N")]
    pub images: Option<usize>,
    /// Which images land in which split, and the probes of the Hessian
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Estimate the trace of the Hessian by each layer's weights as well
    #[arg(long)]
    pub hessian: bool,
    /// Random vectors for the Hessian
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub probes: u32,
    /// Calibration images for the Hessian at most
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = at_least_one)]
    pub hessian_images: usize,
    /// Measure again what the database has already
    #[arg(long)]
    pub again: bool,
    /// Print as CSV
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// SVG or PNG file for the heat map; one in --out where absent
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Folder for the plot
    #[arg(long, default_value = "haq-out", value_name = "FOLDER")]
    pub out: PathBuf,
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

/// Options that a resumed tuning has from its start.
const FIXED_AT_START: &[&str] = &[
    "model",
    "data",
    "mean",
    "std",
    "resize",
    "crop",
    "calibration",
    "pin",
    "epochs",
    "lr",
    "momentum",
    "weight_decay",
    "batch",
    "seed",
    "ranges",
    "delay_steps",
    "distill",
    "batch_norm",
    "augment",
    "measure",
    "search_images",
    "images",
];

#[derive(Debug, Clone, Args)]
#[group(id = "tuned", required = true, multiple = false, args = ["run", "bits", "policy", "resume"])]
pub struct FinetuneArgs {
    /// Run whose best policy is trained, on its network and images
    #[arg(conflicts_with_all = ["model", "data", "mean", "std", "resize", "crop", "calibration"])]
    pub run: Option<i64>,
    /// Bits of every layer, weights then activations: 4,4
    #[arg(long, value_name = "W,A", value_parser = parse_layer_bits)]
    pub bits: Option<LayerBits>,
    /// Bits of each layer from a policy file, as a search writes it
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Go on with a tuning that was interrupted; the newest where no number is given
    #[arg(long, value_name = "TUNING", num_args = 0..=1, conflicts_with_all = FIXED_AT_START)]
    pub resume: Option<Option<i64>>,
    /// Exceptions: first=8,last=8 or NAME=W/A
    #[arg(long, value_name = "PINS", requires = "bits")]
    pub pin: Option<Pins>,
    #[command(flatten)]
    pub input: InputArgs,
    /// Passes over the training images
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub epochs: u32,
    /// Learning rate of the first step; falls to 0 along a cosine
    #[arg(long, default_value_t = 0.01, value_name = "RATE")]
    pub lr: f64,
    /// Share of the last step that the next one keeps
    #[arg(long, default_value_t = 0.9, value_name = "SHARE")]
    pub momentum: f64,
    /// Pull of weights towards 0
    #[arg(long, default_value_t = 1e-4, value_name = "SHARE")]
    pub weight_decay: f64,
    /// Images in one step
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = at_least_one)]
    pub batch: usize,
    /// Equal seeds give equal networks
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Ranges of activations: lsq (learned steps), pact (learned clips) or ema (follow the batches)
    #[arg(long, default_value_t = RangeLearning::Lsq, value_name = "NAME")]
    pub ranges: RangeLearning,
    /// Steps at the start without rounded activations
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub delay_steps: u64,
    /// What nearness to the float network's answers counts beside the labels
    #[arg(long, default_value_t = 1.0, value_name = "WEIGHT")]
    pub distill: f64,
    /// Batch norm: folded (trained as weights and biases), fold (into each batch's weights before
    /// they are rounded) or keep (normalizes behind the rounded weights); keep where absent, and
    /// folded where the network's file has none
    #[arg(long, value_name = "NAME")]
    pub batch_norm: Option<BatchNormTraining>,
    /// How images are changed: none, crop (moved a little) or crop-flip (and mirrored)
    #[arg(long, default_value_t = Augmentation::None, value_name = "NAME")]
    pub augment: Augmentation,
    /// What the kept epoch is best in: top1, top5, or without labels agreement, kl, mse; the run's
    /// own, or top1, where absent
    #[arg(long, value_name = "NAME")]
    pub measure: Option<Measure>,
    /// Images each epoch is judged on; they are not trained on
    #[arg(long, value_name = "N")]
    pub search_images: Option<usize>,
    /// Test images for the final figures
    #[arg(long, value_name = "N")]
    pub images: Option<usize>,
    /// Worker threads; all cores where absent. They change no number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Folder for the tuned network
    #[arg(long, default_value = "haq-out", value_name = "FOLDER")]
    pub out: PathBuf,
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

#[derive(Debug, Subcommand)]
pub enum HwCommand {
    /// Profiles that can be named: those in ./hw-profiles and those built in
    List,
    /// A profile's text
    Show(HwProfileArgs),
    /// Read a profile and say what is wrong with it, or what it offers
    Check(HwProfileArgs),
    /// Fit a profile to latencies measured on the device
    Calibrate(HwCalibrateArgs),
}

#[derive(Debug, Clone, Args)]
pub struct HwProfileArgs {
    /// A file, or the name of one in ./hw-profiles or built in
    pub profile: String,
}

#[derive(Debug, Clone, Args)]
pub struct HwCalibrateArgs {
    /// Profile to start from: a file, or the name of one in ./hw-profiles or built in
    #[arg(long, value_name = "PROFILE")]
    pub profile: String,
    /// CSV of what was measured: layer,weight_bits,activation_bits,latency_s
    #[arg(long, value_name = "FILE")]
    pub measurements: PathBuf,
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Images at once when it was measured; the profile's own where absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65536))]
    pub batch: Option<u64>,
    /// File for the fitted profile; stdout where absent
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
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
