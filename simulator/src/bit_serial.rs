//! Cycles of arrays that take operands bit by bit: BISMO, Stripes, Loom.

mod streamed;

pub(crate) use streamed::StreamedLayer;

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

impl BitSerialArray {
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

    /// Multiply-accumulates a cycle at promoted widths.
    pub(crate) fn macs_per_cycle(&self, bits: LayerBits) -> f64 {
        let steps = match self.serial {
            SerialOperands::Both => f64::from(bits.weight.get()) * f64::from(bits.activation.get()),
            SerialOperands::Activations => f64::from(bits.activation.get()),
        };
        self.peak_binary_macs_per_cycle() as f64 / steps
    }
}
