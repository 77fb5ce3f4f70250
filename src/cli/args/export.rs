//! What can be typed after `haq export`, `haq import` and `haq verify`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{FeedArgs, InputArgs, MachineArgs, RecipeArgs};
use crate::{
    domain::LayerBits,
    export::Target,
    search::{Pins, parse_layer_bits},
};

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// ONNX with packed codes: QuantizeLinear, Clip, DequantizeLinear
    Onnx,
    /// ONNX with floats behind QONNX's Quant
    Qonnx,
    /// A float ONNX network, and encodings of version 1.0.0 beside it
    Aimet,
    /// The same with encodings of version 2.0.0
    #[value(name = "aimet-2")]
    AimetTwo,
    /// The policy as JSON, with every tensor's levels
    Policy,
}

#[derive(Debug, Clone, Args)]
#[group(id = "exported", required = true, multiple = false, args = ["run", "bits", "policy", "tuned"])]
pub struct ExportArgs {
    /// Run whose best policy is exported, on its network and images
    #[arg(conflicts_with_all = ["model", "data", "mean", "std", "resize", "crop", "calibration", "method", "seed"])]
    pub run: Option<i64>,
    /// Another of the run's policies: the one of this episode
    #[arg(long, value_name = "N", requires = "run")]
    pub episode: Option<u32>,
    /// Bits of every layer, weights then activations: 8,8
    #[arg(long, value_name = "W,A", value_parser = parse_layer_bits)]
    pub bits: Option<LayerBits>,
    /// Bits of each layer from a policy file, as a search writes it
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Network as haq finetune left it, with its bits, weights and scales: tuned.safetensors
    #[arg(long, value_name = "FILE", conflicts_with = "method")]
    pub tuned: Option<PathBuf>,
    /// Exceptions: first=8,last=8 or NAME=W/A
    #[arg(long, value_name = "PINS", requires = "bits")]
    pub pin: Option<Pins>,
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// Which images land in which split
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// What is written
    #[arg(long, value_enum, default_value = "onnx", value_name = "NAME")]
    pub format: ExportFormat,
    /// What it is for: tensorrt, onnxruntime or finn. What that cannot run is widened or refused,
    /// layer by layer
    #[arg(long, value_name = "NAME")]
    pub target: Option<Target>,
    /// Give 2-bit weights a type of their own, which needs a runtime of opset 25
    #[arg(long)]
    pub two_bit_types: bool,
    /// File to write; NAME_FORMAT.onnx in the folder of the run's files where absent
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Then run the file in ONNX Runtime on the test images, and compare
    #[arg(long)]
    pub verify: bool,
    #[command(flatten)]
    pub runtime: RuntimeArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// Where ONNX Runtime is, and on how many images it is tried.
#[derive(Debug, Clone, Args)]
pub struct RuntimeArgs {
    /// Python that has ONNX Runtime
    #[arg(long, env = "HAQ_PYTHON", default_value = "python3", value_name = "PROGRAM")]
    pub python: PathBuf,
    /// Test images to compare on, at most
    #[arg(long, value_name = "N")]
    pub images: Option<usize>,
}

#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// ONNX file, quantized or not
    pub file: PathBuf,
    #[command(flatten)]
    pub feed: FeedArgs,
    #[command(flatten)]
    pub runtime: RuntimeArgs,
    /// Which images land in which split
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    #[command(flatten)]
    pub machine: MachineArgs,
}

#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// Quantized ONNX or QONNX, AIMET encodings (.json, .encodings) or a policy file
    pub file: PathBuf,
    /// The float network that encodings or a policy are for; it checks the layers' names
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Policy file to write
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
