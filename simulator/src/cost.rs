//! What a network costs on a device: the answer of the model, whole and layer by layer.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::bits::LayerBits;

/// The four costs a budget can limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CostKind {
    /// Seconds for one batch.
    Latency,
    /// Joules for one batch.
    Energy,
    /// Bytes of weights, scales and biases as stored.
    Size,
    /// Bytes in use at the worst moment: weights and live activations.
    Memory,
}

impl CostKind {
    pub const ALL: [CostKind; 4] =
        [CostKind::Latency, CostKind::Energy, CostKind::Size, CostKind::Memory];

    /// The word a user types.
    pub const fn word(self) -> &'static str {
        match self {
            CostKind::Latency => "latency",
            CostKind::Energy => "energy",
            CostKind::Size => "size",
            CostKind::Memory => "memory",
        }
    }
}

impl FromStr for CostKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        CostKind::ALL
            .into_iter()
            .find(|kind| kind.word() == text)
            .ok_or_else(|| format!("{text:?} is not latency, energy, size or memory"))
    }
}

impl fmt::Display for CostKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The four totals of one policy on one device, for one batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    pub latency_s: f64,
    pub energy_j: f64,
    pub size_bytes: u64,
    pub peak_memory_bytes: u64,
}

impl Cost {
    /// The total of one kind in its SI unit: seconds, joules or bytes.
    pub fn get(&self, kind: CostKind) -> f64 {
        match kind {
            CostKind::Latency => self.latency_s,
            CostKind::Energy => self.energy_j,
            CostKind::Size => self.size_bytes as f64,
            CostKind::Memory => self.peak_memory_bytes as f64,
        }
    }
}

/// What holds a layer back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    Compute,
    Memory,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Bound::Compute => "compute",
            Bound::Memory => "memory",
        })
    }
}

/// What one layer costs for one batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LayerCost {
    /// Clock cycles from start to end: the larger of the two below, or their sum where
    /// transfers cannot hide behind computing.
    pub cycles: u64,
    pub compute_cycles: u64,
    pub memory_cycles: u64,
    pub latency_s: f64,
    pub energy_j: f64,
    /// Bytes that cross the furthest memory level, both ways.
    pub dram_bytes: u64,
    /// Bytes of this layer's weights, scales and bias as stored.
    pub size_bytes: u64,
    pub macs: u64,
    /// Useful share of the array's multiply-accumulates while it computes, 0 to 1.
    pub utilization: f64,
    pub bound: Bound,
    /// The widths the hardware multiplies at, never below those asked for.
    pub promoted: LayerBits,
}

/// What a network costs for one batch, with the layers it is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkCost {
    pub cost: Cost,
    /// Images in the batch.
    pub batch: u64,
    /// Sums over the layers; overheads and weight streaming are in the latency only.
    pub cycles: u64,
    pub compute_cycles: u64,
    pub macs: u64,
    pub dram_bytes: u64,
    /// Weights, scales and biases as stored.
    pub weight_bytes: u64,
    /// Activations alive at the worst step.
    pub activation_peak_bytes: u64,
    /// The name of that step; empty for a network without layers.
    pub peak_step: String,
    /// Weights that do not fit on the device and cross the host link every time.
    pub streamed_bytes: u64,
    pub streaming_s: f64,
    /// Once for each batch, whatever runs.
    pub fixed_overhead_s: f64,
    /// Layers whose latency comes from the model although the profile carries measurements;
    /// empty when it carries none.
    pub modelled_layers: Vec<usize>,
    pub layers: Vec<LayerCost>,
}
