//! A layer's weights and bias as codes, and the same numbers put back into the float network.

use crate::{
    domain::Bits,
    network::{Array, Graph, Op, QuantizableLayer, TensorId},
    quantization::{
        integer::{FixedPointMultiplier, IntegerError},
        layer_matrix::WeightRows,
        uniform::WeightGrid,
    },
};

/// The largest bias code: half of what 32 bits hold is left to the products.
const LARGEST_BIAS: f64 = (1 << 30) as f64;
/// How far from its level a weight may be, in units of the grid: what f32 leaves of a product.
const TOLERANCE: f64 = 1e-3;

/// What the integers of one layer are.
pub(super) struct LayerCodes {
    pub bits: Bits,
    /// In the order of [`WeightRows::values`].
    pub weights: Vec<i8>,
    /// By output channel, what one unit of the accumulator is worth.
    pub scales: Vec<f64>,
    /// In these units; 0 where the bias is kept apart.
    pub bias: Vec<i32>,
    /// By output channel, in real numbers, where it is kept apart.
    pub bias_apart: Option<Vec<f64>>,
    /// The weight and the bias that these stand for, to the last bit of double precision.
    pub exact: Vec<(TensorId, ExactConstant)>,
}

/// A constant in double precision, row-major.
#[derive(Debug)]
pub(super) struct ExactConstant {
    pub shape: Vec<usize>,
    pub numbers: Vec<f64>,
}

/// What follows a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Follower {
    /// A grid with this scale.
    Grid(f64),
    /// Only the sign of the output matters.
    Sign,
    Other,
}

impl LayerCodes {
    /// Reads the codes, and gives the layer in `graph` exactly the weights and the bias that
    /// they stand for.
    ///
    /// - `grids`: one an output channel; every weight is a level of its channel's
    /// - `input_scale`: of the codes that the layer reads
    /// - `follower`: where it is a grid, scales are moved by less than `2^-31` to what the
    ///   multiplier to that grid can be; where it is a sign, the bias stays a real number, for a
    ///   comparison takes it without rounding
    ///
    /// # Errors
    /// When a weight is off its grid, or there are not as many grids as channels.
    pub fn settle(
        graph: &mut Graph,
        layer: &QuantizableLayer,
        grids: &[WeightGrid],
        input_scale: f64,
        follower: Follower,
    ) -> Result<Self, IntegerError> {
        let signs_follow = follower == Follower::Sign;
        let rows = WeightRows::of(graph, layer);
        if grids.len() != rows.n_rows {
            let (layer, found, expected) = (layer.name.clone(), grids.len(), rows.n_rows);
            return Err(IntegerError::Grids { layer, found, expected });
        }
        let (alpha, beta) = match graph.nodes()[layer.node].op {
            Op::Gemm { alpha, beta, .. } => (f64::from(alpha), f64::from(beta)),
            _ => (1.0, 1.0),
        };
        let bias = bias_of(graph, layer, rows.n_rows, beta);
        let mut codes = Self {
            bits: grids.iter().map(WeightGrid::bits).max().unwrap_or(Bits::EIGHT),
            weights: Vec::with_capacity(rows.values.len()),
            scales: Vec::with_capacity(rows.n_rows),
            bias: vec![0; rows.n_rows],
            bias_apart: signs_follow.then(|| bias.clone()),
            exact: Vec::new(),
        };
        let mut weights = Vec::with_capacity(rows.values.len());
        for (row, grid) in grids.iter().enumerate() {
            let row_codes = row_codes(layer, &rows, row, grid)?;
            let unit = alpha * input_scale;
            let smallest = if signs_follow { 0.0 } else { bias[row].abs() / unit / LARGEST_BIAS };
            let (row_codes, scale) = rescaled(row_codes, grid, smallest);
            let sum_scale = follower.settled(unit * scale);
            weights.extend(row_codes.iter().map(|&code| f64::from(code) * (sum_scale / unit)));
            codes.weights.extend(row_codes);
            codes.scales.push(sum_scale);
            if !signs_follow {
                codes.bias[row] = (bias[row] / sum_scale).round() as i32;
            }
        }
        let single: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
        let array = rows.to_array(&single);
        let shape = array.shape().to_vec();
        codes
            .exact
            .push((layer.weight, ExactConstant { shape, numbers: rows.in_layout(&weights) }));
        graph.set_constant(layer.weight, array);
        if !signs_follow && layer.bias.is_some() && beta != 0.0 {
            codes.put_bias_back(graph, layer, beta);
        }
        Ok(codes)
    }

    fn put_bias_back(&mut self, graph: &mut Graph, layer: &QuantizableLayer, beta: f64) {
        let whole = self.bias.iter().zip(&self.scales);
        let numbers: Vec<f64> =
            whole.map(|(&code, scale)| f64::from(code) * scale / beta).collect();
        let single: Vec<f32> = numbers.iter().map(|&bias| bias as f32).collect();
        let shape = vec![numbers.len()];
        graph.set_bias(layer.output, Array::f32(shape.clone(), single));
        let node = &graph.nodes()[graph.producer(layer.output).expect("a layer writes it")];
        let bias = node.input(2).expect("the bias was set");
        self.exact.push((bias, ExactConstant { shape, numbers }));
    }
}

impl Follower {
    /// The nearest scale of sums whose multiplier has a fixed-point form.
    fn settled(self, scale: f64) -> f64 {
        match self {
            Follower::Grid(grid) => match FixedPointMultiplier::from_real(scale / grid) {
                Ok(multiplier) if multiplier.mantissa() > 0 => multiplier.to_real() * grid,
                _ => scale,
            },
            _ => scale,
        }
    }
}

/// The bias that the layer adds, by output channel.
fn bias_of(graph: &Graph, layer: &QuantizableLayer, n_rows: usize, beta: f64) -> Vec<f64> {
    let bias = layer.bias.and_then(|bias| graph.constant(bias)).and_then(Array::as_f32);
    match bias {
        // One number for all channels broadcasts.
        Some(bias) if beta != 0.0 => {
            (0..n_rows).map(|row| beta * f64::from(bias[row % bias.len()])).collect()
        }
        _ => vec![0.0; n_rows],
    }
}

fn row_codes(
    layer: &QuantizableLayer,
    rows: &WeightRows,
    row: usize,
    grid: &WeightGrid,
) -> Result<Vec<i8>, IntegerError> {
    let (low, high) = WeightGrid::codes(grid.bits());
    let scale = f64::from(grid.scale());
    let code = |(column, &weight): (usize, &f32)| {
        let in_units = f64::from(weight) / scale;
        let code = match grid.bits().get() {
            1 if in_units < 0.0 => -1.0,
            1 => 1.0,
            _ => in_units.round(),
        };
        let fits = (f64::from(low)..=f64::from(high)).contains(&code);
        if fits && (in_units - code).abs() <= TOLERANCE {
            return Ok(code as i8);
        }
        let (layer, index) = (layer.name.clone(), row * rows.n_columns + column);
        Err(IntegerError::OffGrid { layer, index, value: weight, scale: grid.scale() })
    };
    rows.row(row).iter().enumerate().map(code).collect()
}

/// Codes at the least scale that is wanted, where the grid's own is smaller: weights so small
/// beside the bias hardly count.
///
/// At one bit the scale is rounded to 12 binary digits: sums of signs are then exact in floats
/// too, and those that cancel are 0 in both worlds.
fn rescaled(codes: Vec<i8>, grid: &WeightGrid, smallest: f64) -> (Vec<i8>, f64) {
    let scale = f64::from(grid.scale());
    if grid.bits().get() == 1 {
        return (codes, twelve_digits(scale.max(smallest)));
    }
    if scale >= smallest {
        return (codes, scale);
    }
    let ratio = scale / smallest;
    (codes.iter().map(|&code| (f64::from(code) * ratio).round() as i8).collect(), smallest)
}

/// The number with its binary digits behind the twelfth dropped.
fn twelve_digits(x: f64) -> f64 {
    const DROPPED: u32 = 52 - 11;
    f64::from_bits(x.to_bits() >> DROPPED << DROPPED)
}
