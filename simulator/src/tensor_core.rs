//! Cycles of a GPU's tensor cores, as a roofline with one calibrated efficiency.
//!
//! A matrix product is cut into output tiles, one for a multiprocessor at a time; operands are
//! padded to whole tensor-core steps of 256 bits along the reduction.

use crate::{bits::Bits, shape::Shape};

/// The tensor cores of a GPU.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorCoreArray {
    /// Streaming multiprocessors.
    pub sms: u64,
    /// Multiply-accumulates a cycle and multiprocessor at each native width, ascending.
    pub macs_per_sm: Vec<(Bits, f64)>,
    /// Output positions and channels of a tile.
    pub tile_m: u64,
    pub tile_n: u64,
    /// Share of the memory bandwidth that is reached; above 0, at most 1.
    pub mem_efficiency: f64,
    /// Whether the last wave of tiles takes as long as a full one.
    pub wave_quantisation: bool,
    /// Rate of depthwise layers, which run beside the tensor cores, as a share of the rate
    /// at 8 bits.
    pub depthwise_rate: f64,
    /// Share of the peak that is reached where it differs by width.
    pub efficiency_by_bits: Vec<(Bits, f64)>,
    /// Whether results leave as accumulators and not at their readers' width.
    pub writes_accumulators: bool,
    pub acc_bits: u64,
}

/// Bits of one operand a tensor core takes along the reduction in one step.
const STEP_BITS: u64 = 256;

impl TensorCoreArray {
    /// Cycles at the peak rate of a native width.
    pub(crate) fn cycles(&self, shape: &Shape, width: Bits) -> u64 {
        if shape.is_depthwise() {
            return (shape.macs as f64 / self.depthwise_macs_per_cycle()).ceil() as u64;
        }
        let step = (STEP_BITS / u64::from(width.get())).max(1);
        let reduction = shape.reduction.div_ceil(step) * step;
        let macs = (shape.positions * shape.outputs * shape.groups * reduction) as f64;
        (macs * self.quantisation(shape) / self.macs_per_cycle(width)).ceil() as u64
    }

    /// How much longer the waves of tiles take than the tiles alone.
    fn quantisation(&self, shape: &Shape) -> f64 {
        if !self.wave_quantisation {
            return 1.0;
        }
        let (tile_m, tile_n) = self.tile(shape);
        let tiles =
            shape.positions.div_ceil(tile_m) * shape.outputs.div_ceil(tile_n) * shape.groups;
        (tiles.div_ceil(self.sms) * self.sms) as f64 / tiles as f64
    }

    /// The tile of a layer: half as wide where the layer is narrow.
    pub(crate) fn tile(&self, shape: &Shape) -> (u64, u64) {
        let fit = |tile: u64, size: u64| if size <= tile / 2 { (tile / 2).max(1) } else { tile };
        (fit(self.tile_m, shape.positions), fit(self.tile_n, shape.outputs))
    }

    /// Multiply-accumulates a cycle at a width, all multiprocessors busy.
    pub(crate) fn macs_per_cycle(&self, width: Bits) -> f64 {
        let native = self.macs_per_sm.iter().find(|(native, _)| *native >= width);
        let (_, macs) = native.or(self.macs_per_sm.last()).expect("a GPU has a native width");
        macs * self.sms as f64
    }

    pub(crate) fn depthwise_macs_per_cycle(&self) -> f64 {
        self.macs_per_cycle(Bits::EIGHT) * self.depthwise_rate
    }

    /// Share of the peak that is reached at a width, unless the profile's general one holds.
    pub(crate) fn efficiency(&self, width: Bits) -> Option<f64> {
        self.efficiency_by_bits.iter().find(|(native, _)| *native == width).map(|(_, e)| *e)
    }
}
