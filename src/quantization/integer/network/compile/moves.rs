//! Numbers that are only moved, and tensors put beside each other.

use super::{Compiler, NEEDS_CODES, unsupported};
use crate::{
    network::{Node, Op, TensorId},
    quantization::{
        error::QuantizationError,
        integer::{
            IntegerError,
            network::{
                movement,
                steps::{Source, Step},
                value::{Form, SumChannel, Sums, Value, channels_of, count},
            },
        },
    },
};

impl Compiler<'_> {
    pub(super) fn concat(
        &mut self,
        node: &Node,
        computed: &[(TensorId, Value)],
    ) -> Result<Form, QuantizationError> {
        let grid = |value: &Value| match value.form {
            Form::Codes { grid, .. } => Some(grid),
            _ => None,
        };
        let first = grid(&computed[0].1);
        if first.is_some() && computed.iter().all(|(_, value)| grid(value) == first) {
            return self.move_numbers(node, computed);
        }
        let mut parts = Vec::with_capacity(computed.len());
        for (id, value) in computed {
            let (slot, sums) = self.as_sums(node, value)?;
            let form = Form::Sums { slot, sums };
            parts.push((*id, Value { shape: value.shape.clone(), form }));
        }
        self.move_numbers(node, &parts)
    }

    pub(super) fn move_numbers(
        &mut self,
        node: &Node,
        computed: &[(TensorId, Value)],
    ) -> Result<Form, QuantizationError> {
        let inputs: Vec<(TensorId, &[usize])> =
            computed.iter().map(|(id, value)| (*id, value.shape.as_slice())).collect();
        let constants = node.reads().filter(|read| self.graph.constant(*read).is_some()).count();
        if matches!(node.op, Op::Concat { .. }) && constants > 0 {
            return Err(unsupported(node, "with a constant".into()).into());
        }
        let table = movement::table(&self.executable, node, &inputs)?;
        let stays = table.iter().enumerate().all(|(at, from)| *from == Some(at as u32));
        if let ([(_, value)], true) = (computed, stays) {
            return Ok(value.form.clone());
        }
        let lengths: Vec<usize> = computed.iter().map(|(_, value)| count(&value.shape)).collect();
        match &computed[0].1.form {
            Form::Image { moved } => {
                let compose = |from: &Option<u32>| match (from, moved) {
                    (Some(from), Some(moved)) => moved[*from as usize],
                    (from, _) => *from,
                };
                Ok(Form::Image { moved: Some(table.iter().map(compose).collect()) })
            }
            Form::Codes { grid, .. } => {
                let from = slots_of(computed, true);
                let to = self.slots.codes();
                let (fill, sources) = (grid.range.zero_point as u8, Source::all(&table, &lengths));
                self.steps.push(Step::MoveCodes { from, sources, fill, to });
                Ok(Form::Codes { slot: to, grid: *grid })
            }
            Form::Sums { .. } => {
                let parts: Vec<&Sums> = computed
                    .iter()
                    .filter_map(|(_, value)| match &value.form {
                        Form::Sums { sums, .. } => Some(sums),
                        _ => None,
                    })
                    .collect();
                let sources = Source::all(&table, &lengths);
                let sums = moved_sums(node, &parts, &sources, self.shapes.get(node.output))?;
                let from = slots_of(computed, false);
                let to = self.slots.sums();
                self.steps.push(Step::MoveSums { from, sources, to });
                Ok(Form::Sums { slot: to, sums })
            }
            Form::Function { .. } => Err(unsupported(node, NEEDS_CODES.into()).into()),
        }
    }
}

fn slots_of(computed: &[(TensorId, Value)], of_codes: bool) -> Vec<usize> {
    let slot = |form: &Form| match form {
        Form::Codes { slot, .. } if of_codes => Some(*slot),
        Form::Sums { slot, .. } if !of_codes => Some(*slot),
        _ => None,
    };
    computed.iter().filter_map(|(_, value)| slot(&value.form)).collect()
}

/// What moved sums stand for: by channel where all places of one agree, else by place.
fn moved_sums(
    node: &Node,
    parts: &[&Sums],
    sources: &[Option<Source>],
    shape: &[usize],
) -> Result<Sums, IntegerError> {
    let clip = parts[0].clip;
    let fills = sources.iter().any(Option::is_none);
    let holds_zero = clip[0] <= 0.0 && clip[1] >= 0.0 && !parts[0].has_norm();
    if parts.iter().any(|part| part.clip != clip) || (fills && !holds_zero) {
        return Err(unsupported(node, "behind a clip or a normalization".into()));
    }
    let channel = |source: &Option<Source>| {
        source.map(|source| {
            let channels = &parts[source.part as usize].channels;
            channels[source.index as usize % channels.len()]
        })
    };
    let by_place: Vec<Option<SumChannel>> = sources.iter().map(channel).collect();
    // A place that is filled with zeros fits any channel.
    let filler = by_place.iter().flatten().next().copied().unwrap_or(SumChannel::new(1.0, 0));
    let n_channels = channels_of(shape);
    for period in [1, n_channels] {
        let mut channels: Vec<Option<SumChannel>> = vec![None; period];
        let agrees = by_place.iter().enumerate().all(|(at, channel)| {
            let Some(channel) = channel else { return true };
            *channels[at % period].get_or_insert(*channel) == *channel
        });
        if agrees {
            let channels = channels.into_iter().map(|c| c.unwrap_or(filler)).collect();
            return Ok(Sums { channels, clip });
        }
    }
    let channels = by_place.into_iter().map(|channel| channel.unwrap_or(filler)).collect();
    Ok(Sums { channels, clip })
}
