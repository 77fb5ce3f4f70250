//! Cycles of an array of fusion units, multipliers that split into narrower ones.
//!
//! Source: BitFusion (Sharma et al., ISCA 2018) and the tiling its simulator searches.

use crate::{
    precision::Promotion,
    shape::Shape,
    tiling::{Tiled, TilingGoal},
};

/// `rows` fusion units sum into one of `cols` columns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FusionArray {
    pub rows: u64,
    pub cols: u64,
    /// Whether the host unfolds the input of the first layer, so that its few channels fill
    /// the rows together with the kernel positions.
    pub first_layer_im2col: bool,
    /// Whether a partial sum that leaves the chip is also read back, the first one included.
    pub acc_roundtrip: bool,
    /// Whether stored weights are padded to whole rows along the reduction.
    pub pad_weights: bool,
    pub tiling: TilingGoal,
    pub acc_bits: u64,
}

impl FusionArray {
    /// The loops of a layer as this array tiles them.
    pub(crate) fn loops(&self, shape: &Shape) -> Tiled {
        let mut loops = Tiled::of(shape);
        if self.unfolds(shape) {
            loops.unfold(shape.reduction);
        }
        loops
    }

    fn unfolds(&self, shape: &Shape) -> bool {
        self.first_layer_im2col && shape.first && !shape.is_depthwise() && shape.groups == 1
    }

    /// Products along the reduction that one column sums in a cycle.
    pub(crate) fn lanes(&self, promotion: &Promotion) -> u64 {
        self.rows * promotion.rate as u64
    }

    /// Multiply-accumulates a cycle at promoted widths.
    pub(crate) fn macs_per_cycle(&self, promotion: &Promotion) -> u64 {
        self.lanes(promotion) * self.cols
    }
}
