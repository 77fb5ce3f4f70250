//! The search for the best tiling of one layer at given widths.

use std::{
    array,
    sync::{Arc, OnceLock},
};

use super::{
    Tiled, TilingGoal,
    orders::{BATCH, COLS, INPUTS, LOOPS, OUTPUTS, ROWS, orders},
};
use crate::{
    bits::{Bits, LayerBits},
    precision::width_index,
};

/// What tiling needs to know of a device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TileDevice {
    /// Usable bits of the buffers for weights, inputs and outputs.
    pub buffer_bits: [f64; 3],
    /// Bits a cycle across the furthest level.
    pub bits_per_cycle: f64,
    /// Columns of the array: output channels computed at once.
    pub cols: u64,
    pub acc_bits: u64,
    pub acc_roundtrip: bool,
    pub pad_weights: bool,
    pub efficiency: f64,
    pub goal: TilingGoal,
}

/// The widths of one evaluation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TileWidths {
    /// As stored.
    pub stored: LayerBits,
    /// Input channels one column sums in a cycle.
    pub lanes: u64,
    /// Times the array runs over the layer.
    pub passes: u64,
}

/// The best tiling found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Plan {
    /// Cycles of the array, tiles rounded up to whole vectors.
    pub compute_cycles: u64,
    /// Bits of weights and inputs that come from the furthest level.
    pub weight_bits: f64,
    pub input_bits: f64,
    /// Elements of the result as tiled, columns padded, and how often each is visited.
    pub output_elements: f64,
    pub output_visits: f64,
    /// Times each result is accumulated into while it is on the chip.
    pub input_tiles: u64,
    /// Bits that are loaded before the array starts, and stored after it ends.
    pub first_bits: f64,
    pub last_bits: f64,
}

impl Plan {
    /// Bits of partial and final sums, read and written, when results leave at `out_bits`.
    pub fn output_bits(&self, device: &TileDevice, out_bits: Bits) -> (f64, f64) {
        let acc = device.acc_bits as f64;
        let visits = self.output_visits;
        if device.acc_roundtrip {
            let bits = self.output_elements * visits * acc;
            (bits, bits)
        } else {
            let spilled = self.output_elements * (visits - 1.0) * acc;
            (spilled, spilled + self.output_elements * f64::from(out_bits.get()))
        }
    }
}

/// The plans of one layer shape, each made when it is first asked for.
///
/// Equal layers share them; a clone is another handle on the same plans.
#[derive(Debug, Clone)]
pub(crate) struct Plans {
    loops: Tiled,
    by_width: Arc<[OnceLock<Plan>]>,
}

impl Plans {
    pub fn new(loops: Tiled) -> Self {
        Self { loops, by_width: (0..256).map(|_| OnceLock::new()).collect() }
    }

    pub fn at(&self, device: &TileDevice, widths: TileWidths) -> &Plan {
        let stored = widths.stored;
        let index = width_index(stored.weight) * 16 + width_index(stored.activation);
        self.by_width[index].get_or_init(|| search(&self.loops, device, widths))
    }
}

/// One way to cut the loops.
#[derive(Debug, Clone, Copy)]
struct Tile {
    /// How often each loop runs.
    counts: [u64; LOOPS],
    /// Bits of one tile of weights, inputs and outputs.
    bits: [f64; 3],
    compute_cycles: u64,
}

/// What a tile moves in one loop order.
#[derive(Debug, Clone, Copy)]
struct Moves {
    /// Bits of each operand, outputs counted once a visit.
    bits: [f64; 3],
    /// Bits of the blocks that stay on the chip.
    resident: [f64; 3],
}

const WEIGHTS: usize = 0;
const ACTIVATIONS: usize = 1;
const RESULTS: usize = 2;

fn search(loops: &Tiled, device: &TileDevice, widths: TileWidths) -> Plan {
    let scorer = Scorer::new(loops, device);
    let mut best: Option<(Score, Tile, Moves)> = None;
    for_each_tile(loops, device, widths, |tile| {
        if best.as_ref().is_some_and(|(score, ..)| !scorer.bound(tile).beats(score)) {
            return;
        }
        let mask = (0..LOOPS).filter(|index| tile.counts[*index] > 1);
        let mask = mask.fold(0, |mask, index| mask | 1 << index);
        for order in orders(mask) {
            let moves = scorer.walk(tile, order.iter());
            let score = scorer.score(tile, &moves);
            if best.as_ref().is_none_or(|(least, ..)| score.beats(least)) {
                best = Some((score, *tile, moves));
            }
        }
    });
    let (_, tile, moves) = best.expect("the smallest tile is always tried");
    let plan = scorer.plan(&tile, &moves);
    match device.goal {
        TilingGoal::FewestCycles => plan,
        // A tiling for traffic says when data move; the array computes without its borders.
        TilingGoal::LeastTraffic => {
            let longest = loops.out_h.max(loops.out_w);
            let whole = [loops.batch, longest, loops.in_channels, loops.out_channels];
            let whole = Tile::cut(loops, device, widths, whole);
            Plan { compute_cycles: whole.compute_cycles, input_tiles: 1, ..plan }
        }
    }
}

/// Visits the tiles that fit, largest first; the smallest one in any case.
fn for_each_tile(
    loops: &Tiled,
    device: &TileDevice,
    widths: TileWidths,
    mut visit: impl FnMut(&Tile),
) {
    let longest = loops.out_h.max(loops.out_w);
    for batch in halvings(loops.batch, 1) {
        for edge in halvings(longest, 1) {
            for inputs in halvings(loops.in_channels, 1) {
                for outputs in halvings(loops.out_channels, device.cols) {
                    let tile = Tile::cut(loops, device, widths, [batch, edge, inputs, outputs]);
                    let fits = (0..3).all(|i| tile.bits[i] <= device.buffer_bits[i]);
                    let smallest = batch == 1
                        && edge == 1
                        && inputs == 1
                        && outputs <= device.cols.min(loops.out_channels);
                    if fits || smallest {
                        visit(&tile);
                    }
                }
            }
        }
    }
}

/// `size`, then the powers of two times `unit` below it, down to `unit`.
fn halvings(size: u64, unit: u64) -> impl Iterator<Item = u64> {
    let mut next = Some(size);
    std::iter::from_fn(move || {
        let current = next?;
        next = (current > unit).then(|| {
            let units = current.div_ceil(unit);
            unit * (units.next_power_of_two() / 2).max(1)
        });
        Some(current)
    })
}

impl Tile {
    fn cut(
        loops: &Tiled,
        device: &TileDevice,
        widths: TileWidths,
        [batch, edge, inputs, outputs]: [u64; 4],
    ) -> Self {
        let (rows, cols) = (edge.min(loops.out_h), edge.min(loops.out_w));
        let counts = [
            loops.batch.div_ceil(batch),
            loops.out_h.div_ceil(rows),
            loops.out_w.div_ceil(cols),
            loops.in_channels.div_ceil(inputs),
            loops.out_channels.div_ceil(outputs),
        ];
        let depthwise = loops.channel_multiplier > 0;
        let reduction = loops.kernel_area * inputs;
        let padded = match device.pad_weights && !depthwise {
            true => reduction.div_ceil(widths.lanes) * widths.lanes,
            false => reduction,
        };
        let in_channels =
            if depthwise { outputs.div_ceil(loops.channel_multiplier) } else { inputs };
        let in_h = (rows - 1) * loops.stride_h + loops.extent_h;
        let in_w = (cols - 1) * loops.stride_w + loops.extent_w;
        let column_tiles = outputs.div_ceil(device.cols);
        // Sums that are written and read back at every visit keep idle columns too.
        let kept = if device.acc_roundtrip { column_tiles * device.cols } else { outputs };
        let positions = batch * rows * cols;
        let lane_tiles = if depthwise { 1 } else { inputs.div_ceil(widths.lanes) };
        let stored = widths.stored;
        Self {
            counts,
            bits: [
                outputs as f64 * padded as f64 * f64::from(stored.weight.get()),
                (batch * in_channels) as f64
                    * in_h as f64
                    * in_w as f64
                    * f64::from(stored.activation.get()),
                positions as f64 * (kept * device.acc_bits) as f64,
            ],
            compute_cycles: loops.groups
                * widths.passes
                * counts.iter().product::<u64>()
                * positions
                * column_tiles
                * lane_tiles
                * loops.kernel_area,
        }
    }
}

/// How good a tiling is; less is better.
#[derive(Debug, Clone, Copy)]
struct Score {
    first: f64,
    second: f64,
}

impl Score {
    fn beats(&self, other: &Score) -> bool {
        self.first < other.first || (self.first == other.first && self.second < other.second)
    }
}

struct Scorer<'a> {
    loops: &'a Tiled,
    device: &'a TileDevice,
    /// `depends[operand][loop]`
    depends: [[bool; LOOPS]; 3],
}

impl<'a> Scorer<'a> {
    fn new(loops: &'a Tiled, device: &'a TileDevice) -> Self {
        let on = |wanted: &[usize]| array::from_fn(|index| wanted.contains(&index));
        let inputs: &[usize] = match loops.channel_multiplier {
            0 => &[BATCH, ROWS, COLS, INPUTS],
            _ => &[BATCH, ROWS, COLS, INPUTS, OUTPUTS],
        };
        let depends = [on(&[INPUTS, OUTPUTS]), on(inputs), on(&[BATCH, ROWS, COLS, OUTPUTS])];
        Self { loops, device, depends }
    }

    /// Runs the loops from the inside out; see the module's heading.
    fn walk(&self, tile: &Tile, order: impl Iterator<Item = usize>) -> Moves {
        let mut moves = Moves { bits: tile.bits, resident: tile.bits };
        let mut stays = [true; 3];
        for index in order {
            let count = tile.counts[index] as f64;
            for (operand, stays) in stays.iter_mut().enumerate() {
                if *stays && !self.depends[operand][index] {
                    continue;
                }
                moves.bits[operand] *= count;
                if *stays {
                    let grown = moves.resident[operand] * count;
                    *stays = grown <= self.device.buffer_bits[operand];
                    if *stays {
                        moves.resident[operand] = grown;
                    }
                }
            }
        }
        moves
    }

    /// What no order can go below: each operand moved once, one tile of each exposed.
    fn bound(&self, tile: &Tile) -> Score {
        let bits = array::from_fn(|operand| self.once(tile, operand));
        let moves = Moves { bits, resident: tile.bits };
        let score = self.score(tile, &moves);
        match self.device.goal {
            TilingGoal::FewestCycles => {
                let bits_per_cycle = self.device.bits_per_cycle;
                let traffic = self.traffic(tile, &moves) / bits_per_cycle;
                let start = (self.first_bits(&tile.bits) + tile.bits[RESULTS]) / bits_per_cycle;
                let computing = tile.compute_cycles as f64 / self.device.efficiency;
                Score { first: (computing + start).max(traffic), second: score.second }
            }
            TilingGoal::LeastTraffic => score,
        }
    }

    /// Bits of an operand when every tile of it moves once.
    fn once(&self, tile: &Tile, operand: usize) -> f64 {
        let counts = (0..LOOPS).filter(|index| self.depends[operand][*index]);
        counts.fold(tile.bits[operand], |bits, index| bits * tile.counts[index] as f64)
    }

    /// Elements of the result of one group.
    fn results(&self) -> f64 {
        let loops = self.loops;
        (loops.batch * loops.out_h * loops.out_w * loops.out_channels) as f64
    }

    /// Bits across the furthest level, groups included. Where partial sums are not always
    /// read back, only visits after the first count: the last write is the same for all.
    fn traffic(&self, tile: &Tile, moves: &Moves) -> f64 {
        let results = if self.device.acc_roundtrip {
            2.0 * moves.bits[RESULTS]
        } else {
            let visits = moves.bits[RESULTS] / self.once(tile, RESULTS);
            2.0 * (visits - 1.0) * self.results() * self.device.acc_bits as f64
        };
        self.loops.groups as f64 * (moves.bits[WEIGHTS] + moves.bits[ACTIVATIONS] + results)
    }

    fn first_bits(&self, resident: &[f64; 3]) -> f64 {
        let results = if self.device.acc_roundtrip { resident[RESULTS] } else { 0.0 };
        resident[WEIGHTS] + resident[ACTIVATIONS] + results
    }

    fn score(&self, tile: &Tile, moves: &Moves) -> Score {
        let traffic = self.traffic(tile, moves);
        match self.device.goal {
            TilingGoal::LeastTraffic => {
                Score { first: traffic, second: tile.compute_cycles as f64 }
            }
            TilingGoal::FewestCycles => {
                let (first, last) = (self.first_bits(&moves.resident), moves.resident[RESULTS]);
                let cycles = |bits: f64| (bits / self.device.bits_per_cycle).ceil();
                let computing = tile.compute_cycles as f64 / self.device.efficiency;
                let hidden = cycles((traffic - first - last).max(0.0));
                let total = computing.max(hidden) + cycles(first) + cycles(last);
                Score { first: total, second: traffic }
            }
        }
    }

    fn plan(&self, tile: &Tile, moves: &Moves) -> Plan {
        let groups = self.loops.groups as f64;
        let once = self.once(tile, RESULTS);
        let elements = match self.device.acc_roundtrip {
            true => once / self.device.acc_bits as f64,
            false => self.results(),
        };
        Plan {
            compute_cycles: tile.compute_cycles,
            weight_bits: groups * moves.bits[WEIGHTS],
            input_bits: groups * moves.bits[ACTIVATIONS],
            output_elements: groups * elements,
            output_visits: moves.bits[RESULTS] / once,
            input_tiles: tile.counts[INPUTS],
            first_bits: self.first_bits(&moves.resident),
            last_bits: moves.resident[RESULTS],
        }
    }
}
