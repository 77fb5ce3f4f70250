//! The grids of one layer's weights: one a channel, one for all, or channels with bits of their
//! own.

use serde::{Deserialize, Serialize};

use crate::{
    domain::Bits,
    quantization::{
        aciq::{allocate_bits, mean_and_spread},
        clip::{WeightClip, WeightRule, weight_grid},
        layer_matrix::WeightRows,
        moments::Moments,
        uniform::WeightGrid,
    },
};

/// What has a grid of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// Each output channel.
    #[default]
    Channel,
    /// Each layer.
    Tensor,
    /// Each output channel, with bits of its own up to 4 bits of the layer: their mean is the
    /// layer's, and a channel of no bits is 0.
    AllocatedChannel,
}

/// Bits of a layer above which channels share none out. Source: the authors' program of ACIQ.
const MOST_ALLOCATED_BITS: u8 = 4;

/// One grid a row.
///
/// - `moments`: of the layer's input
pub fn weight_grids(
    rows: &WeightRows,
    moments: &Moments,
    granularity: Granularity,
    rule: WeightRule,
    bits: Bits,
) -> Vec<WeightGrid> {
    let importance: Vec<Vec<f32>> = (0..rows.n_groups)
        .map(|group| match rule.clip {
            WeightClip::Mse => moments.mean_squares(group),
            _ => Vec::new(),
        })
        .collect();
    let importance = |row: usize| importance[rows.group_of(row)].as_slice();
    let of_row = |row: usize, bits| weight_grid(rule, bits, rows.row(row), importance(row));
    match granularity {
        Granularity::Tensor => {
            let all: Vec<f32> = (0..rows.n_rows).flat_map(importance).copied().collect();
            vec![weight_grid(rule, bits, &rows.values, &all); rows.n_rows]
        }
        Granularity::AllocatedChannel if bits.get() <= MOST_ALLOCATED_BITS => {
            let spreads: Vec<f64> =
                (0..rows.n_rows).map(|row| mean_and_spread(rows.row(row)).1).collect();
            let allocated = allocate_bits(&spreads, bits.get().into());
            let grids = allocated.iter().enumerate().map(|(row, &bits)| {
                let bits = Bits::new(bits as u8);
                bits.map_or_else(WeightGrid::zero, |bits| of_row(row, bits))
            });
            grids.collect()
        }
        Granularity::Channel | Granularity::AllocatedChannel => {
            (0..rows.n_rows).map(|row| of_row(row, bits)).collect()
        }
    }
}
