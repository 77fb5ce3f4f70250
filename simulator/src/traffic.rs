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
}

/// What moves inwards, and what comes back, at one place.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Flow {
    pub weights: f64,
    pub inputs: f64,
    /// Partial sums that are read again, and sums and results that are written.
    pub sums_in: f64,
    pub sums_out: f64,
}

impl Flow {
    #[inline]
    pub fn inwards(&self) -> f64 {
        self.weights + self.inputs + self.sums_in
    }

    #[inline]
    pub fn bits(&self) -> f64 {
        self.inwards() + self.sums_out
    }
}

/// Traffic of one layer where the array meets memory and where the chip ends.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct LayerTraffic {
    /// What the array reads and writes at the nearest level.
    pub array: Flow,
    /// What crosses every level between nearest and furthest.
    pub between: Flow,
    /// What crosses the furthest level.
    pub furthest: Flow,
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

/// Picojoules a bit for each field of a [`Flow`].
#[derive(Debug, Clone, Copy)]
struct Prices {
    weights: f64,
    inputs: f64,
    sums_in: f64,
    sums_out: f64,
}

impl Prices {
    const FREE: Prices = Prices { weights: 0.0, inputs: 0.0, sums_in: 0.0, sums_out: 0.0 };

    /// Adds what a level charges: for a flow at its own inner side, or for the one at its
    /// outer side, which is written to it on the way in and read on the way out.
    fn add(&mut self, level: &MemoryLevel, side: Side) {
        let (inwards, outwards) = match side {
            Side::Inner => (&level.read_pj_per_bit, &level.write_pj_per_bit),
            Side::Outer => (&level.write_pj_per_bit, &level.read_pj_per_bit),
        };
        self.weights += inwards.weights;
        self.inputs += inwards.inputs;
        self.sums_in += inwards.outputs;
        self.sums_out += outwards.outputs;
    }

    #[inline]
    fn of(&self, flow: &Flow) -> f64 {
        self.weights * flow.weights
            + self.inputs * flow.inputs
            + self.sums_in * flow.sums_in
            + self.sums_out * flow.sums_out
    }
}

/// The two sides data reach a level from.
#[derive(Clone, Copy)]
enum Side {
    Inner,
    Outer,
}

impl Levels {
    pub fn of(profile: &HardwareProfile) -> Self {
        let levels = profile.memory();
        let last = levels.len() - 1;
        let (mut array_pj, mut between_pj, mut furthest_pj) =
            (Prices::FREE, Prices::FREE, Prices::FREE);
        for (position, level) in levels.iter().enumerate() {
            match position {
                0 => array_pj.add(level, Side::Inner),
                _ if position == last => furthest_pj.add(level, Side::Inner),
                _ => between_pj.add(level, Side::Inner),
            }
            // What crosses the next level out passes through this one.
            if position + 1 == last {
                furthest_pj.add(level, Side::Outer);
            } else if position < last {
                between_pj.add(level, Side::Outer);
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
        let flow = |position: usize| match position {
            0 => layer.array,
            _ if position == last => layer.furthest,
            _ => layer.between,
        };
        let inner = flow(level);
        let outer = if level < last { flow(level + 1) } else { Flow::default() };
        Traffic {
            weights_read: inner.weights,
            inputs_read: inner.inputs,
            outputs_read: inner.sums_in + outer.sums_out,
            weights_written: outer.weights,
            inputs_written: outer.inputs,
            outputs_written: inner.sums_out + outer.sums_in,
        }
    }

    /// Energy of all levels, in picojoules.
    #[inline]
    pub fn energy_pj(&self, layer: &LayerTraffic) -> f64 {
        self.array_pj.of(&layer.array)
            + self.between_pj.of(&layer.between)
            + self.furthest_pj.of(&layer.furthest)
    }

    /// Cycles the transfers take: the slowest level beyond the nearest decides.
    #[inline]
    pub fn cycles(&self, layer: &LayerTraffic) -> f64 {
        let furthest = layer.furthest.bits() / self.furthest_bits_per_cycle;
        furthest.max(layer.between.bits() / self.between_bits_per_cycle)
    }
}
