//! From what was asked to a dataset that fits the network.

use std::path::Path;

use crate::{
    data::{
        Card, DataSource, DataSpec, Dataset, InputShape, Overrides, Preprocessing, Split,
        SplitLimits, Splits,
    },
    network::NetworkError,
    quantization::QuantizationError,
    runner::RunnerError,
    search::{Model, Plan, PreprocessingRequest, SearchRequest},
};

/// How the network wants its images: the card beside it, overruled by what was typed.
pub fn preprocessing(
    model: &Model,
    request: &PreprocessingRequest,
) -> Result<Preprocessing, RunnerError> {
    if !model.graph.joined_inputs().is_empty() {
        return Ok(Preprocessing::none());
    }
    let flags = Overrides {
        scale_max: None,
        mean: request.mean.clone(),
        std: request.std.clone(),
        resize: request.resize.map(|pixels| pixels as usize),
        crop: request.crop.map(|pixels| pixels as usize),
    };
    Ok(Card::resolve(model.card.as_ref(), &flags)?)
}

/// Opens the dataset a request names, for the model's input; reads no image yet.
///
/// # Errors
/// When nothing says how images are normalised, or the path is no dataset.
pub fn load_dataset(request: &SearchRequest, model: &Model) -> Result<Dataset, RunnerError> {
    let limits = SplitLimits {
        calibration: request.calibration_images,
        search: request.search_images,
        test: request.test_images,
    };
    let seed = request.images_seed();
    open_dataset(model, request.data.as_deref(), &request.preprocessing, seed, limits)
}

/// Opens the images at a path, the embedded ones where there is none, for the model's input;
/// reads no image yet.
///
/// # Errors
/// As [`load_dataset`].
pub fn open_dataset(
    model: &Model,
    data: Option<&Path>,
    request: &PreprocessingRequest,
    seed: u64,
    limits: SplitLimits,
) -> Result<Dataset, RunnerError> {
    let inputs = model.graph.joined_inputs().iter();
    let names: Vec<String> =
        inputs.map(|input| model.graph.tensor_name(input.tensor).to_owned()).collect();
    let source = match data {
        None => DataSource::Embedded,
        Some(path) if names.is_empty() => DataSource::Path(path.to_path_buf()),
        Some(path) => DataSource::Arrays { path: path.to_path_buf(), names },
    };
    let preprocessing = preprocessing(model, request)?;
    let spec = DataSpec { source, preprocessing, seed, limits };
    let shape = model.graph.input_shape().map_err(network_error)?;
    Ok(Dataset::open(&spec, &shape, None)?)
}

/// What reports call the images at a path.
pub fn data_name(data: Option<&Path>) -> String {
    data.map_or("embedded".into(), |path| path.display().to_string())
}

/// A plan for what was asked.
///
/// # Errors
/// As [`Plan::new`]; also when the size of the input stays open.
pub fn plan(request: SearchRequest, model: Model) -> Result<Plan, RunnerError> {
    let preprocessing = preprocessing(&model, &request.preprocessing)?;
    let shape = one_image_shape(&model, None, Some(&preprocessing))?;
    Ok(Plan::new(request, model, shape)?)
}

/// The three splits of the images a plan is about.
pub fn load_splits(plan: &Plan) -> Result<Splits, RunnerError> {
    let dataset = load_dataset(&plan.request, &plan.model)?;
    Ok(Splits {
        calibration: dataset.load(Split::Calibration)?,
        search: dataset.load(Split::Search)?,
        test: dataset.load(Split::Test)?,
    })
}

/// The shape of one image as the network reads it, `[1, ...]`: as the file declares it, or
/// as typed, or as preprocessing makes it.
///
/// - `given`: a whole batch as typed, where it was
///
/// # Errors
/// When a size stays open.
pub fn one_image_shape(
    model: &Model,
    given: Option<&[usize]>,
    preprocessing: Option<&Preprocessing>,
) -> Result<Vec<usize>, RunnerError> {
    if let Some(given) = given.filter(|_| model.graph.joined_inputs().is_empty()) {
        let mut shape = given.to_vec();
        shape[..1].fill(1);
        return Ok(shape);
    }
    let declared = model.graph.input_shape().map_err(network_error)?;
    let input = preprocessing.map(|p| InputShape::new(&declared, p)).transpose()?;
    let crop = preprocessing.and_then(|p| p.crop);
    let sizes = [
        Some(1),
        input.as_ref().map(|i| i.channels),
        crop.map(|(height, _)| height),
        crop.map(|(_, width)| width),
    ];
    let fill = |(axis, dim): (usize, &Option<usize>)| match (axis, dim) {
        (0, _) => Some(1),
        (_, Some(size)) => Some(*size),
        (axis, None) => sizes.get(axis).copied().flatten(),
    };
    let shape: Option<Vec<usize>> = declared.iter().enumerate().map(fill).collect();
    shape.ok_or(RunnerError::OpenInput { remedy: "--input-shape N,C,H,W, or --crop with images" })
}

fn network_error(error: NetworkError) -> RunnerError {
    RunnerError::Quantization(QuantizationError::Network(error))
}
