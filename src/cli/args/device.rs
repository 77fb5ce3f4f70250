//! What can be typed after `haq simulate` and `haq hw`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{
    cli::workload::WorkloadArgs,
    domain::LayerBits,
    search::{Pins, parse_layer_bits},
};

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
