//! From a policy, or a tuning, to a network that other programs run.

mod verify;

use std::path::{Path, PathBuf};

pub use verify::{Difference, Verified, verify};

use crate::{
    data::{Dataset, Split, SplitLimits},
    domain::{BitwidthPolicy, LayerBits, RunId},
    export::{Deployment, Target},
    network::{Array, Graph, OnnxForm, QuantizableLayer},
    quantization::{Method, Quantizer, TunedNetwork},
    runner::{ModelSource, RunConfig, RunnerError, open_dataset},
    search::{Model, PreprocessingRequest},
    store::BlockingStore,
};

/// What is to be exported.
#[derive(Debug, Clone)]
pub struct ExportSubject {
    pub model: Option<PathBuf>,
    pub weights: Option<PathBuf>,
    /// The embedded images where absent.
    pub data: Option<PathBuf>,
    pub preprocessing: PreprocessingRequest,
    pub policy: BitwidthPolicy,
    pub method: Method,
    /// Decides which image lands in which split.
    pub split_seed: u64,
    pub calibration_images: Option<usize>,
    /// Images to compare runtimes on, at most.
    pub test_images: Option<usize>,
    /// Weights, biases and grids in place of what `method` would find.
    pub tuned: Option<TunedNetwork>,
    /// Where the policy comes from.
    pub origin: Origin,
}

/// The run and device that a policy was found for.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    pub run: Option<RunId>,
    pub profile: Option<String>,
    /// Modelled bytes of the weights on that device.
    pub size_bytes: Option<u64>,
}

impl ExportSubject {
    /// The policy of one episode of a run, or of its best, on the run's own network and splits.
    ///
    /// # Errors
    /// When there is no such run or policy, or the run was stored in another form.
    pub fn of_run(
        store: &BlockingStore,
        id: RunId,
        episode: Option<u32>,
    ) -> Result<Self, RunnerError> {
        let run = store.run(id)?;
        let index = episode.or(run.result.best_episode).ok_or(RunnerError::NoPolicy { run: id })?;
        let record = store.episode(id, index)?;
        let request = RunConfig::of(id, &run.description)?.request;
        let split_seed = request.images_seed();
        Ok(Self {
            model: request.model,
            weights: request.weights,
            data: request.data,
            preprocessing: request.preprocessing,
            policy: record.policy,
            method: request.method,
            split_seed,
            calibration_images: request.calibration_images,
            test_images: request.test_images,
            tuned: None,
            origin: Origin {
                run: Some(id),
                profile: Some(run.description.profile),
                size_bytes: Some(record.cost.size_bytes),
            },
        })
    }

    pub fn model_source(&self) -> ModelSource<'_> {
        let Self { model, weights, data, .. } = self;
        let (model, weights, data) = (model.as_deref(), weights.as_deref(), data.as_deref());
        ModelSource { model, weights, data, input_shape: None }
    }

    pub fn dataset(&self, model: &Model) -> Result<Dataset, RunnerError> {
        let limits = SplitLimits {
            calibration: self.calibration_images,
            search: None,
            test: self.test_images,
        };
        open_dataset(model, self.data.as_deref(), &self.preprocessing, self.split_seed, limits)
    }

    /// The network at the policy.
    ///
    /// # Errors
    /// When data and network do not fit, or the policy is not one of the network.
    pub fn quantized(&self, model: &Model, dataset: &Dataset) -> Result<Graph, RunnerError> {
        if let Some(tuned) = &self.tuned {
            return Ok(tuned.apply(&model.graph)?);
        }
        let images = dataset.load(Split::Calibration)?.to_tensor();
        let quantizer = Quantizer::calibrate(model.graph.clone(), &images, self.method)?;
        Ok(quantizer.apply(&self.policy)?)
    }

    /// The same, ready for a file of this form.
    ///
    /// # Errors
    /// As [`ExportSubject::quantized`], and with every layer that the target cannot run.
    pub fn deployment(
        &self,
        model: &Model,
        dataset: &Dataset,
        form: OnnxForm,
        target: Option<Target>,
    ) -> Result<Deployment, RunnerError> {
        Ok(Deployment::new(self.quantized(model, dataset)?, form, target)?)
    }
}

/// Bytes of the weights when each code takes the policy's bits.
pub fn policy_bytes(model: &Model, policy: &BitwidthPolicy) -> u64 {
    let layers = model.layers.iter().zip(policy.layers());
    let of = |(layer, bits): (&QuantizableLayer, &LayerBits)| {
        let n = model.graph.constant(layer.weight).map_or(0, Array::len) as u64;
        (n * u64::from(bits.weight.get())).div_ceil(8)
    };
    layers.map(of).sum()
}

/// The name of what is made from a model file: its own without the ending.
pub fn stem(model: &Model) -> &str {
    Path::new(&model.name).file_stem().and_then(|stem| stem.to_str()).unwrap_or("network")
}
