//! A quantized network made ready for a runtime: biases in codes, and what a target cannot run
//! widened or refused.

use crate::{
    export::target::{Change, ExportError, Target, check_coded},
    network::{Array, Coding, Graph, Grid, OnnxForm, Op, QuantizableLayer, TensorId},
};

/// What leaves the program: a network whose constants know their codes.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Weights and biases on their levels, activations rounded where the policy says.
    pub graph: Graph,
    /// What differs from the network that was asked for.
    pub changes: Vec<Change>,
}

impl Deployment {
    /// - `quantized`: at a policy, as the quantization core or a tuning makes it
    /// - `form`: of the file it goes to
    ///
    /// # Errors
    /// [`ExportError::Target`] with every layer that the target cannot run.
    pub fn new(
        quantized: Graph,
        form: OnnxForm,
        target: Option<Target>,
    ) -> Result<Self, ExportError> {
        let mut graph = quantized;
        check_coded(&graph, if form == OnnxForm::Qonnx { "QONNX" } else { "ONNX" })?;
        let changes = match target {
            Some(target) => target.fit(&mut graph, form)?,
            None => Vec::new(),
        };
        if matches!(form, OnnxForm::Qdq { .. }) {
            let least_spread = match target {
                None => LEAST_SPREAD_STEPS,
                Some(target) => target.least_spread_of_coded_biases(),
            };
            for layer in graph.quantizable_layers() {
                code_bias(&mut graph, &layer, least_spread);
            }
        }
        Ok(Self { graph, changes })
    }
}

/// The grid of the tensor a layer reads.
pub(super) fn input_grid(graph: &Graph, input: TensorId) -> Option<Grid> {
    match graph.nodes()[graph.producer(input)?].op {
        Op::FakeQuantize(grid) => Some(grid),
        _ => None,
    }
}

/// Bits that hold all codes of a grid.
pub(super) fn bits_of(grid: Grid) -> u32 {
    u32::BITS - grid.high.abs_diff(grid.low).leading_zeros()
}

/// A sum of products is at least so many of its steps wide, in a layer whose bias is rounded to
/// one: fewer bits would lose more by that than a float costs.
const LEAST_SPREAD_STEPS: f64 = 256.0;

/// Rounds a bias to whole multiples of the scale that its layer's sums of products have. It stays
/// in float where they have none, where these steps are coarse, and where it would not fit 32
/// bits.
fn code_bias(graph: &mut Graph, layer: &QuantizableLayer, least_spread: f64) -> Option<()> {
    let grid = input_grid(graph, layer.input)?;
    let weights = graph.coding(layer.weight).filter(|coding| coding.offsets.is_empty())?;
    let bias = layer.bias?;
    let numbers = graph.constant(bias)?.as_f32()?;
    if numbers.len() != weights.scales.len() || graph.coding(bias).is_some() {
        return None;
    }
    let codes = weights.codes_of(graph.constant(layer.weight)?)?.codes;
    let squares: f64 = codes.iter().map(|code| f64::from(*code).powi(2)).sum();
    let per_row = squares / numbers.len() as f64;
    // Numbers spread evenly over a grid deviate by about 0.3 of its width.
    let spread = per_row.sqrt() * f64::from(grid.high - grid.low) * 0.3;
    if spread < least_spread {
        return None;
    }
    let scales: Vec<f32> = weights.scales.iter().map(|scale| scale * grid.scale).collect();
    let level = |(number, scale): (&f32, &f32)| {
        let code = (f64::from(*number) / f64::from(*scale)).round_ties_even();
        let fits = scale.is_normal() && code.abs() < f64::from(i32::MAX);
        fits.then(|| code as f32 * scale)
    };
    let levels: Vec<f32> = numbers.iter().zip(&scales).map(level).collect::<Option<_>>()?;
    let shape = graph.constant(bias)?.shape().to_vec();
    let axis = shape.len().saturating_sub(1);
    let (scales, offsets) = (scales.into(), std::sync::Arc::default());
    let coding = Coding { axis, scales, offsets, bits: Coding::BIAS_BITS };
    let levels = Array::f32(shape, levels);
    coding.codes_of(&levels)?;
    graph.set_rounded(bias, levels, coding);
    Some(())
}
