//! What can be typed after `haq finetune`.

use std::path::PathBuf;

use clap::Args;

use super::{InputArgs, at_least_one};
use crate::{
    domain::{LayerBits, Measure},
    quantization::{Augmentation, BatchNormTraining, RangeLearning},
    search::{Pins, parse_layer_bits},
};

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
