//! What each family's array does with one layer at one choice of widths.

use super::{Case, Device, Outside, Run, Work};
use crate::{
    bit_serial::{BitSerialArray, StreamedLayer},
    fusion::FusionArray,
    profile::Compute,
    systolic::{Mapping, PerFoldLayer, SystolicArray},
    tensor_core::TensorCoreArray,
    tiling::{Plan, Plans, TileWidths, TilingGoal},
    traffic::{Flow, LayerTraffic},
};

impl Device {
    #[inline(always)]
    pub(super) fn run(&self, case: &Case<'_>, work: &Work) -> Run {
        match (work, &self.array) {
            (Work::Systolic(mapping, outside), Compute::Systolic(array)) => {
                self.run_systolic(case, array, mapping, outside)
            }
            (Work::TensorCore, Compute::TensorCore(array)) => self.run_tensor_core(case, array),
            (Work::Fusion(plans), Compute::Fusion(array)) => self.run_fusion(case, array, plans),
            (Work::Streamed(layer), Compute::BitSerial(array)) => {
                self.run_streamed(case, array, layer)
            }
            (Work::Buffered(plans), Compute::BitSerial(array)) => {
                self.run_buffered(case, array, plans)
            }
            _ => unreachable!("layers are prepared by the device that costs them"),
        }
    }

    #[inline(always)]
    fn run_systolic(
        &self,
        case: &Case<'_>,
        array: &SystolicArray,
        mapping: &Mapping,
        outside: &Outside,
    ) -> Run {
        let promotion = case.promotion;
        let compute_cycles = match (promotion.passes, promotion.rate) {
            (1, 1.0) => mapping.cycles,
            (passes, rate) => ((mapping.cycles * passes) as f64 / rate).ceil() as u64,
        };
        let once = case.once();
        let mut between = once;
        let fetched = mapping.input_reads * case.input_bits;
        let input_bits = case.counts.inputs * case.input_bits;
        if input_bits > self.input_buffer_bits {
            // An input that does not fit beside the array is fetched again for every fold
            // that reads it.
            between.inputs = once.inputs.max(fetched.min(input_bits * mapping.folds));
        }
        let furthest = match outside {
            Outside::Weights if self.caches_weights => Flow::default(),
            Outside::Weights => Flow { weights: once.weights, ..Flow::default() },
            Outside::Tiled(plans) => self.planned(case, plans.at(&self.tiles, case.tile(1, 1))),
            Outside::PerFold(layer) => self.fold_by_fold(case, layer),
        };
        let traffic = LayerTraffic {
            array: Flow {
                weights: mapping.weight_reads * case.weight_bits,
                inputs: fetched,
                sums_in: mapping.partial_sum_reads * self.acc_bits,
                sums_out: mapping.partial_sum_writes * self.acc_bits,
            },
            between,
            furthest,
        };
        let first = array.rows as f64 * (array.cols as f64 * case.weight_bits + case.input_bits);
        let peak = array.peak_macs_per_cycle() as f64 * promotion.macs_per_pass();
        self.start_early(compute_cycles, first, peak, case.counts.macs, traffic)
    }

    fn run_tensor_core(&self, case: &Case<'_>, array: &TensorCoreArray) -> Run {
        let (shape, counts, promotion) = (case.shape, case.counts, case.promotion);
        let width = promotion.bits.weight;
        let (tile_m, tile_n) = array.tile(shape);
        let mut furthest = case.once();
        if array.writes_accumulators {
            furthest.sums_out = counts.outputs * self.acc_bits;
        }
        let reread = |tiles: u64| tiles as f64;
        let traffic = LayerTraffic {
            array: Flow {
                // A tile shares its weights among positions, its inputs among channels.
                weights: counts.macs / tile_m as f64 * case.weight_bits,
                inputs: counts.macs / tile_n as f64 * case.input_bits,
                sums_out: counts.outputs * self.acc_bits,
                ..Flow::default()
            },
            between: Flow {
                weights: furthest.weights * reread(shape.positions.div_ceil(tile_m)),
                inputs: furthest.inputs * reread(shape.outputs.div_ceil(tile_n)),
                ..furthest
            },
            furthest,
        };
        let compute_cycles = array.cycles(shape, width) * promotion.passes;
        let memory_cycles = self.levels.cycles(&traffic) / array.mem_efficiency;
        // Depthwise layers do not use the tensor cores, whose efficiency differs by width.
        let of_width = array.efficiency(width).filter(|_| !shape.is_depthwise());
        let busy_cycles = compute_cycles as f64 / of_width.unwrap_or(self.efficiency);
        let peak = match shape.is_depthwise() {
            true => array.depthwise_macs_per_cycle(),
            false => array.macs_per_cycle(width),
        };
        Run {
            compute_cycles,
            busy_cycles,
            memory_cycles,
            total_cycles: busy_cycles.max(memory_cycles),
            peak_macs_per_cycle: peak / promotion.passes as f64,
            charged_macs: counts.macs,
            traffic,
        }
    }

    fn run_fusion(&self, case: &Case<'_>, array: &FusionArray, plans: &Plans) -> Run {
        let (counts, promotion) = (case.counts, case.promotion);
        let lanes = array.lanes(promotion);
        let plan = plans.at(&self.tiles, case.tile(lanes, promotion.passes));
        let sums = counts.outputs * plan.input_tiles as f64 * self.acc_bits;
        let traffic = LayerTraffic {
            array: Flow {
                weights: counts.macs * case.weight_bits,
                inputs: counts.macs * case.input_bits,
                sums_in: sums,
                sums_out: sums,
            },
            between: case.once(),
            furthest: self.planned(case, plan),
        };
        let per_cycle = array.macs_per_cycle(promotion) as f64 / promotion.passes as f64;
        // All units switch in every cycle, whatever share of them has work.
        let charged = plan.compute_cycles as f64 * per_cycle;
        if array.tiling == TilingGoal::LeastTraffic {
            let first =
                array.rows as f64 * (array.cols as f64 * case.weight_bits + case.input_bits);
            return self.start_early(plan.compute_cycles, first, per_cycle, charged, traffic);
        }
        // The blocks of the first tiles are there before the array starts, the last results
        // leave after it has ended.
        let cycles = |bits: f64| (bits / self.tiles.bits_per_cycle).ceil();
        let (first, last) = (plan.first_bits, plan.last_bits);
        let memory_cycles = self.levels.cycles(&traffic);
        let hidden = cycles((traffic.furthest.bits() - first - last).max(0.0));
        let busy_cycles = plan.compute_cycles as f64 / self.efficiency;
        let total = self.overlap(busy_cycles, hidden) + cycles(first) + cycles(last);
        Run {
            compute_cycles: plan.compute_cycles,
            busy_cycles,
            memory_cycles,
            total_cycles: total.max(memory_cycles),
            peak_macs_per_cycle: per_cycle,
            charged_macs: charged,
            traffic,
        }
    }

    #[inline(always)]
    fn run_streamed(&self, case: &Case<'_>, array: &BitSerialArray, layer: &StreamedLayer) -> Run {
        let bits = case.promotion.bits;
        let cycles = layer.cycles(bits, self.efficiency);
        let words = cycles.compute as f64 * array.dot_width as f64;
        let streamed = Flow {
            weights: layer.weight_word_bits * f64::from(bits.weight.get()),
            inputs: layer.activation_word_bits * f64::from(bits.activation.get()),
            sums_out: case.counts.outputs * case.output_bits,
            ..Flow::default()
        };
        let traffic = LayerTraffic {
            array: Flow {
                weights: words * array.cols as f64,
                inputs: words * array.rows as f64,
                sums_out: case.counts.outputs * self.acc_bits,
                ..Flow::default()
            },
            between: streamed,
            furthest: streamed,
        };
        let transfer = self.levels.cycles(&traffic);
        Run {
            compute_cycles: cycles.compute,
            busy_cycles: cycles.compute as f64 / self.efficiency,
            memory_cycles: transfer.max(cycles.load as f64),
            total_cycles: cycles.total.max(transfer),
            peak_macs_per_cycle: array.macs_per_cycle(bits),
            charged_macs: case.counts.macs,
            traffic,
        }
    }

    fn run_buffered(&self, case: &Case<'_>, array: &BitSerialArray, plans: &Plans) -> Run {
        let macs = case.counts.macs;
        let plan = plans.at(&self.tiles, case.tile(1, 1));
        let traffic = LayerTraffic {
            array: Flow {
                // A row shares its weights among positions, a column its inputs among filters.
                weights: macs / array.rows as f64 * case.weight_bits,
                inputs: macs / array.cols as f64 * case.input_bits,
                sums_out: case.counts.outputs * self.acc_bits,
                ..Flow::default()
            },
            between: case.once(),
            furthest: self.planned(case, plan),
        };
        let bits = case.promotion.bits;
        let first = array.dot_width as f64
            * (array.cols as f64 * case.weight_bits + array.rows as f64 * case.input_bits);
        let compute_cycles = array.buffered_cycles(case.shape, bits);
        self.start_early(compute_cycles, first, array.macs_per_cycle(bits), macs, traffic)
    }

    /// A run whose array starts with the first vectors and then computes while data move.
    #[inline(always)]
    fn start_early(
        &self,
        compute_cycles: u64,
        first_bits: f64,
        peak_macs_per_cycle: f64,
        charged_macs: f64,
        traffic: LayerTraffic,
    ) -> Run {
        let memory_cycles = self.levels.cycles(&traffic);
        // Nothing is waited for when nothing comes from outside.
        let first = first_bits.min(traffic.furthest.inwards()) / self.tiles.bits_per_cycle;
        let busy_cycles = compute_cycles as f64 / self.efficiency;
        Run {
            compute_cycles,
            busy_cycles,
            memory_cycles,
            total_cycles: self.overlap(busy_cycles, memory_cycles) + first,
            peak_macs_per_cycle,
            charged_macs,
            traffic,
        }
    }

    /// Computing and transfers at once with double buffers, one after the other without.
    #[inline]
    fn overlap(&self, busy: f64, memory: f64) -> f64 {
        if self.levels.overlapped { busy.max(memory) } else { busy + memory }
    }

    /// What SCALE-Sim counts across the furthest level.
    fn fold_by_fold(&self, case: &Case<'_>, layer: &PerFoldLayer) -> Flow {
        let [weights, inputs, outputs] = self.tiles.buffer_bits;
        let elements = layer.elements([
            weights / case.weight_bits,
            inputs / case.input_bits,
            outputs / case.output_bits,
        ]);
        Flow {
            weights: elements.weights as f64 * case.weight_bits,
            inputs: elements.inputs as f64 * case.input_bits,
            sums_out: elements.outputs as f64 * case.output_bits,
            ..Flow::default()
        }
    }

    /// What a plan moves across the furthest level.
    #[inline]
    fn planned(&self, case: &Case<'_>, plan: &Plan) -> Flow {
        let (read, written) = plan.output_bits(&self.tiles, case.widths.out);
        Flow {
            weights: plan.weight_bits,
            inputs: plan.input_bits + case.counts.skip * case.output_bits,
            sums_in: read,
            sums_out: written,
        }
    }
}

impl Case<'_> {
    /// Every operand across a level once.
    #[inline]
    fn once(&self) -> Flow {
        Flow {
            weights: self.counts.weights * self.weight_bits,
            inputs: self.counts.inputs * self.input_bits + self.counts.skip * self.output_bits,
            sums_out: self.counts.outputs * self.output_bits,
            ..Flow::default()
        }
    }

    #[inline]
    fn tile(&self, lanes: u64, passes: u64) -> TileWidths {
        TileWidths { stored: self.widths.stored, lanes, passes }
    }
}
