//! What crosses the chip's edge when nothing is kept between folds but what fits a buffer.
//!
//! The convention of SCALE-Sim v3, here to be compared with it: every number is a word of one
//! width, partial sums are written and never read back, layers share nothing.

use std::collections::BTreeMap;

use super::{Dataflow, SystolicArray};
use crate::shape::Shape;

/// Elements one group of a layer moves, before buffers of a given width are known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PerFoldLayer {
    groups: u64,
    cols: u64,
    weights: u64,
    /// Times the weights are read when they do not fit.
    weight_rereads: u64,
    /// Inputs any position touches, and inputs read fold by fold.
    touched_inputs: u64,
    refetched_inputs: u64,
    written: u64,
}

/// Elements that cross for the whole layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PerFoldElements {
    pub weights: u64,
    pub inputs: u64,
    pub outputs: u64,
}

impl SystolicArray {
    pub(crate) fn per_fold(&self, shape: &Shape) -> PerFoldLayer {
        let (p, k, n) = (shape.positions, shape.reduction, shape.outputs);
        let reduction_folds = k.div_ceil(self.rows);
        let touched = touched_inputs(shape);
        let stationary = self.dataflow != Dataflow::OutputStationary;
        PerFoldLayer {
            groups: shape.groups,
            cols: self.cols,
            weights: k * n,
            weight_rereads: match self.dataflow {
                Dataflow::InputStationary => p.div_ceil(self.cols),
                _ => 1,
            },
            touched_inputs: touched,
            refetched_inputs: match self.dataflow {
                Dataflow::WeightStationary | Dataflow::Auto => {
                    n.div_ceil(self.cols) * inputs_of_folds(shape, self.rows)
                }
                _ => touched,
            },
            written: p * n * if stationary { reduction_folds } else { 1 },
        }
    }
}

impl PerFoldLayer {
    /// - `[weights, inputs, outputs]`: elements half of each buffer holds
    pub fn elements(&self, [weights, inputs, outputs]: [f64; 3]) -> PerFoldElements {
        let fits = |elements: u64, room: f64| (elements as f64) < room;
        let weight_passes = if fits(self.weights, weights) { 1 } else { self.weight_rereads };
        let read = match fits(self.touched_inputs, inputs) {
            true => self.touched_inputs,
            false => self.refetched_inputs,
        };
        // The tool drains whole lines, and one more when lines fill the buffer exactly.
        let overflows = self.written as f64 > outputs;
        let drained_line = overflows && outputs % self.cols as f64 == 0.0;
        PerFoldElements {
            weights: self.groups * self.weights * weight_passes,
            inputs: self.groups * read,
            outputs: self.groups * (self.written + if drained_line { self.cols - 1 } else { 0 }),
        }
    }
}

/// Inputs of one group that any kernel position of any image touches.
fn touched_inputs(shape: &Shape) -> u64 {
    let channels = shape.in_channels / shape.groups;
    let along = |outputs: u64, stride: u64, extent: u64| {
        if stride >= extent { outputs * extent } else { (outputs - 1) * stride + extent }
    };
    shape.batch
        * channels
        * along(shape.out_h, shape.stride_h, shape.extent_h)
        * along(shape.out_w, shape.stride_w, shape.extent_w)
}

/// Inputs touched by each slice of `rows` consecutive products of a reduction, summed over
/// the slices. Products run over kernel rows, then kernel columns, then channels.
fn inputs_of_folds(shape: &Shape, rows: u64) -> u64 {
    let channels = shape.in_channels / shape.groups;
    let mut touched_by_run: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    let mut sum = 0;
    for first in (0..shape.reduction).step_by(rows as usize) {
        let end = (first + rows).min(shape.reduction);
        for (run, channels) in kernel_runs(first, end, channels) {
            let touched =
                *touched_by_run.entry(run).or_insert_with(|| touched_by_kernel_run(shape, run));
            sum += channels * touched;
        }
    }
    shape.batch * sum
}

/// For products `first..end`, the run of kernel positions (first, last) each channel takes
/// part with, and how many channels share the run.
fn kernel_runs(first: u64, end: u64, channels: u64) -> Vec<((u64, u64), u64)> {
    let last = end - 1;
    // The run changes where the channel of the first product, or of the last one, is passed.
    let mut bounds = vec![0, first % channels, last % channels + 1, channels];
    bounds.sort_unstable();
    bounds.dedup();
    let run = |channel: u64| {
        let from = first / channels + u64::from(channel < first % channels);
        let to = (last / channels).checked_sub(u64::from(channel > last % channels))?;
        (from <= to).then_some((from, to))
    };
    bounds
        .windows(2)
        .filter_map(|stretch| Some((run(stretch[0])?, stretch[1] - stretch[0])))
        .collect()
}

/// Elements of one channel that a run of kernel positions touches in one image.
fn touched_by_kernel_run(shape: &Shape, (first, last): (u64, u64)) -> u64 {
    let positions = shape.out_h * shape.out_w;
    if first == last {
        return positions;
    }
    let dilation = |extent: u64, kernel: u64| (extent - 1).checked_div(kernel - 1).unwrap_or(1);
    let (dilation_h, dilation_w) =
        (dilation(shape.extent_h, shape.kernel_h), dilation(shape.extent_w, shape.kernel_w));
    let in_w = (shape.out_w - 1) * shape.stride_w + shape.extent_w;
    // What one output row touches in an input row depends on the kernel columns only.
    let mut columns_by_row: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for position in first..=last {
        let (row, column) = (position / shape.kernel_w, position % shape.kernel_w);
        for out_row in 0..shape.out_h {
            let in_row = out_row * shape.stride_h + row * dilation_h;
            let columns = columns_by_row.entry(in_row).or_default();
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
    }
    let mut known: BTreeMap<Vec<u64>, u64> = BTreeMap::new();
    let touched = |columns: &Vec<u64>| {
        let mut seen = vec![false; in_w as usize];
        for column in columns {
            for out_column in 0..shape.out_w {
                seen[(out_column * shape.stride_w + column * dilation_w) as usize] = true;
            }
        }
        seen.into_iter().filter(|seen| *seen).count() as u64
    };
    columns_by_row
        .into_values()
        .map(|mut columns| {
            columns.sort_unstable();
            *known.entry(columns.clone()).or_insert_with(|| touched(&columns))
        })
        .sum()
}
