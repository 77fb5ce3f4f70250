//! One profile, made ready to cost layers: what happens to each layer at any widths.

mod run;

use std::array;

use crate::{
    bit_serial::StreamedLayer,
    bits::{Bits, LayerBits},
    cost::{Bound, LayerCost},
    precision::{Precision, Promotion, nth_width, width_index},
    profile::{Compute, HardwareProfile},
    roofline::Roofline,
    shape::Shape,
    systolic::{FoldTraffic, Mapping, PerFoldLayer},
    tiling::{Plans, TileDevice, Tiled, TilingGoal},
    traffic::{LayerTraffic, Levels, Traffic},
};

/// The numbers of a profile that costing needs, in the units costing works in.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    array: Compute,
    precision: Precision,
    levels: Levels,
    /// Picojoules of a multiply-accumulate, `[weight bits - 1][activation bits - 1]`.
    mac_pj: [[f64; 16]; 16],
    efficiency: f64,
    clock_hz: f64,
    cycle_s: f64,
    idle_w: f64,
    per_layer_overhead_s: f64,
    tiles: TileDevice,
    acc_bits: f64,
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
    /// Bytes of weights, scales and bias as stored, `[weight bits - 1]`.
    pub weight_bytes: [u64; 16],
    counts: Counts,
    work: Work,
}

/// Counts of a shape as the factors they are used as.
#[derive(Debug, Clone, Copy)]
struct Counts {
    macs: f64,
    weights: f64,
    inputs: f64,
    outputs: f64,
    skip: f64,
}

/// What the family of the device needs to know of a layer.
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
    /// As stored: weights and input, then the result.
    pub stored: LayerBits,
    pub out: Bits,
}

/// One layer at one choice of widths.
struct Case<'a> {
    shape: &'a Shape,
    counts: &'a Counts,
    widths: Widths,
    promotion: &'a Promotion,
    /// Stored widths as factors.
    weight_bits: f64,
    input_bits: f64,
    output_bits: f64,
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
        let (on_chip, nearest) = (profile.on_chip(), profile.nearest());
        let array = profile.compute().clone();
        let (cols, acc_bits, fusion) = match &array {
            Compute::Systolic(array) => (array.cols, array.acc_bits, None),
            Compute::TensorCore(array) => (array.tile_n, array.acc_bits, None),
            Compute::Fusion(array) => (array.cols, array.acc_bits, Some(*array)),
            Compute::BitSerial(array) => (array.cols, array.acc_bits, None),
        };
        let bits_per_cycle = profile.furthest().bits_per_cycle;
        let tiles = TileDevice {
            buffer_bits: [
                on_chip.usable_weight_bits(),
                on_chip.usable_input_bits(),
                on_chip.usable_output_bits(),
            ],
            bits_per_cycle: bits_per_cycle.expect("the furthest level has a bandwidth"),
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
            mac_pj: mac_pj(profile, acc_bits),
            efficiency: profile.efficiency,
            clock_hz: profile.clock_hz,
            cycle_s: profile.clock_hz.recip(),
            idle_w: profile.idle_power_w * profile.energy().leak_scale,
            per_layer_overhead_s: profile.per_layer_overhead_s,
            tiles,
            acc_bits: acc_bits as f64,
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
        let counts = Counts {
            macs: shape.macs as f64,
            weights: shape.weights as f64,
            inputs: shape.in_elements as f64,
            outputs: shape.out_elements as f64,
            skip: shape.skip_elements as f64,
        };
        let weight_bytes = array::from_fn(|index| self.weight_bytes(&shape, nth_width(index)));
        Prepared { shape, weight_bytes, counts, work }
    }

    /// Bytes of a layer's weights, scales and bias as stored.
    fn weight_bytes(&self, shape: &Shape, weight: Bits) -> u64 {
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

    /// Bytes of a layer's codes, codebook and bias at each width.
    pub fn codebook_bytes(&self, layer: &Prepared) -> [u64; 16] {
        let shape = &layer.shape;
        array::from_fn(|index| {
            let width = self.precision.stored_weight(nth_width(index)).get();
            let codes = (shape.weights * u64::from(width)).div_ceil(8);
            let entries = shape.weights.min(1 << (index + 1));
            let bias = if shape.bias { shape.out_channels } else { 0 };
            codes + 4 * (entries + bias)
        })
    }

    /// The widths of a layer whose result is read at `reader` bits.
    #[inline]
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

    /// Inlined, for a result that is copied costs as much as working it out.
    #[inline(always)]
    pub fn layer_cost(&self, layer: &Prepared, widths: Widths) -> LayerCost {
        self.evaluate(layer, widths).0
    }

    /// The cost of a layer with its traffic, level by level, and its place under the roof.
    pub fn explain(&self, layer: &Prepared, widths: Widths) -> (LayerCost, Vec<Traffic>, Roofline) {
        let (cost, run) = self.evaluate(layer, widths);
        let levels = (0..self.levels.len()).map(|level| self.levels.at(level, &run.traffic));
        let reached = run.compute_cycles as f64 / run.busy_cycles;
        let roofline = Roofline::new(
            layer.counts.macs,
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

    #[inline(always)]
    fn evaluate(&self, layer: &Prepared, widths: Widths) -> (LayerCost, Run) {
        let (weight, activation) =
            (width_index(widths.asked.weight), width_index(widths.asked.activation));
        let case = Case {
            shape: &layer.shape,
            counts: &layer.counts,
            widths,
            promotion: self.precision.promote(widths.asked),
            weight_bits: f64::from(widths.stored.weight.get()),
            input_bits: f64::from(widths.stored.activation.get()),
            output_bits: f64::from(widths.out.get()),
        };
        let run = self.run(&case, &layer.work);
        let latency_s = run.total_cycles * self.cycle_s + self.per_layer_overhead_s;
        let dynamic_pj = run.charged_macs * self.mac_pj[weight][activation]
            + self.levels.energy_pj(&run.traffic);
        let slots = run.busy_cycles * run.peak_macs_per_cycle;
        let memory_bound = run.memory_cycles > run.busy_cycles;
        let cost = LayerCost {
            cycles: round_up(run.total_cycles),
            compute_cycles: run.compute_cycles,
            memory_cycles: round_up(run.memory_cycles),
            latency_s,
            energy_j: dynamic_pj * 1e-12 + self.idle_w * latency_s,
            dram_bytes: round_up(run.traffic.furthest.bits() * 0.125),
            size_bytes: layer.weight_bytes[weight],
            macs: layer.shape.macs,
            utilization: (layer.counts.macs / slots).min(1.0),
            bound: if memory_bound { Bound::Memory } else { Bound::Compute },
            promoted: case.promotion.bits,
        };
        (cost, run)
    }
}

/// Picojoules of a multiply-accumulate at any widths.
fn mac_pj(profile: &HardwareProfile, acc_bits: u64) -> [[f64; 16]; 16] {
    array::from_fn(|weight| {
        array::from_fn(|activation| {
            let asked = LayerBits::new(nth_width(weight), nth_width(activation));
            profile.energy().mac_pj(profile.precision().promote(asked), acc_bits)
        })
    })
}

/// The next whole number; `f64::ceil` is a call where the processor has no instruction for it.
#[inline]
fn round_up(value: f64) -> u64 {
    let whole = value as u64;
    whole + u64::from((whole as f64) < value)
}
