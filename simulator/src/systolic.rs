//! Cycles and buffer accesses of a fixed-width systolic array.
//!
//! The cycle counts are those of SCALE-Sim (Samajdar et al., ISPASS 2020): a layer is cut into
//! folds that fill the array, and each fold loads, streams, skews and drains.

mod per_fold;

pub(crate) use per_fold::PerFoldLayer;

use crate::shape::Shape;

/// Which operand stays in the array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dataflow {
    WeightStationary,
    OutputStationary,
    InputStationary,
    /// The one with the fewest cycles, layer by layer.
    Auto,
}

impl Dataflow {
    pub(crate) const WORDS: [(&'static str, Dataflow); 4] = [
        ("ws", Dataflow::WeightStationary),
        ("os", Dataflow::OutputStationary),
        ("is", Dataflow::InputStationary),
        ("auto", Dataflow::Auto),
    ];
}

/// What filling and draining the array costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Every fold pays for loading, skew and drain.
    PerFold,
    /// Loading the next fold hides behind the stream of this one.
    Pipelined,
    None,
}

impl Fill {
    pub(crate) const WORDS: [(&'static str, Fill); 3] =
        [("per-fold", Fill::PerFold), ("pipelined", Fill::Pipelined), ("none", Fill::None)];
}

/// How a convolution with one input channel a group uses the array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DepthwiseMapping {
    /// One small matrix product after the other.
    PerChannel,
    /// As many channels at once as fit in block-diagonal form.
    Packed,
    /// On a vector unit beside the array.
    Vector,
}

impl DepthwiseMapping {
    pub(crate) const WORDS: [(&'static str, DepthwiseMapping); 3] = [
        ("per-channel", DepthwiseMapping::PerChannel),
        ("packed", DepthwiseMapping::Packed),
        ("vector", DepthwiseMapping::Vector),
    ];
}

/// What is read from outside the chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoldTraffic {
    /// What the best tiling of the layer moves.
    Tiled,
    /// What SCALE-Sim counts: no reuse between folds but what fits a buffer.
    PerFold,
}

impl FoldTraffic {
    pub(crate) const WORDS: [(&'static str, FoldTraffic); 2] =
        [("tiled", FoldTraffic::Tiled), ("per-fold", FoldTraffic::PerFold)];
}

/// A grid of multiply-accumulators.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SystolicArray {
    pub rows: u64,
    pub cols: u64,
    /// Products summed inside one element a cycle.
    pub dot_width: u64,
    pub dataflow: Dataflow,
    pub fill: Fill,
    pub depthwise: DepthwiseMapping,
    /// Multiply-accumulates a cycle of the vector unit.
    pub vector_lanes: u64,
    pub traffic: FoldTraffic,
    pub acc_bits: u64,
}

/// How one layer runs on the array, at one pass of its native width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mapping {
    pub cycles: u64,
    pub folds: f64,
    /// Elements that enter and leave the array.
    pub weight_reads: f64,
    pub input_reads: f64,
    pub partial_sum_writes: f64,
    pub partial_sum_reads: f64,
}

impl SystolicArray {
    pub(crate) fn map(&self, shape: &Shape) -> Mapping {
        if !shape.is_depthwise() {
            return self.map_dense(shape);
        }
        match self.depthwise {
            DepthwiseMapping::PerChannel => self.map_dense(shape),
            DepthwiseMapping::Packed => {
                let packed = self.map_packed(shape);
                let one_by_one = self.map_dense(shape);
                if packed.cycles <= one_by_one.cycles { packed } else { one_by_one }
            }
            DepthwiseMapping::Vector => self.map_vector(shape),
        }
    }

    fn map_dense(&self, shape: &Shape) -> Mapping {
        match self.dataflow {
            Dataflow::Auto => {
                [Dataflow::WeightStationary, Dataflow::OutputStationary, Dataflow::InputStationary]
                    .map(|dataflow| self.map_groups(shape, dataflow))
                    .into_iter()
                    .min_by_key(|mapping| mapping.cycles)
                    .expect("there are three dataflows")
            }
            dataflow => self.map_groups(shape, dataflow),
        }
    }

    /// The matrix products of all groups, one after the other.
    fn map_groups(&self, shape: &Shape, dataflow: Dataflow) -> Mapping {
        let (p, k, n) = (shape.positions, shape.reduction.div_ceil(self.dot_width), shape.outputs);
        let (rows, cols, groups) = (self.rows, self.cols, shape.groups);
        let reduction_folds = k.div_ceil(rows);
        match dataflow {
            Dataflow::WeightStationary | Dataflow::Auto => {
                let output_folds = n.div_ceil(cols);
                let folds = groups * reduction_folds * output_folds;
                Mapping {
                    cycles: self.cycles(folds, p, true),
                    folds: folds as f64,
                    weight_reads: shape.weights as f64,
                    input_reads: (groups * p * shape.reduction * output_folds) as f64,
                    partial_sum_writes: (groups * p * n * reduction_folds) as f64,
                    partial_sum_reads: (groups * p * n * (reduction_folds - 1)) as f64,
                }
            }
            Dataflow::InputStationary => {
                let position_folds = p.div_ceil(cols);
                let folds = groups * reduction_folds * position_folds;
                Mapping {
                    cycles: self.cycles(folds, n, true),
                    folds: folds as f64,
                    weight_reads: (shape.weights * position_folds) as f64,
                    input_reads: (groups * p * shape.reduction) as f64,
                    partial_sum_writes: (groups * p * n * reduction_folds) as f64,
                    partial_sum_reads: (groups * p * n * (reduction_folds - 1)) as f64,
                }
            }
            Dataflow::OutputStationary => {
                let (position_folds, output_folds) = (p.div_ceil(rows), n.div_ceil(cols));
                let folds = groups * position_folds * output_folds;
                Mapping {
                    cycles: self.cycles(folds, k, false),
                    folds: folds as f64,
                    weight_reads: (shape.weights * position_folds) as f64,
                    input_reads: (groups * p * shape.reduction * output_folds) as f64,
                    partial_sum_writes: (groups * p * n) as f64,
                    partial_sum_reads: 0.0,
                }
            }
        }
    }

    /// Cycles of `folds` folds that stream `stream` vectors each; `loaded` when an operand is
    /// loaded into the array before the stream.
    fn cycles(&self, folds: u64, stream: u64, loaded: bool) -> u64 {
        let load = if loaded { self.rows } else { 0 };
        let skew_and_drain = self.rows + self.cols - 2;
        match self.fill {
            Fill::None => folds * stream,
            Fill::PerFold => folds * (load + stream + skew_and_drain),
            Fill::Pipelined => folds * stream.max(load) + load + skew_and_drain,
        }
    }

    /// Depthwise channels side by side: each takes its kernel's rows and its own columns.
    fn map_packed(&self, shape: &Shape) -> Mapping {
        let k = shape.reduction.div_ceil(self.dot_width);
        let channels = (self.rows / k).min(self.cols / shape.outputs).max(1).min(shape.groups);
        // A channel too large for the array is cut as any matrix product is.
        let folds_of_one = k.div_ceil(self.rows) * shape.outputs.div_ceil(self.cols);
        let folds = shape.groups.div_ceil(channels) * folds_of_one;
        let results = shape.out_elements;
        Mapping {
            cycles: self.cycles(folds, shape.positions, true),
            folds: folds as f64,
            weight_reads: shape.weights as f64,
            input_reads: (shape.positions
                * shape.reduction
                * shape.groups
                * shape.outputs.div_ceil(self.cols)) as f64,
            partial_sum_writes: (results * k.div_ceil(self.rows)) as f64,
            partial_sum_reads: (results * (k.div_ceil(self.rows) - 1)) as f64,
        }
    }

    fn map_vector(&self, shape: &Shape) -> Mapping {
        Mapping {
            cycles: shape.macs.div_ceil(self.vector_lanes),
            folds: 1.0,
            weight_reads: shape.weights as f64,
            input_reads: shape.macs as f64,
            partial_sum_writes: shape.out_elements as f64,
            partial_sum_reads: 0.0,
        }
    }

    /// Multiply-accumulates a cycle at the native width.
    pub fn peak_macs_per_cycle(&self) -> u64 {
        self.rows * self.cols * self.dot_width
    }
}
