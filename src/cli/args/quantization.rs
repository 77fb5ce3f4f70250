//! What can be typed after `haq evaluate`, `haq quantize` and `haq sensitivity`.

use std::path::PathBuf;

use clap::Args;

use super::{
    InputArgs, MachineArgs, RecipeArgs, SplitName, at_least_one, method_lines, method_names,
};
use crate::{
    cli::quantize::MethodList,
    domain::{LayerBits, Measure, Operand},
    quantization::KernelChoice,
    search::{BitList, Pins, parse_layer_bits},
};

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
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// Also run it on integers alone, beside the float network that rounds at the same places:
    /// int8 or packed, which counts bits of layers below 8
    #[arg(long, value_name = "KERNELS", num_args = 0..=1, default_missing_value = "int8")]
    pub integer: Option<KernelChoice>,
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

#[derive(Debug, Clone, Args)]
#[group(id = "bits_source", multiple = false)]
pub struct BitsArgs {
    /// Bits of every layer, weights then activations: 8,8. A model that is quantized already is
    /// judged as its file has it where neither this nor another source of bits is given
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
    #[command(flatten)]
    pub recipe: RecipeArgs,
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
