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
    /// Pairs of tiles in a sweep.
    tiles: u64,
    activations: Stream,
    weights: Stream,
    depthwise: bool,
    /// Bits of the words behind one bit of each activation and weight, whole batch.
    pub activation_word_bits: f64,
    pub weight_word_bits: f64,
}

/// The vectors of one operand in a sweep, as many at once as the array works on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stream {
    tiles: f64,
    /// Cycles to load one bit plane of all vectors.
    plane_cycles: u64,
    /// The tiles at which waiting can be longest: between the first and the last full one
    /// the wait is linear.
    corners: [Corner; 3],
}

/// One tile of a stream.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Corner {
    /// Tiles before it.
    index: f64,
    /// Cycles to load one bit plane of all vectors up to and with this tile.
    plane_cycles: f64,
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
            tiles: positions.div_ceil(self.rows) * channels.div_ceil(self.cols),
            activations: Stream::new(positions, self.rows, activation_words * cycles_per_word),
            weights: Stream::new(channels, self.cols, weight_words * cycles_per_word),
            depthwise,
            activation_word_bits: (sweeps * activation_words * self.dot_width) as f64,
            weight_word_bits: (sweeps * weight_words * self.dot_width) as f64,
        }
    }

    /// Depthwise channels in one word: as many as the profile says and as fit.
    fn packed_channels(&self, shape: &Shape) -> u64 {
        self.dw_pack.min((self.dot_width / shape.reduction).max(1))
    }
}

impl Stream {
    fn new(vectors: u64, tile: u64, plane_cycles: u64) -> Self {
        let last = vectors.div_ceil(tile) - 1;
        let corner = |index: u64| {
            let loaded = (tile * (index + 1)).min(vectors);
            Corner {
                index: index as f64,
                plane_cycles: plane_cycles as f64 * (loaded as f64 / vectors as f64),
            }
        };
        Self {
            tiles: (last + 1) as f64,
            plane_cycles,
            corners: [corner(0), corner(last.saturating_sub(1)), corner(last)],
        }
    }
}

impl StreamedLayer {
    /// Cycles at these promoted widths.
    pub fn cycles(&self, bits: LayerBits, efficiency: f64) -> StreamedCycles {
        let (w, a) = (u64::from(bits.weight.get()), u64::from(bits.activation.get()));
        let compute = self.sweeps * self.tiles * self.words * w * a;
        let load =
            self.sweeps * (self.activations.plane_cycles * a).max(self.weights.plane_cycles * w);
        let (w, a) = (w as f64, a as f64);
        // Cycles of the array for one bit of both operands of a pair of tiles.
        let plane = self.words as f64 / efficiency;
        let sweep = if self.depthwise {
            self.depthwise_sweep(w, a, plane)
        } else {
            let activations = (&self.activations, a);
            let weights = (&self.weights, w);
            nested(activations, weights, plane).min(nested(weights, activations, plane))
        };
        StreamedCycles { compute, load, total: self.sweeps as f64 * sweep }
    }

    /// Channels bring their own activations, so that nothing is passed by twice: the longest
    /// of the three stages, after the shorter load that the first tiles cannot hide.
    fn depthwise_sweep(&self, w: f64, a: f64, plane: f64) -> f64 {
        let (activations, weights) =
            (self.activations.plane_cycles as f64 * a, self.weights.plane_cycles as f64 * w);
        let first = self.weights.tiles * plane * w * a;
        let busy = self.activations.tiles * first;
        let exposed = (activations.min(weights) - first).max(0.0);
        activations.max(weights).max(busy + exposed)
    }
}

/// Cycles of a sweep with the tiles of `outer` outside those of `inner`; each stream comes
/// with its bits.
///
/// - `plane`: cycles the array works on one bit of both operands of a pair of tiles
fn nested(outer: (&Stream, f64), inner: (&Stream, f64), plane: f64) -> f64 {
    let ((outer, outer_bits), (inner, inner_bits)) = (outer, inner);
    let one_plane = plane * outer_bits;
    let tile = one_plane * inner_bits;
    let sweep = inner.tiles * tile;
    // All products but those with the last plane of the inner operand are done by the time
    // it arrives; of the outer operand, those with the first plane of the inner one.
    let inner_rest = outer.tiles * sweep - (tile - one_plane + 1.0);
    let outer_rest = outer.tiles * sweep - one_plane;
    let mut longest = 0.0f64;
    for corner in &inner.corners {
        longest = longest.max(corner.plane_cycles * inner_bits + inner_rest - corner.index * tile);
    }
    for corner in &outer.corners {
        longest = longest.max(corner.plane_cycles * outer_bits + outer_rest - corner.index * sweep);
    }
    longest
}
