//! Which bitwidths a device multiplies at and stores, and how others are promoted to them.

use std::array;

use crate::bits::{Bits, LayerBits};

/// How the multipliers deal with width.
#[derive(Debug, Clone, PartialEq)]
pub enum PrecisionMode {
    /// Fixed pairs of widths, each with a rate; others are promoted to the fastest pair that
    /// loses no bit.
    Table(Vec<NativePair>),
    /// Multipliers that split into narrower ones: every pair out of these widths.
    Fusion(Vec<Bits>),
    /// Operands enter bit by bit, at any width of a range.
    BitSerial {
        min: Bits,
        max: Bits,
        /// Whether weights are serial too; otherwise they are multiplied at the widest.
        serial_weights: bool,
    },
}

/// A pair of widths the hardware multiplies at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NativePair {
    pub bits: LayerBits,
    /// Multiply-accumulates a cycle and processing element, relative to the array's own size.
    pub rate: f64,
    /// Energy of one multiplication, where the profile lists it.
    pub mac_pj: Option<f64>,
}

/// How tensors are laid out in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Exactly as many bits as the tensor has.
    Packed,
    /// The next power of two.
    Container,
    /// The width it is multiplied at.
    Native,
}

/// What a pair of widths becomes on the multipliers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Promotion {
    pub bits: LayerBits,
    /// Times the array has to run, where an operand is wider than the multipliers.
    pub passes: u64,
    /// Multiply-accumulates a cycle and processing element in one pass.
    pub rate: f64,
    /// Energy of one multiplication from the profile's own list.
    pub mac_pj: Option<f64>,
}

impl Promotion {
    /// Share of the rate at one operation an element and cycle.
    pub(crate) fn macs_per_pass(&self) -> f64 {
        if self.passes == 1 { self.rate } else { self.rate / self.passes as f64 }
    }
}

/// Multiplication and storage widths of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Precision {
    mode: PrecisionMode,
    /// `[weight bits - 1][activation bits - 1]`
    promotions: [[Promotion; 16]; 16],
    /// `[bits - 1]`
    stored_weights: [Bits; 16],
    stored_activations: [Bits; 16],
}

impl Precision {
    /// - `weight_only`: activations stay at the width they are multiplied at
    /// - `min_stored`: no tensor is stored at fewer bits
    pub(crate) fn new(
        mode: PrecisionMode,
        storage: Storage,
        weight_only: bool,
        min_stored: Bits,
    ) -> Self {
        let stored = |asked: Bits, promoted: Bits| match storage {
            Storage::Packed => asked.max(min_stored),
            Storage::Container => power_of_two(asked).max(min_stored),
            Storage::Native => promoted,
        };
        Self {
            stored_weights: array::from_fn(|index| {
                let asked = nth_width(index);
                stored(asked, mode.promote(LayerBits::new(asked, Bits::EIGHT)).bits.weight)
            }),
            stored_activations: array::from_fn(|index| {
                let asked = nth_width(index);
                let promoted = mode.promote(LayerBits::new(Bits::EIGHT, asked)).bits.activation;
                if weight_only { promoted } else { stored(asked, promoted) }
            }),
            promotions: array::from_fn(|weight| {
                array::from_fn(|activation| {
                    mode.promote(LayerBits::new(nth_width(weight), nth_width(activation)))
                })
            }),
            mode,
        }
    }

    pub fn mode(&self) -> &PrecisionMode {
        &self.mode
    }

    /// The widths these operands are multiplied at, never below those asked for.
    #[inline]
    pub fn promote(&self, bits: LayerBits) -> &Promotion {
        &self.promotions[width_index(bits.weight)][width_index(bits.activation)]
    }

    /// The width weights take in memory.
    pub fn stored_weight(&self, weight: Bits) -> Bits {
        self.stored_weights[width_index(weight)]
    }

    /// The width a tensor takes in memory whose readers ask for this many bits.
    pub fn stored_activation(&self, activation: Bits) -> Bits {
        self.stored_activations[width_index(activation)]
    }
}

impl PrecisionMode {
    fn promote(&self, asked: LayerBits) -> Promotion {
        match self {
            PrecisionMode::Table(pairs) => promote_to_pair(pairs, asked),
            PrecisionMode::Fusion(widths) => promote_to_fusion(widths, asked),
            PrecisionMode::BitSerial { min, max, serial_weights } => {
                let least = if *serial_weights { *min } else { *max };
                let (weight, weight_passes) = split(asked.weight.max(least), *max);
                let (activation, activation_passes) = split(asked.activation.max(*min), *max);
                Promotion {
                    bits: LayerBits::new(
                        times(weight, weight_passes),
                        times(activation, activation_passes),
                    ),
                    passes: weight_passes * activation_passes,
                    rate: 1.0,
                    mac_pj: None,
                }
            }
        }
    }
}

/// The fastest pair that loses no bit; an operand wider than all of them takes several passes
/// of the widest.
fn promote_to_pair(pairs: &[NativePair], asked: LayerBits) -> Promotion {
    let widest = pairs.iter().map(|pair| pair.bits.weight.max(pair.bits.activation)).max();
    let widest = widest.expect("a profile lists at least one pair");
    let (weight, weight_passes) = split(asked.weight, widest);
    let (activation, activation_passes) = split(asked.activation, widest);
    let one_pass = LayerBits::new(weight.min(widest), activation.min(widest));
    let best = pairs
        .iter()
        .filter(|pair| {
            pair.bits.weight >= one_pass.weight && pair.bits.activation >= one_pass.activation
        })
        .min_by(|a, b| {
            let width = |pair: &NativePair| pair.bits.weight.get() + pair.bits.activation.get();
            b.rate.total_cmp(&a.rate).then(width(a).cmp(&width(b)))
        })
        // Without a pair as wide on both sides, both operands go through the widest one.
        .or_else(|| pairs.iter().max_by_key(|pair| (pair.bits.weight, pair.bits.activation)))
        .expect("a profile lists at least one pair");
    let covers = |native: Bits, asked: Bits| u64::from(asked.get().div_ceil(native.get()));
    let (weight_passes, activation_passes) = (
        weight_passes.max(covers(best.bits.weight, asked.weight)),
        activation_passes.max(covers(best.bits.activation, asked.activation)),
    );
    Promotion {
        bits: LayerBits::new(
            times(best.bits.weight, weight_passes),
            times(best.bits.activation, activation_passes),
        ),
        passes: weight_passes * activation_passes,
        rate: best.rate,
        mac_pj: best.mac_pj,
    }
}

/// Each side to the next width; a unit of the widest multiplies `(widest / w) · (widest / a)`
/// pairs a cycle.
fn promote_to_fusion(widths: &[Bits], asked: LayerBits) -> Promotion {
    let widest = *widths.last().expect("a profile lists at least one width");
    let side = |asked: Bits| {
        let (width, passes) = split(asked, widest);
        let one_pass = widths.iter().copied().find(|native| *native >= width).unwrap_or(widest);
        (one_pass, passes)
    };
    let (weight, weight_passes) = side(asked.weight);
    let (activation, activation_passes) = side(asked.activation);
    let lanes = |width: Bits| f64::from(widest.get() / width.get());
    Promotion {
        bits: LayerBits::new(times(weight, weight_passes), times(activation, activation_passes)),
        passes: weight_passes * activation_passes,
        rate: lanes(weight) * lanes(activation),
        mac_pj: None,
    }
}

/// The width of one pass and how many passes `width` takes on multipliers of `widest` bits.
fn split(width: Bits, widest: Bits) -> (Bits, u64) {
    if width <= widest {
        (width, 1)
    } else {
        (widest, u64::from(width.get().div_ceil(widest.get())))
    }
}

fn times(width: Bits, passes: u64) -> Bits {
    let wide = u64::from(width.get()) * passes;
    u8::try_from(wide).ok().and_then(Bits::new).unwrap_or(Bits::MAX)
}

fn power_of_two(width: Bits) -> Bits {
    Bits::new(width.get().next_power_of_two()).unwrap_or(Bits::MAX)
}

/// Position of a width in tables over 1 to 16 bits.
pub(crate) fn width_index(width: Bits) -> usize {
    usize::from(width.get()) - 1
}

/// The width at a position of such a table.
pub(crate) fn nth_width(index: usize) -> Bits {
    u8::try_from(index + 1).ok().and_then(Bits::new).expect("tables of widths end at 16")
}
