//! Cycles of arrays that take operands bit by bit: BISMO, Stripes, Loom.

use crate::{bits::LayerBits, shape::Shape, workload::LayerKind};

/// Which operands are serial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SerialOperands {
    /// Time follows the product of both widths.
    Both,
    /// Weights are read whole; time follows the activation width.
    Activations,
}

impl SerialOperands {
    pub(crate) const WORDS: [(&'static str, SerialOperands); 2] =
        [("both", SerialOperands::Both), ("activations", SerialOperands::Activations)];
}

/// `rows` output positions by `cols` output channels, `dot_width` binary products each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BitSerialArray {
    pub rows: u64,
    pub cols: u64,
    pub dot_width: u64,
    /// Depthwise channels that share one word of `dot_width` bits.
    pub dw_pack: u64,
    /// Bits each operand stream brings a cycle. Without it operands come from buffers on the
    /// chip, and the tiling of layers decides what is read from outside.
    pub operand_bits_per_cycle: Option<u64>,
    pub serial: SerialOperands,
    pub acc_bits: u64,
}

/// The counts of one layer that widths only scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SerialMapping {
    /// Cycles for one bit of each serial operand, whole batch.
    pub binary_cycles: u64,
    /// Times operands are streamed: once an image, once for a linear layer.
    pub sweeps: u64,
    /// Cycles of a sweep that load one bit of every activation and of every weight.
    pub input_load: u64,
    pub weight_load: u64,
    /// Tiles along the output positions of a sweep.
    pub position_tiles: u64,
    /// Bits of the words behind one bit of each activation and weight, whole batch.
    pub input_word_bits: u64,
    pub weight_word_bits: u64,
}

impl SerialMapping {
    /// Cycles when both operands are streamed past the array, at these promoted widths.
    ///
    /// Loads hide behind computing, except that the first tile has to wait for the shorter
    /// of the two.
    pub fn streamed(&self, bits: LayerBits, efficiency: f64) -> SerialCycles {
        let (w, a) = (u64::from(bits.weight.get()), u64::from(bits.activation.get()));
        let compute = self.binary_cycles * w * a;
        let (input, weight) = (self.input_load * a, self.weight_load * w);
        let busy = compute as f64 / efficiency;
        let sweeps = self.sweeps as f64;
        let first = busy / (sweeps * self.position_tiles as f64);
        let exposed = (input.min(weight) as f64 - first).max(0.0) * sweeps;
        let load = input.max(weight) * self.sweeps;
        SerialCycles { compute, load, total: (load as f64).max(busy + exposed) }
    }
}

/// Cycles of a layer on an array whose operands are streamed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SerialCycles {
    pub compute: u64,
    /// The longer of the two operand streams.
    pub load: u64,
    pub total: f64,
}

impl BitSerialArray {
    pub(crate) fn map(&self, shape: &Shape) -> SerialMapping {
        // Without a port that limits them, operands arrive a word a cycle.
        let port = self.operand_bits_per_cycle.unwrap_or(self.dot_width);
        let cycles_per_word = self.dot_width.div_ceil(port);
        let linear = shape.kind == LayerKind::Linear;
        let sweeps = if linear { 1 } else { shape.batch };
        let positions = shape.positions / sweeps;
        let words = shape.reduction.div_ceil(self.dot_width);
        let position_tiles = positions.div_ceil(self.rows);
        let (input_words, weight_words, channels) = if shape.is_depthwise() {
            let packed = self.packed_channels(shape);
            let channels = shape.out_channels;
            (positions * shape.in_channels.div_ceil(packed) * words, channels * words, channels)
        } else {
            let words = words * shape.groups;
            (positions * words, words * shape.outputs, shape.outputs * shape.groups)
        };
        let channel_tiles = if shape.is_depthwise() {
            channels.div_ceil(self.cols)
        } else {
            shape.outputs.div_ceil(self.cols) * shape.groups
        };
        SerialMapping {
            binary_cycles: sweeps * position_tiles * channel_tiles * words,
            sweeps,
            input_load: input_words * cycles_per_word,
            weight_load: weight_words * cycles_per_word,
            position_tiles,
            input_word_bits: sweeps * input_words * self.dot_width,
            weight_word_bits: sweeps * weight_words * self.dot_width,
        }
    }

    /// Depthwise channels in one word: as many as the profile says and as fit.
    fn packed_channels(&self, shape: &Shape) -> u64 {
        self.dw_pack.min((self.dot_width / shape.reduction).max(1))
    }

    /// Cycles when operands wait in buffers on the chip, at these promoted widths.
    ///
    /// Source: Stripes (Judd et al., MICRO 2016) for serial activations, Loom (Sharify et
    /// al., DAC 2018) for both. A linear layer has no positions to share its weights, and
    /// both designs read its activations at 16 bits; Loom spreads its outputs over the rows.
    pub(crate) fn buffered_cycles(&self, shape: &Shape, bits: LayerBits) -> u64 {
        let (w, a) = (u64::from(bits.weight.get()), u64::from(bits.activation.get()));
        let words = shape.reduction.div_ceil(self.dot_width);
        let linear = shape.kind == LayerKind::Linear;
        match (self.serial, linear) {
            (SerialOperands::Activations, true) => {
                shape.positions * shape.outputs.div_ceil(self.cols) * words * 16
            }
            (SerialOperands::Both, true) => {
                let columns = self.cols * self.rows;
                shape.positions * shape.outputs.div_ceil(columns) * words * 16 * w
            }
            (serial, false) => {
                let tiles = shape.positions.div_ceil(self.rows)
                    * shape.outputs.div_ceil(self.cols)
                    * shape.groups
                    * words;
                tiles * if serial == SerialOperands::Both { w * a } else { a }
            }
        }
    }

    /// Binary products a cycle.
    pub fn peak_binary_macs_per_cycle(&self) -> u64 {
        self.rows * self.cols * self.dot_width
    }
}
