//! How a layer is cut into tiles that fit the buffers on the chip, and what that moves.
//!
//! All power-of-two tiles and all loop orders are tried. Walking a loop nest from the inside
//! out, the block of each operand grows while it fits its buffer; once it does not, every
//! further loop reads it again.
//!
//! Source: the exhaustive search of the BitFusion simulator, from its published results.

mod orders;
mod plan;

pub(crate) use plan::{Plan, Plans, TileDevice, TileWidths};

use crate::shape::Shape;

/// What a tiling is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TilingGoal {
    /// Fewest cycles, with whole resident blocks loaded before the array starts.
    FewestCycles,
    /// Fewest bits across the furthest level; the array starts with its first vectors.
    LeastTraffic,
}

impl TilingGoal {
    pub(crate) const WORDS: [(&'static str, TilingGoal); 2] =
        [("fewest-cycles", TilingGoal::FewestCycles), ("least-traffic", TilingGoal::LeastTraffic)];
}

/// The loops of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tiled {
    pub groups: u64,
    pub batch: u64,
    pub out_h: u64,
    pub out_w: u64,
    /// Input channels that are summed.
    pub in_channels: u64,
    pub out_channels: u64,
    pub kernel_area: u64,
    pub stride_h: u64,
    pub stride_w: u64,
    pub extent_h: u64,
    pub extent_w: u64,
    /// Output channels that read one input channel each; 0 when all read all.
    pub channel_multiplier: u64,
}

impl Tiled {
    pub fn of(shape: &Shape) -> Self {
        let depthwise = shape.is_depthwise();
        Self {
            groups: if depthwise { 1 } else { shape.groups },
            batch: shape.batch,
            out_h: shape.out_h,
            out_w: shape.out_w,
            in_channels: if depthwise { 1 } else { shape.in_channels / shape.groups },
            out_channels: if depthwise { shape.out_channels } else { shape.outputs },
            kernel_area: shape.kernel_area(),
            stride_h: shape.stride_h,
            stride_w: shape.stride_w,
            extent_h: shape.extent_h,
            extent_w: shape.extent_w,
            channel_multiplier: if depthwise { shape.outputs } else { 0 },
        }
    }

    /// Turns kernel positions into channels: the input is stored unfolded.
    pub fn unfold(&mut self, reduction: u64) {
        self.in_channels = reduction;
        self.kernel_area = 1;
        (self.stride_h, self.stride_w, self.extent_h, self.extent_w) = (1, 1, 1, 1);
    }
}
