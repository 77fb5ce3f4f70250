//! A network, images and a method that policies are judged with, as a worker is given them: files
//! by their digests, no paths.

use serde::{Deserialize, Serialize};

use crate::{
    data::{Images, Split, Splits},
    domain::Strategy,
    network::{GraphInput, InputDim},
    quantization::EvaluationSettings,
    queue::{Blob, BlobError, BlobStore},
    runner::{RunnerError, inputs, prepared::settings_like},
    search::{Model, Plan, SearchRequest, Session},
};

/// Version of the object.
const SCHEMA: u32 = 1;

/// All that judging a policy depends on, but the policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Testbed {
    pub schema: u32,
    /// Without paths, and without what only concerns who proposes.
    pub request: SearchRequest,
    /// What the run's policies are judged in; see `Prepared::evaluation_key`.
    pub evaluation_key: String,
    pub model_name: String,
    /// The ONNX file.
    pub onnx: Blob,
    /// A .safetensors file with other weights for it.
    pub weights: Option<Blob>,
    /// Of the file and its other weights together, SHA-256, hexadecimal.
    pub model_digest: String,
    /// Of one sample of each input, where they are joined.
    pub sample_shapes: Option<Vec<Vec<usize>>>,
    /// One sample as the network reads it, `[1, ...]`.
    pub input_shape: Vec<usize>,
    /// Packed images.
    pub calibration: Blob,
    pub search: Blob,
}

/// A testbed that workers can be given.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    pub testbed: Blob,
    /// The first part of the testbed's own description, then of each of its files.
    pub first_parts: Vec<String>,
}

/// What a worker reads of the files of a testbed.
pub struct TestbedBytes {
    pub onnx: Vec<u8>,
    pub weights: Option<Vec<u8>>,
    pub calibration: Vec<u8>,
    pub search: Vec<u8>,
}

/// Why a testbed could not be packed or set up.
#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    #[error(transparent)]
    Runner(#[from] RunnerError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(
        "{model}: a fleet is given one file, and this network has tensors in further ones ({reason}); \
         save it with its tensors inside"
    )]
    NotInOneFile { model: String, reason: String },
    #[error(
        "the testbed is of schema {found}; this program reads {SCHEMA}: use one version of haq everywhere"
    )]
    OtherSchema { found: u32 },
    #[error("the model {name} has digest {found}, and {expected} was promised")]
    WrongModel { name: String, found: String, expected: String },
    #[error("{0}")]
    Images(String),
}

impl Testbed {
    /// Puts everything where workers find it; what is there already is not sent again.
    ///
    /// # Errors
    /// When model or images cannot be read any more, or cannot be sent.
    pub async fn pack(
        plan: &Plan,
        evaluation_key: &str,
        blobs: &impl BlobStore,
    ) -> Result<Packed, TestbedError> {
        let request = &plan.request;
        let onnx = Model::file_bytes(request.model.as_deref()).map_err(RunnerError::from)?;
        let weights = request.weights.as_deref().map(|path| Model::file_bytes(Some(path)));
        let weights = weights.transpose().map_err(RunnerError::from)?;
        let sample_shapes = sample_shapes(&plan.model);
        let name = &plan.model.name;
        let again =
            Model::from_bytes(name.clone(), onnx.clone(), weights.clone(), sample_shapes.clone());
        let again = again.map_err(|error| TestbedError::NotInOneFile {
            model: name.clone(),
            reason: error.to_string(),
        })?;
        is_the_one(&again, &plan.model.digest)?;
        let dataset = inputs::load_dataset(request, &plan.model)?;
        let packed = |split| -> Result<Vec<u8>, TestbedError> {
            Ok(dataset.load(split).map_err(RunnerError::from)?.pack())
        };
        let (calibration, search) = (packed(Split::Calibration)?, packed(Split::Search)?);
        let testbed = Self {
            schema: SCHEMA,
            request: judged_by(request),
            evaluation_key: evaluation_key.to_owned(),
            model_name: name.clone(),
            onnx: blobs.put(&onnx).await?,
            weights: match &weights {
                Some(weights) => Some(blobs.put(weights).await?),
                None => None,
            },
            model_digest: plan.model.digest.clone(),
            sample_shapes,
            input_shape: plan.input_shape.clone(),
            calibration: blobs.put(&calibration).await?,
            search: blobs.put(&search).await?,
        };
        let bytes = serde_json::to_vec(&testbed).expect("a testbed is plain data");
        let place = blobs.put(&bytes).await?;
        let Self { onnx, weights, calibration, search, .. } = &testbed;
        let files = [Some(&place), Some(onnx), weights.as_ref(), Some(calibration), Some(search)];
        let first_parts = files.into_iter().flatten().flat_map(|file| file.parts.first()).cloned();
        Ok(Packed { first_parts: first_parts.collect(), testbed: place })
    }

    /// # Errors
    /// When it is not one, or of another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let told = |error: serde_json::Error| format!("the testbed cannot be read: {error}");
        let Version { schema } = serde_json::from_slice(bytes).map_err(told)?;
        if schema != SCHEMA {
            return Err(TestbedError::OtherSchema { found: schema }.to_string());
        }
        serde_json::from_slice(bytes).map_err(told)
    }

    /// Calibrates the network and runs it in float: policies can be judged then.
    ///
    /// # Errors
    /// When files are not what they are said to be, or do not go together.
    pub fn set_up(
        &self,
        files: TestbedBytes,
        settings: EvaluationSettings,
    ) -> Result<Session, TestbedError> {
        let (name, shapes) = (self.model_name.clone(), self.sample_shapes.clone());
        let model = Model::from_bytes(name, files.onnx, files.weights, shapes);
        let model = model.map_err(RunnerError::from)?;
        is_the_one(&model, &self.model_digest)?;
        let plan = Plan::new(self.request.clone(), model, self.input_shape.clone());
        let plan = plan.map_err(RunnerError::from)?;
        let calibration = Images::unpack(&files.calibration).map_err(TestbedError::Images)?;
        let search = Images::unpack(&files.search).map_err(TestbedError::Images)?;
        let test = search.emptied();
        let settings = settings_like(settings, &self.evaluation_key);
        let session = Session::new(&plan, Splits { calibration, search, test }, settings);
        Ok(session.map_err(RunnerError::from)?)
    }
}

/// The request with what its judgements depend on: testbeds of unlike strategies are the same.
fn judged_by(request: &SearchRequest) -> SearchRequest {
    let trains = request.episode_finetune > 0;
    SearchRequest {
        model: None,
        weights: None,
        data: None,
        profile_origin: "the fleet's task".into(),
        strategy: Strategy::Random,
        budgets: Vec::new(),
        episodes: 1,
        round: 1,
        seed: if trains { request.seed } else { 0 },
        split_seed: Some(request.images_seed()),
        ..request.clone()
    }
}

fn sample_shapes(model: &Model) -> Option<Vec<Vec<usize>>> {
    let joined = model.graph.joined_inputs();
    let length = |dim: &InputDim| match dim {
        InputDim::Fixed(length) => Some(*length),
        InputDim::Open(_) => None,
    };
    let lengths = |input: &GraphInput| input.dims[1..].iter().map(length).collect();
    if joined.is_empty() { None } else { joined.iter().map(lengths).collect() }
}

fn is_the_one(model: &Model, expected: &str) -> Result<(), TestbedError> {
    if model.digest == expected {
        return Ok(());
    }
    let (name, found) = (model.name.clone(), model.digest.clone());
    Err(TestbedError::WrongModel { name, found, expected: expected.to_owned() })
}
