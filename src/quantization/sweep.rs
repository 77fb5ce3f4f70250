//! Many single roundings measured one after the other, from the front of the network to its
//! end, so that what lies before each is computed once.

use std::collections::BTreeMap;

use crate::{
    domain::{Bits, Operand, Quality},
    network::QuantizableLayer,
    quantization::{
        alone::{RoundedAlone, SingleRoundings},
        error::QuantizationError,
        prefix::PrefixEvaluator,
        quantized_network::Quantizer,
    },
};

/// One tensor of one layer at some bits, everything else in float.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SingleRounding {
    pub layer_index: usize,
    pub operand: Operand,
    pub bits: Bits,
}

/// What the network still answers with one tensor rounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasuredAlone {
    pub rounding: SingleRounding,
    pub quality: Quality,
    /// Sum of squared changes of the weights; none for activations.
    pub squared_error: Option<f64>,
}

/// Measures `wanted`; layers that read one tensor share its measurement.
///
/// - `prefix`: over the network of `quantizer`, as its method prepared it
/// - `keep`: is given what was measured together, as soon as it is known
///
/// # Errors
/// When a network does not run, the method does more than to round tensors, or `keep` fails.
pub fn sweep<E: From<QuantizationError>>(
    quantizer: &Quantizer,
    prefix: &mut PrefixEvaluator<'_>,
    wanted: &[SingleRounding],
    keep: &mut dyn FnMut(&[MeasuredAlone]) -> Result<(), E>,
) -> Result<(), E> {
    let layers = quantizer.layers();
    let mut roundings = SingleRoundings::new(quantizer);
    for (first_changed, singles) in stops(layers, wanted, &mut roundings)? {
        let rounded = singles
            .iter()
            .map(|one| roundings.at(one.layer_index, one.operand, one.bits))
            .collect::<Result<Vec<RoundedAlone>, _>>()?;
        let squared_errors: Vec<_> = rounded.iter().map(|one| one.squared_error).collect();
        let graphs: Vec<_> = rounded.into_iter().map(|one| one.graph).collect();
        let qualities = prefix.evaluate(first_changed, &graphs)?;
        let mut measured = Vec::new();
        for ((single, squared_error), quality) in singles.iter().zip(squared_errors).zip(qualities)
        {
            let same = wanted.iter().filter(|other| is_same_change(layers, single, other));
            measured.extend(same.map(|&rounding| MeasuredAlone {
                rounding,
                quality,
                squared_error,
            }));
        }
        keep(&measured)?;
    }
    Ok(())
}

/// Single roundings by the node that they change first; of equal ones only the first.
fn stops(
    layers: &[QuantizableLayer],
    wanted: &[SingleRounding],
    roundings: &mut SingleRoundings<'_>,
) -> Result<BTreeMap<usize, Vec<SingleRounding>>, QuantizationError> {
    let mut stops = BTreeMap::<usize, Vec<SingleRounding>>::new();
    for (index, single) in wanted.iter().enumerate() {
        if wanted[..index].iter().any(|earlier| is_same_change(layers, single, earlier)) {
            continue;
        }
        let rounded = roundings.at(single.layer_index, single.operand, single.bits)?;
        stops.entry(rounded.first_changed).or_default().push(*single);
    }
    Ok(stops)
}

/// Whether two single roundings change the same tensor in the same way: layers that read one
/// tensor share it.
fn is_same_change(layers: &[QuantizableLayer], a: &SingleRounding, b: &SingleRounding) -> bool {
    let shared = a.operand == Operand::Activation
        && layers[a.layer_index].input == layers[b.layer_index].input;
    (a.operand, a.bits) == (b.operand, b.bits) && (a.layer_index == b.layer_index || shared)
}
