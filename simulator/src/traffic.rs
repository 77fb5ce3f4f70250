//! Bits that move between the levels of memory for one layer, and the energy they cost.

use crate::profile::{HardwareProfile, MemoryLevel};

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
    n_levels: usize,
    /// Picojoules of a bit that moves at each of the three places, in all levels it touches.
    array_pj: Prices,
    between_pj: Prices,
    furthest_pj: Prices,
    /// Picojoules of reading a bit of weights from the furthest level.
    furthest_weight_pj: f64,
    /// Bits a cycle of the slowest level in between, and of the furthest.
    between_bits_per_cycle: f64,
    furthest_bits_per_cycle: f64,
    /// Whether transfers hide behind computing.
    pub overlapped: bool,
}

/// Picojoules a bit for each field of [`Traffic`].
#[derive(Debug, Clone, Copy)]
struct Prices {
    weights_read: f64,
    inputs_read: f64,
    outputs_read: f64,
    outputs_written: f64,
}

impl Prices {
    const FREE: Prices =
        Prices { weights_read: 0.0, inputs_read: 0.0, outputs_read: 0.0, outputs_written: 0.0 };

    /// Adds what a level charges for moving a bit in or out through it: `outside` when the
    /// bit moves at the level itself, otherwise on its way between the level and the next.
    fn add(&mut self, level: &MemoryLevel, outside: bool) {
        let (read, write) = (&level.read_pj_per_bit, &level.write_pj_per_bit);
        if outside {
            self.weights_read += read.weights;
            self.inputs_read += read.inputs;
            self.outputs_read += read.outputs;
            self.outputs_written += write.outputs;
        } else {
            self.weights_read += write.weights;
            self.inputs_read += write.inputs;
            self.outputs_read += write.outputs;
            self.outputs_written += read.outputs;
        }
    }

    fn of(&self, traffic: &Traffic) -> f64 {
        self.weights_read * traffic.weights_read
            + self.inputs_read * traffic.inputs_read
            + self.outputs_read * traffic.outputs_read
            + self.outputs_written * traffic.outputs_written
    }
}

impl Levels {
    pub fn of(profile: &HardwareProfile) -> Self {
        let levels = profile.memory();
        let last = levels.len() - 1;
        let (mut array_pj, mut between_pj, mut furthest_pj) =
            (Prices::FREE, Prices::FREE, Prices::FREE);
        for (position, level) in levels.iter().enumerate() {
            match position {
                0 => array_pj.add(level, true),
                _ if position == last => furthest_pj.add(level, true),
                _ => between_pj.add(level, true),
            }
            // What crosses the next level out passes through this one.
            if position + 1 == last {
                furthest_pj.add(level, false);
            } else if position < last {
                between_pj.add(level, false);
            }
        }
        let speed = |level: &MemoryLevel| level.bits_per_cycle.unwrap_or(f64::INFINITY);
        Self {
            n_levels: levels.len(),
            array_pj,
            between_pj,
            furthest_pj,
            furthest_weight_pj: levels[last].read_pj_per_bit.weights,
            between_bits_per_cycle: levels[1..last].iter().map(speed).fold(f64::INFINITY, f64::min),
            furthest_bits_per_cycle: speed(&levels[last]),
            overlapped: profile.on_chip().double_buffered,
        }
    }

    pub fn len(&self) -> usize {
        self.n_levels
    }

    pub fn furthest_read_pj_per_bit(&self) -> f64 {
        self.furthest_weight_pj
    }

    /// What one level reads and writes, from its position.
    pub fn at(&self, level: usize, layer: &LayerTraffic) -> Traffic {
        let last = self.n_levels - 1;
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
        self.array_pj.of(&layer.array)
            + self.between_pj.of(&layer.between)
            + self.furthest_pj.of(&layer.furthest)
    }

    /// Cycles the transfers take: the slowest level beyond the nearest decides.
    pub fn cycles(&self, layer: &LayerTraffic) -> f64 {
        let furthest = layer.furthest.bits() / self.furthest_bits_per_cycle;
        furthest.max(layer.between.bits() / self.between_bits_per_cycle)
    }
}
