//! The state of a training as bytes, and back.

use tch::Tensor;

use crate::{
    network::{Array, TensorFile},
    quantization::{error::QuantizationError, training::state::State},
};

/// The text that counts epochs.
const EPOCHS: &str = "epochs_done";

/// # Errors
/// When libtorch cannot copy a tensor.
pub fn write(state: &State, epochs_done: u32) -> Result<Vec<u8>, QuantizationError> {
    let mut file = TensorFile::default();
    file.texts.insert(EPOCHS.into(), epochs_done.to_string());
    for variable in &state.variables {
        let name = &variable.name;
        file.arrays.insert(format!("{name}/value"), Array::from_tensor(&variable.value)?);
        file.arrays.insert(format!("{name}/velocity"), Array::from_tensor(&variable.velocity)?);
    }
    for statistic in &state.statistics {
        let name = format!("{}/mean", statistic.name);
        file.arrays.insert(name, Array::from_tensor(&statistic.value)?);
    }
    Ok(file.to_bytes())
}

/// Puts what was written into a state that started alike; gives the epochs done.
///
/// # Errors
/// [`QuantizationError::Checkpoint`] when something is missing or has another shape.
pub fn read(state: &mut State, bytes: &[u8]) -> Result<u32, QuantizationError> {
    let file = TensorFile::parse(bytes).map_err(broken)?;
    let epochs = file.texts.get(EPOCHS).and_then(|text| text.parse().ok());
    let epochs = epochs.ok_or_else(|| broken("it does not say how many epochs it took".into()))?;
    let read = |name: String, like: &Tensor| {
        let array = file.arrays.get(&name).ok_or_else(|| broken(format!("{name} is missing")))?;
        let tensor = array.to_tensor();
        if tensor.size() != like.size() {
            let (found, needed) = (tensor.size(), like.size());
            return Err(broken(format!("{name} is {found:?} where {needed:?} is needed")));
        }
        Ok(tensor)
    };
    for variable in &mut state.variables {
        variable.value = read(format!("{}/value", variable.name), &variable.value)?;
        variable.velocity = read(format!("{}/velocity", variable.name), &variable.velocity)?;
    }
    for statistic in &mut state.statistics {
        statistic.value = read(format!("{}/mean", statistic.name), &statistic.value)?;
    }
    Ok(epochs)
}

fn broken(reason: String) -> QuantizationError {
    QuantizationError::Checkpoint { reason }
}
