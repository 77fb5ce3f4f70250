//! Means and maxima over places.

use super::{Compiler, NEEDS_CODES, codes, unsupported};
use crate::{
    network::{Node, Window},
    quantization::{
        error::QuantizationError,
        integer::{
            IntegerError,
            network::{
                pool::Pool,
                steps::Step,
                value::{Form, SumChannel, Sums, Value, channels_of, count},
            },
        },
    },
};

impl Compiler<'_> {
    pub(super) fn pool(
        &self,
        node: &Node,
        value: &Value,
        window: &Window,
        count_padding: bool,
    ) -> Result<Pool, IntegerError> {
        let (&[_, channels, height, width], &[_, _, rows, columns]) =
            (value.shape.as_slice(), self.shapes.get(node.output))
        else {
            return Err(unsupported(node, "on tensors that are not images".into()));
        };
        Pool::new(channels, [height, width], [rows, columns], window, count_padding)
            .map_err(|error| error.at(node))
    }

    pub(super) fn max_pool(
        &mut self,
        node: &Node,
        value: &Value,
        window: &Window,
    ) -> Result<Form, QuantizationError> {
        let pool = Box::new(self.pool(node, value, window, true)?);
        match &value.form {
            Form::Codes { slot, grid } => {
                let to = self.slots.codes();
                self.steps.push(Step::MaxCodes { from: *slot, pool, to });
                Ok(Form::Codes { slot: to, grid: *grid })
            }
            Form::Sums { slot, sums } => {
                let falls = |channel: &SumChannel| channel.norm.is_some_and(|n| n.gamma < 0.0);
                if sums.channels.iter().any(falls) {
                    let reason = "of a normalization with a factor below 0";
                    return Err(unsupported(node, reason.into()).into());
                }
                let to = self.slots.sums();
                self.steps.push(Step::MaxSums { from: *slot, pool, to });
                Ok(Form::Sums { slot: to, sums: sums.clone() })
            }
            _ => Err(unsupported(node, NEEDS_CODES.into()).into()),
        }
    }

    pub(super) fn mean(
        &mut self,
        node: &Node,
        value: &Value,
        pool: Pool,
        divide: bool,
    ) -> Result<Form, QuantizationError> {
        let (slot, grid) = codes(node, value)?;
        let reach = grid.range.magnitude() * pool.divisor;
        if reach > i64::from(i32::MAX) {
            return Err(IntegerError::Accumulator { what: "mean", reach }.at(node).into());
        }
        let scale = if divide { grid.scale / pool.divisor as f64 } else { grid.scale };
        let sums = Sums::new(vec![SumChannel::new(scale, reach)]);
        let (to, zero_point) = (self.slots.sums(), grid.range.zero_point);
        self.steps.push(Step::Sum { from: slot, zero_point, pool: Box::new(pool), to });
        Ok(Form::Sums { slot: to, sums })
    }
}

/// The mean over all places of an image.
pub(super) fn whole(value: &Value) -> Pool {
    let channels = channels_of(&value.shape);
    Pool::global(channels, count(&value.shape) / channels.max(1))
}

/// Whether axes are the height and width of images.
pub(super) fn is_spatial(axes: &[i64], shape: &[usize]) -> bool {
    let mut axes: Vec<i64> =
        axes.iter().map(|&axis| if axis < 0 { axis + 4 } else { axis }).collect();
    axes.sort_unstable();
    shape.len() == 4 && axes == [2, 3]
}
