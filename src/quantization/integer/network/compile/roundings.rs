//! Roundings, and what may lie between a sum and its rounding.

use super::{Compiler, NEEDS_CODES, layers::only_signs_follow, unsupported};
use crate::{
    network::{Node, TensorId},
    quantization::{
        error::QuantizationError,
        integer::{
            BatchNormSign, IntegerError, Requantization, SignThreshold,
            network::{
                movement,
                reference::TwoStepRounding,
                steps::Step,
                value::{CodeGrid, Form, SumChannel, Sums, Value, channels_of},
            },
            requantizer::Requantizer,
        },
    },
};

impl Compiler<'_> {
    /// To the codes of a grid.
    pub(super) fn round(
        &mut self,
        node: &Node,
        value: &Value,
        grid: CodeGrid,
    ) -> Result<Form, QuantizationError> {
        let from_codes = |values: &[f64]| values.iter().map(|&x| grid.code(x)).collect::<Vec<u8>>();
        match &value.form {
            Form::Codes { grid: own, slot } if *own == grid => {
                Ok(Form::Codes { slot: *slot, grid })
            }
            Form::Image { moved } => {
                let to = self.slots.codes();
                self.steps.push(Step::Quantize { moved: moved.clone(), grid, to });
                Ok(Form::Codes { slot: to, grid })
            }
            Form::Codes { slot, grid: own } => {
                let table = from_codes(&own.values());
                Ok(self.map(*slot, table, grid))
            }
            Form::Function { slot, values } => {
                let table = from_codes(values);
                Ok(self.map(*slot, table, grid))
            }
            Form::Sums { slot, sums } if grid.range.signs => {
                let thresholds = thresholds(node, sums)?;
                let to = self.slots.codes();
                self.steps.push(Step::Sign { from: *slot, thresholds, to });
                Ok(Form::Codes { slot: to, grid })
            }
            Form::Sums { slot, sums } => {
                let channels = requantizations(node, sums, grid)?;
                // Of layers the scales were settled so that the ratio is exact.
                let divisor = match (channels.as_slice(), sums.channels.as_slice()) {
                    ([one], [sum]) if one.ratio() > 0.0 => sum.scale / one.ratio(),
                    _ => grid.scale,
                };
                self.roundings.insert(node.output, TwoStepRounding::Codes { divisor });
                let requantizer = Requantizer::new(&channels);
                let to = self.slots.codes();
                self.steps.push(Step::Requantize { from: *slot, requantizer, to });
                Ok(Form::Codes { slot: to, grid })
            }
        }
    }

    pub(super) fn map(&mut self, from: usize, table: Vec<u8>, grid: CodeGrid) -> Form {
        let to = self.slots.codes();
        self.steps.push(Step::Map { from, table, to });
        Form::Codes { slot: to, grid }
    }

    pub(super) fn clip(
        &mut self,
        node: &Node,
        input: TensorId,
        value: &Value,
        [low, high]: [f64; 2],
    ) -> Result<Form, QuantizationError> {
        let Form::Sums { slot, sums } = &value.form else {
            return self.function(node, input, value);
        };
        if !sums.has_norm() {
            return Ok(Form::Sums { slot: *slot, sums: sums.clipped(low, high) });
        }
        if low < 0.0 && high >= 0.0 {
            // Only a sign can follow, and a clip around zero leaves it alone.
            return Ok(value.form.clone());
        }
        Err(unsupported(node, "between a normalization and a sign".into()).into())
    }

    pub(super) fn function(
        &mut self,
        node: &Node,
        input: TensorId,
        value: &Value,
    ) -> Result<Form, QuantizationError> {
        let (slot, values) = match &value.form {
            Form::Codes { slot, grid } => (*slot, grid.values()),
            Form::Function { slot, values } => (*slot, values.clone()),
            _ => return Err(unsupported(node, NEEDS_CODES.into()).into()),
        };
        let values = movement::function(&self.executable, node, input, &values)?;
        Ok(Form::Function { slot, values })
    }

    /// Batch normalization that no layer took in: the sign after it becomes a threshold.
    pub(super) fn normalize(
        &mut self,
        node: &Node,
        value: &Value,
        epsilon: f64,
    ) -> Result<Form, QuantizationError> {
        let (slot, sums) = self.as_sums(node, value)?;
        let parameters: Option<Vec<&[f32]>> =
            (1..5).map(|position| self.graph.constant(node.input(position)?)?.as_f32()).collect();
        let (Some(parameters), false) = (parameters, sums.is_clipped()) else {
            let reason = "after a clip, or with parameters that are not constant";
            return Err(unsupported(node, reason.into()).into());
        };
        if !only_signs_follow(&self.graph, node.output) {
            let reason = "unless a sign follows; fold it into the layer before";
            return Err(unsupported(node, reason.into()).into());
        }
        let n = channels_of(&value.shape);
        let channels = (0..n).map(|channel| {
            let own = sums.channels[channel % sums.channels.len()];
            let at = |index: usize| f64::from(parameters[index][channel]);
            let before = own.norm.map_or(0.0, |norm| norm.beta);
            let norm = BatchNormSign {
                accumulator_scale: own.scale,
                mean: at(2) - before,
                deviation: (at(3) + epsilon).sqrt(),
                gamma: at(0),
                beta: at(1),
            };
            SumChannel { norm: Some(norm), ..own }
        });
        let channels = channels.collect();
        Ok(Form::Sums { slot, sums: Sums::new(channels) })
    }
}

fn requantizations(
    node: &Node,
    sums: &Sums,
    grid: CodeGrid,
) -> Result<Vec<Requantization>, IntegerError> {
    if sums.has_norm() {
        return Err(unsupported(node, "after a normalization; only a sign can follow".into()));
    }
    let bound = |x: f64| i32::from(grid.code(x));
    let bounds = (bound(sums.clip[0]), bound(sums.clip[1]));
    let channel = |channel: &SumChannel| {
        let ratio = channel.scale / grid.scale;
        Requantization::new(ratio, grid.range.zero_point, bounds).map_err(|error| error.at(node))
    };
    sums.channels.iter().map(channel).collect()
}

fn thresholds(node: &Node, sums: &Sums) -> Result<Vec<SignThreshold>, IntegerError> {
    if sums.is_clipped() && !(sums.clip[0] < 0.0 && sums.clip[1] >= 0.0) {
        return Err(unsupported(node, "after a clip that takes one sign away".into()));
    }
    let fold = |channel: &SumChannel| {
        let layer = channel.norm.unwrap_or(BatchNormSign::plain(channel.scale));
        SignThreshold::fold(&layer, i32::try_from(channel.reach).expect("sums fit 32 bits"))
    };
    Ok(sums.channels.iter().map(fold).collect())
}
