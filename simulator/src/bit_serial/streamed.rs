//! A layer on an array that both operands are streamed past, tile by tile (BISMO).
//!
//! Two streams load bit planes into double buffers while the array works on tiles that are
//! there. One operand is loaded once on the outside, the other is kept whole and passed by
//! again for every outer tile; the better of the two orders counts. A tile starts before its
//! last plane is there: only the products with that plane have to wait.
//!
//! Source: BISMO (Umuroglu et al., FPL 2018) for the stages; the overlap is read off the
//! latency table that comes with the code of the HAQ paper.

use super::BitSerialArray;
use crate::{bits::LayerBits, shape::Shape, workload::LayerKind};

/// The counts of one layer that widths only scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StreamedLayer {
    /// Times all operands are streamed: once an image and group, once for a linear layer.
    sweeps: u64,
    /// Words of `dot_width` bits that one dot product takes.
    words: u64,
    activations: Stream,
    weights: Stream,
    depthwise: bool,
    /// Bits of the words behind one bit of each activation and weight, whole batch.
    pub activation_word_bits: u64,
    pub weight_word_bits: u64,
}

/// The vectors of one operand in a sweep.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stream {
    vectors: u64,
    /// Vectors the array works on at once.
    tile: u64,
    /// Cycles to load one bit plane of all vectors.
    plane_cycles: u64,
}

/// Cycles of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StreamedCycles {
    pub compute: u64,
    /// The longer of the two operand streams.
    pub load: u64,
    pub total: f64,
}

impl BitSerialArray {
    /// - `port_bits`: bits of each operand a cycle
    pub(crate) fn stream(&self, shape: &Shape, port_bits: u64) -> StreamedLayer {
        let cycles_per_word = self.dot_width.div_ceil(port_bits);
        let linear = shape.kind == LayerKind::Linear;
        let images = if linear { 1 } else { shape.batch };
        let positions = shape.positions / images;
        let words = shape.reduction.div_ceil(self.dot_width);
        let depthwise = shape.is_depthwise();
        let (sweeps, channels, activation_words) = if depthwise {
            let packed = self.packed_channels(shape);
            (images, shape.out_channels, positions * shape.in_channels.div_ceil(packed) * words)
        } else {
            (images * shape.groups, shape.outputs, positions * words)
        };
        let weight_words = channels * words;
        StreamedLayer {
            sweeps,
            words,
            activations: Stream {
                vectors: positions,
                tile: self.rows,
                plane_cycles: activation_words * cycles_per_word,
            },
            weights: Stream {
                vectors: channels,
                tile: self.cols,
                plane_cycles: weight_words * cycles_per_word,
            },
            depthwise,
            activation_word_bits: sweeps * activation_words * self.dot_width,
            weight_word_bits: sweeps * weight_words * self.dot_width,
        }
    }

    /// Depthwise channels in one word: as many as the profile says and as fit.
    fn packed_channels(&self, shape: &Shape) -> u64 {
        self.dw_pack.min((self.dot_width / shape.reduction).max(1))
    }
}

impl Stream {
    fn tiles(&self) -> u64 {
        self.vectors.div_ceil(self.tile)
    }

    /// Cycles until tile `index` is there, when a vector has `bits` planes.
    fn ready(&self, index: u64, bits: f64) -> f64 {
        let vectors = (self.tile * (index + 1)).min(self.vectors);
        self.plane_cycles as f64 * bits * vectors as f64 / self.vectors as f64
    }

    /// The tiles at which waiting can be longest: between the first and the last full one
    /// the wait is linear.
    fn corners(&self) -> [u64; 3] {
        let last = self.tiles() - 1;
        [0, last.saturating_sub(1), last]
    }
}

impl StreamedLayer {
    /// Cycles at these promoted widths.
    pub fn cycles(&self, bits: LayerBits, efficiency: f64) -> StreamedCycles {
        let (w, a) = (u64::from(bits.weight.get()), u64::from(bits.activation.get()));
        let tiles = self.activations.tiles() * self.weights.tiles();
        let compute = self.sweeps * tiles * self.words * w * a;
        let load =
            self.sweeps * (self.activations.plane_cycles * a).max(self.weights.plane_cycles * w);
        let sweep = if self.depthwise {
            self.depthwise_sweep(w as f64, a as f64, efficiency)
        } else {
            let tile = (self.words * w * a) as f64 / efficiency;
            let activations = (&self.activations, a as f64);
            let weights = (&self.weights, w as f64);
            nested(activations, weights, tile).min(nested(weights, activations, tile))
        };
        StreamedCycles { compute, load, total: self.sweeps as f64 * sweep }
    }

    /// Channels bring their own activations, so that nothing is passed by twice: the longest
    /// of the three stages, after the shorter load that the first tiles cannot hide.
    fn depthwise_sweep(&self, w: f64, a: f64, efficiency: f64) -> f64 {
        let (activations, weights) =
            (self.activations.plane_cycles as f64 * a, self.weights.plane_cycles as f64 * w);
        let tiles = self.activations.tiles() as f64;
        let busy = tiles * self.weights.tiles() as f64 * self.words as f64 * w * a / efficiency;
        let exposed = (activations.min(weights) - busy / tiles).max(0.0);
        activations.max(weights).max(busy + exposed)
    }
}

/// Cycles of a sweep with the tiles of `outer` outside those of `inner`; each stream comes
/// with its bits.
///
/// - `tile`: cycles the array works on one pair of tiles
fn nested(outer: (&Stream, f64), inner: (&Stream, f64), tile: f64) -> f64 {
    let ((outer, outer_bits), (inner, inner_bits)) = (outer, inner);
    let (n_outer, n_inner) = (outer.tiles() as f64, inner.tiles() as f64);
    // All products but those with the last plane of the inner operand are done by the time
    // it arrives; of the outer operand, those with the first plane of the inner one.
    let inner_wait = |index: u64| {
        let done = tile - tile / inner_bits + 1.0;
        inner.ready(index, inner_bits) - done + (n_outer * n_inner - index as f64) * tile
    };
    let outer_wait = |index: u64| {
        let done = tile / inner_bits;
        outer.ready(index, outer_bits) - done + (n_outer - index as f64) * n_inner * tile
    };
    let inner = inner.corners().into_iter().map(inner_wait);
    let outer = outer.corners().into_iter().map(outer_wait);
    inner.chain(outer).fold(0.0, f64::max)
}
