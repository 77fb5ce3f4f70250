//! A network read for the samples it is to be fed with.

use std::path::Path;

use crate::{
    data::sample_shapes,
    network::{GraphInput, InputDim},
    runner::RunnerError,
    search::{Model, ModelError, ModelOptions, SearchRequest},
};

/// What a network is read from.
#[derive(Debug, Clone, Copy, Default)]
pub struct ModelSource<'a> {
    /// The embedded network where absent.
    pub model: Option<&'a Path>,
    /// Other weights for it: a .safetensors file.
    pub weights: Option<&'a Path>,
    /// What it is to be fed with.
    pub data: Option<&'a Path>,
    /// The shape of a batch, as typed, where nothing feeds it.
    pub input_shape: Option<&'a [usize]>,
}

impl<'a> From<&'a SearchRequest> for ModelSource<'a> {
    fn from(request: &'a SearchRequest) -> Self {
        let SearchRequest { model, weights, data, .. } = request;
        let (model, weights, data) = (model.as_deref(), weights.as_deref(), data.as_deref());
        Self { model, weights, data, input_shape: None }
    }
}

/// Reads a network. Where the data has an array for each of its inputs, or there are several
/// inputs, they are joined to one.
///
/// # Errors
/// When the model or its weights cannot be read, or the data lacks an array for an input.
pub fn load_model(source: ModelSource<'_>) -> Result<Model, RunnerError> {
    let name = || source.model.map_or("embedded".into(), |path| path.display().to_string());
    let refuse = |reason| ModelError::Inputs { path: name(), reason };
    let shapes = |inputs: &[(&str, &GraphInput)]| {
        let names: Vec<&str> = inputs.iter().map(|(name, _)| *name).collect();
        if let Some(data) = source.data
            && let Some(shapes) = sample_shapes(data, &names)?
        {
            return Ok(Some(shapes));
        }
        if inputs.len() == 1 {
            return Ok(None);
        }
        let declared = inputs.iter().map(|(name, input)| {
            let given = source.input_shape.filter(|shape| shape.len() == input.dims.len());
            sample_shape(input, given).ok_or(*name)
        });
        let declared: Result<Vec<Vec<usize>>, &str> = declared.collect();
        match (source.data, declared) {
            (Some(data), _) => Err(refuse(format!(
                "it has the inputs {}; {} has no array for each of them: give a .npz or .safetensors file that has, [n, ...] each",
                names.join(", "),
                data.display()
            ))),
            (None, Ok(shapes)) => Ok(Some(shapes)),
            (None, Err(open)) => Err(refuse(format!(
                "it has the inputs {} and leaves the lengths of {open} open; give them: --input-shape 1,64",
                names.join(", ")
            ))),
        }
    };
    let options = ModelOptions { weights: source.weights, sample_shapes: Some(&shapes) };
    Ok(Model::load_with(source.model, &options)?)
}

/// The shape of one sample: as declared, or as given where that is open.
fn sample_shape(input: &GraphInput, given: Option<&[usize]>) -> Option<Vec<usize>> {
    let length = |axis: usize| match &input.dims[axis] {
        InputDim::Fixed(n) => Some(*n),
        InputDim::Open(_) => given.map(|shape| shape[axis]),
    };
    (1..input.dims.len()).map(length).collect()
}
