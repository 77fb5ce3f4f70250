//! One profile, made ready to cost layers: what happens to each layer at any widths.

use crate::{
    bit_serial::{BitSerialArray, StreamedLayer},
    bits::{Bits, LayerBits},
    cost::{Bound, LayerCost},
    energy::EnergyModel,
    fusion::FusionArray,
    precision::{Precision, Promotion},
    profile::{Compute, HardwareProfile},
    roofline::Roofline,
    shape::Shape,
    systolic::{FoldTraffic, Mapping, PerFoldLayer, SystolicArray},
    tensor_core::TensorCoreArray,
    tiling::{Plan, Plans, TileDevice, TileWidths, Tiled, TilingGoal},
    traffic::{LayerTraffic, Levels, Traffic},
};

/// The numbers of a profile that costing needs, in the units costing works in.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    array: Compute,
    precision: Precision,
    levels: Levels,
    energy: EnergyModel,
    efficiency: f64,
    clock_hz: f64,
    idle_w: f64,
    per_layer_overhead_s: f64,
    tiles: TileDevice,
    /// Whether activations never leave the chip, and whether weights are cached there.
    keeps_activations: bool,
    caches_weights: bool,
    /// Bits of inputs the level next to the array holds.
    input_buffer_bits: f64,
    row_align_bits: u64,
}

/// A layer with everything worked out that no bitwidth changes.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub shape: Shape,
    work: Work,
}

#[derive(Debug, Clone)]
enum Work {
    Systolic(Mapping, Outside),
    TensorCore,
    Fusion(Plans),
    Streamed(StreamedLayer),
    Buffered(Plans),
}

/// What a systolic array fetches from outside the chip.
#[derive(Debug, Clone)]
enum Outside {
    /// Weights, unless they are cached; activations stay on the chip.
    Weights,
    Tiled(Plans),
    PerFold(PerFoldLayer),
}

/// Widths of one layer's tensors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Widths {
    pub asked: LayerBits,
    /// As stored: weights, input, result.
    pub stored: LayerBits,
    pub out: Bits,
}

/// What an array does with one layer.
struct Run {
    /// At the peak rate, and at the rate that is reached.
    compute_cycles: u64,
    busy_cycles: f64,
    memory_cycles: f64,
    total_cycles: f64,
    /// Multiply-accumulates a cycle at these widths, every element busy.
    peak_macs_per_cycle: f64,
    /// Multiplications that are paid for.
    charged_macs: f64,
    traffic: LayerTraffic,
}

impl Device {
    pub fn new(profile: &HardwareProfile) -> Self {
        let on_chip = profile.on_chip();
        let nearest = profile.nearest();
        let array = profile.compute().clone();
        let (cols, acc_bits, fusion) = match &array {
            Compute::Systolic(array) => (array.cols, array.acc_bits, None),
            Compute::TensorCore(array) => (array.tile_n, array.acc_bits, None),
            Compute::Fusion(array) => (array.cols, array.acc_bits, Some(*array)),
            Compute::BitSerial(array) => (array.cols, array.acc_bits, None),
        };
        let tiles = TileDevice {
            buffer_bits: [
                on_chip.usable_weight_bits(),
                on_chip.usable_input_bits(),
                on_chip.usable_output_bits(),
            ],
            bits_per_cycle: profile
                .furthest()
                .bits_per_cycle
                .expect("the furthest level has a bandwidth"),
            cols,
            acc_bits,
            acc_roundtrip: fusion.is_some_and(|array| array.acc_roundtrip),
            pad_weights: fusion.is_some_and(|array| array.pad_weights),
            efficiency: profile.efficiency,
            goal: fusion.map_or(TilingGoal::LeastTraffic, |array| array.tiling),
        };
        Self {
            array,
            precision: profile.precision().clone(),
            levels: Levels::of(profile),
            energy: *profile.energy(),
            efficiency: profile.efficiency,
            clock_hz: profile.clock_hz,
            idle_w: profile.idle_power_w * profile.energy().leak_scale,
            per_layer_overhead_s: profile.per_layer_overhead_s,
            tiles,
            keeps_activations: profile.memory().iter().any(|level| level.keeps_activations),
            caches_weights: profile.host_link().is_some(),
            input_buffer_bits: nearest.usable_input_bits(),
            row_align_bits: profile.furthest().row_align_bits,
        }
    }

    /// Idle power, watts.
    pub fn idle_w(&self) -> f64 {
        self.idle_w
    }

    /// Energy of reading so many bytes from the furthest level, in picojoules.
    pub fn furthest_read_pj(&self, bytes: u64) -> f64 {
        self.levels.furthest_read_pj_per_bit() * bytes as f64 * 8.0
    }

    pub fn precision(&self) -> &Precision {
        &self.precision
    }

    pub fn prepare(&self, shape: Shape) -> Prepared {
        let work = match &self.array {
            Compute::Systolic(array) => {
                let outside = match array.traffic {
                    _ if self.keeps_activations => Outside::Weights,
                    FoldTraffic::Tiled => Outside::Tiled(Plans::new(Tiled::of(&shape))),
                    FoldTraffic::PerFold => Outside::PerFold(array.per_fold(&shape)),
                };
                Work::Systolic(array.map(&shape), outside)
            }
            Compute::TensorCore(_) => Work::TensorCore,
            Compute::Fusion(array) => Work::Fusion(Plans::new(array.loops(&shape))),
            Compute::BitSerial(array) => match array.operand_bits_per_cycle {
                Some(port_bits) => Work::Streamed(array.stream(&shape, port_bits)),
                None => Work::Buffered(Plans::new(Tiled::of(&shape))),
            },
        };
        Prepared { shape, work }
    }

    /// The widths of a layer whose result is read at `reader` bits.
    pub fn widths(&self, asked: LayerBits, reader: Bits) -> Widths {
        Widths {
            asked,
            stored: LayerBits::new(
                self.precision.stored_weight(asked.weight),
                self.precision.stored_activation(asked.activation),
            ),
            out: self.precision.stored_activation(reader),
        }
    }

    /// Bytes of a layer's weights, scales and bias as stored.
    pub fn weight_bytes(&self, shape: &Shape, weight: Bits) -> u64 {
        let width = u64::from(self.precision.stored_weight(weight).get());
        let align = self.row_align_bits.max(1);
        let planes = matches!(self.array, Compute::BitSerial(_));
        let row_bits = if planes {
            // Each bit plane of a filter is a vector of its own.
            shape.reduction.div_ceil(align) * align * width
        } else {
            (shape.reduction * width).div_ceil(align) * align
        };
        let scales = 4 * shape.out_channels * if shape.bias { 2 } else { 1 };
        (row_bits * shape.out_channels).div_ceil(8) + scales
    }

    pub fn layer_cost(&self, layer: &Prepared, widths: Widths) -> LayerCost {
        self.evaluate(layer, widths).0
    }

    /// The cost of a layer with its traffic, level by level, and its place under the roof.
    pub fn explain(&self, layer: &Prepared, widths: Widths) -> (LayerCost, Vec<Traffic>, Roofline) {
        let (cost, run) = self.evaluate(layer, widths);
        let levels = (0..self.levels.len()).map(|level| self.levels.at(level, &run.traffic));
        let reached = cost.compute_cycles as f64 / run.busy_cycles;
        let roofline = Roofline::new(
            layer.shape.macs as f64,
            run.traffic.furthest.bits() / 8.0,
            cost.latency_s,
            run.peak_macs_per_cycle * reached * self.clock_hz,
            self.bandwidth_bytes_per_s(),
        );
        (cost, levels.collect(), roofline)
    }

    /// Bytes a second that cross the furthest level at best.
    fn bandwidth_bytes_per_s(&self) -> f64 {
        let reached = match &self.array {
            Compute::TensorCore(array) => array.mem_efficiency,
            _ => 1.0,
        };
        self.tiles.bits_per_cycle * self.clock_hz / 8.0 * reached
    }

    fn evaluate(&self, layer: &Prepared, widths: Widths) -> (LayerCost, Run) {
        let shape = &layer.shape;
        let promotion = self.precision.promote(widths.asked);
        let run = match (&layer.work, &self.array) {
            (Work::Systolic(mapping, outside), Compute::Systolic(array)) => {
                self.run_systolic(array, shape, (mapping, outside), widths, promotion)
            }
            (Work::TensorCore, Compute::TensorCore(array)) => {
                self.run_tensor_core(array, shape, widths, promotion)
            }
            (Work::Fusion(plans), Compute::Fusion(array)) => {
                self.run_fusion(array, shape, plans, widths, promotion)
            }
            (Work::Streamed(mapping), Compute::BitSerial(array)) => {
                self.run_streamed(array, shape, mapping, widths, promotion)
            }
            (Work::Buffered(plans), Compute::BitSerial(array)) => {
                self.run_buffered(array, shape, plans, widths, promotion)
            }
            _ => unreachable!("layers are prepared by the device that costs them"),
        };
        let latency_s = run.total_cycles / self.clock_hz + self.per_layer_overhead_s;
        let mac_pj = self.energy.mac_pj(promotion, self.tiles.acc_bits);
        let dynamic_pj = run.charged_macs * mac_pj + self.levels.energy_pj(&run.traffic);
        let slots = run.busy_cycles * run.peak_macs_per_cycle;
        let memory_bound = run.memory_cycles > run.busy_cycles;
        let cost = LayerCost {
            cycles: run.total_cycles.ceil() as u64,
            compute_cycles: run.compute_cycles,
            memory_cycles: run.memory_cycles.ceil() as u64,
            latency_s,
            energy_j: dynamic_pj * 1e-12 + self.idle_w * latency_s,
            dram_bytes: (run.traffic.furthest.bits() / 8.0).ceil() as u64,
            size_bytes: self.weight_bytes(shape, widths.asked.weight),
            macs: shape.macs,
            utilization: (shape.macs as f64 / slots).min(1.0),
            bound: if memory_bound { Bound::Memory } else { Bound::Compute },
            promoted: promotion.bits,
        };
        (cost, run)
    }

    /// Computing and transfers at once, or one after the other, plus what cannot be hidden.
    fn overlap(&self, busy: f64, memory: f64, exposed: f64) -> f64 {
        if self.levels.overlapped { busy.max(memory) + exposed } else { busy + memory }
    }

    fn run_systolic(
        &self,
        array: &SystolicArray,
        shape: &Shape,
        (mapping, outside): (&Mapping, &Outside),
        widths: Widths,
        promotion: &Promotion,
    ) -> Run {
        let compute_cycles = scaled(mapping.cycles * promotion.passes, promotion.rate);
        let stored = Operands::of(widths);
        let acc = self.tiles.acc_bits as f64;
        let once = self.once(shape, widths);
        let mut traffic = LayerTraffic {
            array: Traffic {
                weights_read: mapping.weight_reads as f64 * stored.weight,
                inputs_read: mapping.input_reads as f64 * stored.input,
                outputs_read: mapping.partial_sum_reads as f64 * acc,
                outputs_written: mapping.partial_sum_writes as f64 * acc,
                ..Traffic::default()
            },
            between: once,
            furthest: Traffic::default(),
        };
        let input_bits = shape.in_elements as f64 * stored.input;
        if input_bits > self.input_buffer_bits {
            // An input that does not fit beside the array is fetched again for every fold
            // that reads it.
            let reread = mapping.input_reads as f64 * stored.input;
            traffic.between.inputs_read =
                traffic.between.inputs_read.max(reread.min(input_bits * mapping.folds as f64));
        }
        match outside {
            Outside::Weights if self.caches_weights => {}
            Outside::Weights => traffic.furthest.weights_read = once.weights_read,
            Outside::Tiled(plans) => {
                let widths_of_tile = TileWidths { stored: widths.stored, lanes: 1, passes: 1 };
                let plan = plans.at(&self.tiles, widths_of_tile);
                traffic.furthest = self.planned(plan, shape, widths);
            }
            Outside::PerFold(layer) => traffic.furthest = self.fold_by_fold(layer, stored),
        }
        let first = array.rows as f64 * (array.cols as f64 * stored.weight + stored.input);
        let peak = array.peak_macs_per_cycle() as f64 * promotion.rate / promotion.passes as f64;
        self.finish(compute_cycles, first, peak, shape.macs as f64, traffic)
    }

    fn run_tensor_core(
        &self,
        array: &TensorCoreArray,
        shape: &Shape,
        widths: Widths,
        promotion: &Promotion,
    ) -> Run {
        let width = promotion.bits.weight;
        let stored = Operands::of(widths);
        let (tile_m, tile_n) = array.tile(shape);
        let (inputs, weights) = (shape.in_elements as f64, shape.weights as f64);
        let mut furthest = self.once(shape, widths);
        if array.writes_accumulators {
            furthest.outputs_written = (shape.out_elements * array.acc_bits) as f64;
        }
        let macs = shape.macs as f64;
        let traffic = LayerTraffic {
            array: Traffic {
                // A tile shares its weights among positions, its inputs among channels.
                weights_read: macs / tile_m as f64 * stored.weight,
                inputs_read: macs / tile_n as f64 * stored.input,
                outputs_written: (shape.out_elements * array.acc_bits) as f64,
                ..Traffic::default()
            },
            between: Traffic {
                weights_read: weights * shape.positions.div_ceil(tile_m) as f64 * stored.weight,
                inputs_read: inputs * shape.outputs.div_ceil(tile_n) as f64 * stored.input,
                ..furthest
            },
            furthest,
        };
        let compute_cycles = array.cycles(shape, width) * promotion.passes;
        let memory_cycles = self.levels.cycles(&traffic) / array.mem_efficiency;
        // Depthwise layers do not use the tensor cores, whose efficiency differs by width.
        let of_width = array.efficiency(width).filter(|_| !shape.is_depthwise());
        let efficiency = of_width.unwrap_or(self.efficiency);
        let busy_cycles = compute_cycles as f64 / efficiency;
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
            charged_macs: macs,
            traffic,
        }
    }

    fn run_fusion(
        &self,
        array: &FusionArray,
        shape: &Shape,
        plans: &Plans,
        widths: Widths,
        promotion: &Promotion,
    ) -> Run {
        let lanes = array.lanes(promotion);
        let plan = plans
            .at(&self.tiles, TileWidths { stored: widths.stored, lanes, passes: promotion.passes });
        let stored = Operands::of(widths);
        let acc = self.tiles.acc_bits as f64;
        let macs = shape.macs as f64;
        let sums = (shape.out_elements * plan.input_tiles) as f64 * acc;
        let traffic = LayerTraffic {
            array: Traffic {
                weights_read: macs * stored.weight,
                inputs_read: macs * stored.input,
                outputs_read: sums,
                outputs_written: sums,
                ..Traffic::default()
            },
            between: self.once(shape, widths),
            furthest: self.planned(plan, shape, widths),
        };
        let per_cycle = array.macs_per_cycle(promotion) as f64 / promotion.passes as f64;
        // All units switch in every cycle, whatever share of them has work.
        let charged = plan.compute_cycles as f64 * per_cycle;
        if array.tiling == TilingGoal::LeastTraffic {
            let first = lanes as f64 * (array.cols as f64 * stored.weight + stored.input);
            return self.finish(plan.compute_cycles, first, per_cycle, charged, traffic);
        }
        let cycles = |bits: f64| (bits / self.tiles.bits_per_cycle).ceil();
        let (first, last) = (plan.first_bits, plan.last_bits);
        let memory_cycles = self.levels.cycles(&traffic);
        let hidden = cycles((traffic.furthest.bits() - first - last).max(0.0));
        let busy = plan.compute_cycles as f64 / self.efficiency;
        let total = self.overlap(busy, hidden, 0.0) + cycles(first) + cycles(last);
        Run {
            compute_cycles: plan.compute_cycles,
            busy_cycles: busy,
            memory_cycles,
            total_cycles: total.max(memory_cycles),
            peak_macs_per_cycle: per_cycle,
            charged_macs: charged,
            traffic,
        }
    }

    fn run_streamed(
        &self,
        array: &BitSerialArray,
        shape: &Shape,
        mapping: &StreamedLayer,
        widths: Widths,
        promotion: &Promotion,
    ) -> Run {
        let bits = promotion.bits;
        let cycles = mapping.cycles(bits, self.efficiency);
        let stored = Operands::of(widths);
        let acc = self.tiles.acc_bits as f64;
        let words = (cycles.compute * array.dot_width) as f64;
        let streamed = Traffic {
            weights_read: mapping.weight_word_bits as f64 * f64::from(bits.weight.get()),
            inputs_read: mapping.activation_word_bits as f64 * f64::from(bits.activation.get()),
            outputs_written: shape.out_elements as f64 * stored.output,
            ..Traffic::default()
        };
        let traffic = LayerTraffic {
            array: Traffic {
                weights_read: words * array.cols as f64,
                inputs_read: words * array.rows as f64,
                outputs_written: shape.out_elements as f64 * acc,
                ..Traffic::default()
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
            charged_macs: shape.macs as f64,
            traffic,
        }
    }

    fn run_buffered(
        &self,
        array: &BitSerialArray,
        shape: &Shape,
        plans: &Plans,
        widths: Widths,
        promotion: &Promotion,
    ) -> Run {
        let compute_cycles = array.buffered_cycles(shape, promotion.bits);
        let plan = plans.at(&self.tiles, TileWidths { stored: widths.stored, lanes: 1, passes: 1 });
        let stored = Operands::of(widths);
        let acc = self.tiles.acc_bits as f64;
        let macs = shape.macs as f64;
        let traffic = LayerTraffic {
            array: Traffic {
                // A row shares its weights among positions, a column its inputs among filters.
                weights_read: macs / array.rows as f64 * stored.weight,
                inputs_read: macs / array.cols as f64 * stored.input,
                outputs_written: shape.out_elements as f64 * acc,
                ..Traffic::default()
            },
            between: self.once(shape, widths),
            furthest: self.planned(plan, shape, widths),
        };
        let first = array.dot_width as f64
            * (array.cols as f64 * stored.weight + array.rows as f64 * stored.input);
        let peak = array.macs_per_cycle(promotion.bits);
        self.finish(compute_cycles, first, peak, macs, traffic)
    }

    /// Compute and traffic put together, with the first vectors exposed.
    fn finish(
        &self,
        compute_cycles: u64,
        first_bits: f64,
        peak_macs_per_cycle: f64,
        charged_macs: f64,
        traffic: LayerTraffic,
    ) -> Run {
        let memory_cycles = self.levels.cycles(&traffic);
        // Nothing is waited for when nothing comes from outside.
        let first = first_bits.min(traffic.furthest.read_bits()) / self.tiles.bits_per_cycle;
        let busy = compute_cycles as f64 / self.efficiency;
        Run {
            compute_cycles,
            busy_cycles: busy,
            memory_cycles,
            total_cycles: self.overlap(busy, memory_cycles, first),
            peak_macs_per_cycle,
            charged_macs,
            traffic,
        }
    }

    /// Every operand across a level once.
    fn once(&self, shape: &Shape, widths: Widths) -> Traffic {
        let stored = Operands::of(widths);
        Traffic {
            weights_read: shape.weights as f64 * stored.weight,
            inputs_read: shape.in_elements as f64 * stored.input
                + shape.skip_elements as f64 * stored.output,
            outputs_written: shape.out_elements as f64 * stored.output,
            ..Traffic::default()
        }
    }

    /// What SCALE-Sim counts across the furthest level.
    fn fold_by_fold(&self, layer: &PerFoldLayer, stored: Operands) -> Traffic {
        let [weights, inputs, outputs] = self.tiles.buffer_bits;
        let elements = layer.elements([
            weights / stored.weight,
            inputs / stored.input,
            outputs / stored.output,
        ]);
        Traffic {
            weights_read: elements.weights as f64 * stored.weight,
            inputs_read: elements.inputs as f64 * stored.input,
            outputs_written: elements.outputs as f64 * stored.output,
            ..Traffic::default()
        }
    }

    /// What a plan moves across the furthest level.
    fn planned(&self, plan: &Plan, shape: &Shape, widths: Widths) -> Traffic {
        let (read, written) = plan.output_bits(&self.tiles, widths.out);
        let skip = shape.skip_elements as f64 * f64::from(widths.out.get());
        Traffic {
            weights_read: plan.weight_bits,
            inputs_read: plan.input_bits + skip,
            outputs_read: read,
            outputs_written: written,
            ..Traffic::default()
        }
    }
}

/// Stored widths as factors.
#[derive(Clone, Copy)]
struct Operands {
    weight: f64,
    input: f64,
    output: f64,
}

impl Operands {
    fn of(widths: Widths) -> Self {
        Self {
            weight: f64::from(widths.stored.weight.get()),
            input: f64::from(widths.stored.activation.get()),
            output: f64::from(widths.out.get()),
        }
    }
}

/// Cycles at a rate other than one operation an element and cycle.
fn scaled(cycles: u64, rate: f64) -> u64 {
    if rate == 1.0 { cycles } else { (cycles as f64 / rate).ceil() as u64 }
}
