//! Bits that move between the levels of memory for one layer, and the energy they cost.

use crate::profile::{HardwareProfile, MemoryLevel, PerOperand};

/// Bits of each kind of data that are read from a level and written to it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Traffic {
    pub weights_read: f64,
    pub inputs_read: f64,
    pub outputs_read: f64,
    pub weights_written: f64,
    pub inputs_written: f64,
    pub outputs_written: f64,
}

impl Traffic {
    pub fn read_bits(&self) -> f64 {
        self.weights_read + self.inputs_read + self.outputs_read
    }

    pub fn written_bits(&self) -> f64 {
        self.weights_written + self.inputs_written + self.outputs_written
    }

    pub fn bits(&self) -> f64 {
        self.read_bits() + self.written_bits()
    }

    /// Energy in picojoules at these prices of a bit.
    pub fn energy_pj(&self, read: &PerOperand, write: &PerOperand) -> f64 {
        self.weights_read * read.weights
            + self.inputs_read * read.inputs
            + self.outputs_read * read.outputs
            + self.weights_written * write.weights
            + self.inputs_written * write.inputs
            + self.outputs_written * write.outputs
    }

    /// Adds what a level sees of the traffic of the next level out: what comes in is written
    /// here, what goes out is read here.
    fn pass_through(&mut self, outer: &Traffic) {
        self.weights_written += outer.weights_read;
        self.inputs_written += outer.inputs_read;
        self.outputs_written += outer.outputs_read;
        self.outputs_read += outer.outputs_written;
    }
}

/// Traffic of one layer where the array meets memory and where the chip ends.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct LayerTraffic {
    /// What the array reads and writes at the nearest level.
    pub array: Traffic,
    /// What crosses every level between nearest and furthest.
    pub between: Traffic,
    /// What crosses the furthest level.
    pub furthest: Traffic,
}

/// The levels of a device as the cost model needs them, without names.
#[derive(Debug, Clone)]
pub(crate) struct Levels {
    /// Prices of reading and writing a bit, nearest level first.
    prices: Vec<(PerOperand, PerOperand)>,
    /// Bits a cycle of each level.
    bits_per_cycle: Vec<f64>,
    /// Whether transfers hide behind computing.
    pub overlapped: bool,
}

impl Levels {
    pub fn of(profile: &HardwareProfile) -> Self {
        let levels = profile.memory();
        let price = |level: &MemoryLevel| (level.read_pj_per_bit, level.write_pj_per_bit);
        Self {
            prices: levels.iter().map(price).collect(),
            bits_per_cycle: levels
                .iter()
                .map(|level| level.bits_per_cycle.unwrap_or(f64::INFINITY))
                .collect(),
            overlapped: profile.on_chip().double_buffered,
        }
    }

    pub fn len(&self) -> usize {
        self.prices.len()
    }

    pub fn furthest_read_pj_per_bit(&self) -> f64 {
        self.prices.last().expect("a device has levels").0.weights
    }

    /// What one level reads and writes, from its position.
    pub fn at(&self, level: usize, layer: &LayerTraffic) -> Traffic {
        let last = self.prices.len() - 1;
        if level == last {
            return layer.furthest;
        }
        let mut traffic = if level == 0 { layer.array } else { layer.between };
        let outer = if level + 1 == last { layer.furthest } else { layer.between };
        traffic.pass_through(&outer);
        traffic
    }

    /// Energy of all levels, in picojoules.
    pub fn energy_pj(&self, layer: &LayerTraffic) -> f64 {
        let energies = self.prices.iter().enumerate();
        energies.map(|(level, (read, write))| self.at(level, layer).energy_pj(read, write)).sum()
    }

    /// Cycles the transfers take: the slowest level beyond the nearest decides.
    pub fn cycles(&self, layer: &LayerTraffic) -> f64 {
        let last = self.prices.len() - 1;
        let furthest = layer.furthest.bits() / self.bits_per_cycle[last];
        let between = self.bits_per_cycle[1..last].iter().map(|bits| layer.between.bits() / bits);
        between.fold(furthest, f64::max)
    }
}
