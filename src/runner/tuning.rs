//! One tuning from the post-training start, or from where it was left, to its figures on the
//! test split. Every finished epoch is kept.

use std::{path::PathBuf, time::Instant};

use serde::{Deserialize, Serialize};

use crate::{
    data::{Dataset, Images, Split, SplitLimits},
    domain::{
        BitwidthPolicy, Measure, RunId, RunState, TuningDescription, TuningEpoch, TuningId,
        TuningRecord, TuningTest,
    },
    network::{Graph, TensorFile},
    quantization::{
        EvaluationSettings, Evaluator, Method, QuantizationError, Quantizer, StepReport, Training,
        TrainingImages, TrainingSettings, TunedNetwork,
    },
    runner::{
        RunnerError,
        inputs::{data_name, open_dataset},
        model::{ModelSource, load_model},
    },
    search::{Model, PreprocessingRequest},
    store::{BlockingStore, TuningClaim, TuningStep},
};

/// What is asked of a tuning: everything that the same one needs to start again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TuningRequest {
    /// The run whose policy it is, if one's.
    pub run: Option<RunId>,
    /// The embedded network where absent.
    pub model: Option<PathBuf>,
    /// Other weights for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// The embedded images where absent.
    pub data: Option<PathBuf>,
    pub preprocessing: PreprocessingRequest,
    pub policy: BitwidthPolicy,
    /// The best epoch is best in this, on the search split.
    pub measure: Measure,
    /// Decides which image lands in which split.
    pub split_seed: u64,
    pub calibration_images: Option<usize>,
    pub search_images: Option<usize>,
    pub test_images: Option<usize>,
    pub settings: TrainingSettings,
}

impl TuningRequest {
    pub fn model_source(&self) -> ModelSource<'_> {
        let Self { model, weights, data, .. } = self;
        let (model, weights, data) = (model.as_deref(), weights.as_deref(), data.as_deref());
        ModelSource { model, weights, data, input_shape: None }
    }
}

/// What happens during a tuning.
#[derive(Debug, Clone, Copy)]
pub enum TuningEvent<'a> {
    /// A step of the epoch in flight is done.
    Step(&'a StepReport),
    /// An epoch, or the start, was judged and is kept.
    Epoch { epoch: &'a TuningEpoch, is_best: bool },
}

/// A tuning with everything in place to go on.
pub struct Tuner<'a> {
    store: &'a BlockingStore,
    claim: TuningClaim,
    request: TuningRequest,
    prepared: Prepared,
    epochs: Vec<TuningEpoch>,
    best_epoch: Option<u32>,
}

/// Network and images, calibrated and ready.
struct Prepared {
    quantizer: Quantizer,
    training: Training,
    model_digest: String,
    model_name: String,
    search: Evaluator,
    test: Images,
    data_digest: String,
    n_training_images: usize,
    settings: EvaluationSettings,
}

impl<'a> Tuner<'a> {
    /// Calibrates, measures the float network and enters a new tuning in the database.
    ///
    /// # Errors
    /// When network, images, policy and settings do not go together.
    pub fn begin(
        store: &'a BlockingStore,
        request: TuningRequest,
        settings: EvaluationSettings,
    ) -> Result<Self, RunnerError> {
        let prepared = Prepared::new(&request, settings)?;
        let description = TuningDescription {
            run: request.run,
            model: prepared.model_name.clone(),
            model_digest: prepared.model_digest.clone(),
            data: data_name(request.data.as_deref()),
            data_digest: prepared.data_digest.clone(),
            policy: request.policy.clone(),
            measure: request.measure,
            seed: request.settings.seed,
            epochs_planned: request.settings.epochs,
            float_search: prepared.search.float().quality,
            config: serde_json::to_value(&request).expect("a request is plain data"),
        };
        let claim = store.create_tuning(&description)?;
        Ok(Self { store, claim, request, prepared, epochs: Vec::new(), best_epoch: None })
    }

    /// Takes up a tuning that was interrupted, failed or was killed.
    ///
    /// # Errors
    /// When another process works on it, it is completed, or its model or data have changed.
    pub fn resume(
        store: &'a BlockingStore,
        id: TuningId,
        settings: EvaluationSettings,
    ) -> Result<Self, RunnerError> {
        let record = store.tuning(id)?;
        let request = tuning_request(&record)?;
        let was = &record.description;
        let mut prepared = Prepared::new(&request, settings)?;
        for (what, was, is) in [
            ("the model", &was.model_digest, &prepared.model_digest),
            ("the data or how it is used", &was.data_digest, &prepared.data_digest),
        ] {
            if was != is {
                let (was, is) = (was.clone(), is.clone());
                return Err(RunnerError::TuningChanged { tuning: id, what, was, is });
            }
        }
        let claim = store.claim_tuning(id)?;
        let TuningRecord { epochs, best_epoch, .. } = store.tuning(id)?;
        if let Some(checkpoint) = store.tuning_checkpoint(id)? {
            prepared.training.restore(&checkpoint)?;
        }
        Ok(Self { store, claim, request, prepared, epochs, best_epoch })
    }

    pub fn id(&self) -> TuningId {
        self.claim.id()
    }

    pub fn request(&self) -> &TuningRequest {
        &self.request
    }

    /// Finished epochs that lie behind.
    pub fn epochs_done(&self) -> u32 {
        self.prepared.training.epochs_done()
    }

    pub fn n_training_images(&self) -> usize {
        self.prepared.n_training_images
    }

    pub fn n_search_images(&self) -> usize {
        self.prepared.search.n_images()
    }

    /// Trains the epochs that are left and measures on the test split. `observer` says after
    /// each step whether to go on; when not, the epoch in flight is given up.
    ///
    /// # Errors
    /// What was committed stays; the tuning is marked as failed, with the reason.
    pub fn execute(
        mut self,
        observer: &mut (dyn FnMut(TuningEvent<'_>) -> bool + Send),
    ) -> Result<TuningRecord, RunnerError> {
        let (state, error, test) = match self.work(observer) {
            Ok(Some(test)) => (RunState::Completed, None, Some(test)),
            Ok(None) => (RunState::Interrupted, None, None),
            Err(error) => (RunState::Failed, Some(error), None),
        };
        let text = error.as_ref().map(ToString::to_string);
        let ended = self.store.end_tuning(&self.claim, state, text.as_deref(), test.as_ref());
        match (error, ended) {
            // The first error is the one that tells.
            (Some(error), _) => Err(error),
            (None, Err(error)) => Err(error.into()),
            (None, Ok(())) => Ok(self.store.tuning(self.claim.id())?),
        }
    }

    fn work(
        &mut self,
        observer: &mut (dyn FnMut(TuningEvent<'_>) -> bool + Send),
    ) -> Result<Option<TuningTest>, RunnerError> {
        if self.epochs.is_empty() {
            let start = Instant::now();
            self.judge(None, start, observer)?;
        }
        let threads = self.prepared.settings.threads;
        while !self.prepared.training.is_finished() {
            let start = Instant::now();
            let step = &mut |report: &StepReport| observer(TuningEvent::Step(report));
            let Some(report) = self.prepared.training.epoch(threads, step)? else {
                return Ok(None);
            };
            self.judge(Some((report.loss, report.learning_rate)), start, observer)?;
        }
        self.test().map(Some)
    }

    /// Measures the network as it is on the search split, and keeps it with what is needed to go
    /// on after it.
    ///
    /// - `trained`: loss and learning rate; none for the start
    fn judge(
        &mut self,
        trained: Option<(f64, f64)>,
        start: Instant,
        observer: &mut (dyn FnMut(TuningEvent<'_>) -> bool + Send),
    ) -> Result<(), RunnerError> {
        let Prepared { training, search, quantizer, .. } = &self.prepared;
        let network = training.network()?;
        let quality = search.evaluate(&network.apply(quantizer.graph())?)?.quality;
        let epoch = TuningEpoch {
            epoch: training.epochs_done(),
            training_loss: trained.map(|(loss, _)| loss),
            learning_rate: trained.map(|(_, rate)| rate),
            quality,
            wall_s: start.elapsed().as_secs_f64(),
        };
        let measured = |epoch: &TuningEpoch| self.request.measure.of(&epoch.quality);
        // The start is kept until an epoch is done, and not longer: the float network may have
        // learned the search images by heart, which flatters whatever is nearest to it.
        let trained_best = self.best_epoch.filter(|epoch| *epoch > 0);
        let best = trained_best.and_then(|best| self.epochs.iter().find(|e| e.epoch == best));
        let is_best = match (best.and_then(measured), measured(&epoch)) {
            (Some(best), Some(found)) => found > best,
            (None, found) => found.is_some(),
            (Some(_), None) => false,
        };
        let file = || network.to_file(&self.prepared.model_digest).to_bytes();
        let step = TuningStep {
            epoch: &epoch,
            state: trained.map(|_| training.checkpoint()).transpose()?,
            best_network: is_best.then(file),
        };
        self.store.commit_tuning_epoch(&self.claim, &step)?;
        observer(TuningEvent::Epoch { epoch: &epoch, is_best });
        if is_best {
            self.best_epoch = Some(epoch.epoch);
        }
        self.epochs.push(epoch);
        Ok(())
    }

    /// Float, start and the best epoch on the test images, which nothing was chosen by.
    fn test(&self) -> Result<TuningTest, RunnerError> {
        let Prepared { quantizer, test, settings, .. } = &self.prepared;
        let float = quantizer.graph();
        let evaluator = Evaluator::new(float, &test.to_tensor(), test.labels(), *settings)?;
        let start = quantizer.apply(&self.request.policy)?;
        let tuned = tuned_network(self.store, self.claim.id())?.apply(float)?;
        Ok(TuningTest {
            float: evaluator.float().quality,
            start: evaluator.evaluate(&start)?.quality,
            tuned: evaluator.evaluate(&tuned)?.quality,
        })
    }
}

impl Prepared {
    fn new(request: &TuningRequest, settings: EvaluationSettings) -> Result<Self, RunnerError> {
        let model = load_model(request.model_source())?;
        let dataset = dataset(request, &model)?;
        let calibration = dataset.load(Split::Calibration)?;
        let (search, test) = (dataset.load(Split::Search)?, dataset.load(Split::Test)?);
        let training = dataset.load_training()?;
        let data_digest = Images::digest_of(&[&training, &search, &test]);
        let n_training_images = training.len();
        let labels = search.labels();
        let evaluator = Evaluator::new(&model.graph, &search.to_tensor(), labels, settings)?;
        let measure = request.measure;
        if measure.of(&evaluator.float().quality).is_none() {
            return Err(QuantizationError::NoLabels { measure }.into());
        }
        let method = Method::default();
        let quantizer = Quantizer::calibrate(model.graph, &calibration.to_tensor(), method)?;
        let set = TrainingImages::new(training.to_tensor(), training.labels(), training.black());
        let training =
            Training::start(&quantizer, &model.norms, &request.policy, set, request.settings)?;
        Ok(Self {
            quantizer,
            training,
            model_digest: model.digest,
            model_name: model.name,
            search: evaluator,
            test,
            data_digest,
            n_training_images,
            settings,
        })
    }
}

/// What a stored tuning was asked.
///
/// # Errors
/// When it was stored in a form that this program does not read.
pub fn tuning_request(record: &TuningRecord) -> Result<TuningRequest, RunnerError> {
    let config = record.description.config.clone();
    serde_json::from_value(config).map_err(|error| RunnerError::TuningSettings {
        tuning: record.id,
        reason: error.to_string(),
    })
}

/// The best network of a tuning, as it is stored.
///
/// # Errors
/// When there is none yet, or it cannot be read.
pub fn tuned_network(store: &BlockingStore, id: TuningId) -> Result<TunedNetwork, RunnerError> {
    let bytes = store.tuned_network(id)?.unwrap_or_default();
    let file = TensorFile::parse(&bytes).map_err(|reason| QuantizationError::Tuned { reason })?;
    Ok(TunedNetwork::of_file(&file)?.0)
}

/// `float` with a tuned network's weights and biases as an ONNX file; activations are not
/// rounded in it.
///
/// # Errors
/// When they do not fit, or an operation has no form in ONNX.
pub fn tuned_onnx(float: &Graph, network: &TunedNetwork) -> Result<Vec<u8>, RunnerError> {
    let graph = network.apply_weights(float)?;
    Ok(graph.to_onnx().map_err(QuantizationError::from)?)
}

fn dataset(request: &TuningRequest, model: &Model) -> Result<Dataset, RunnerError> {
    let limits = SplitLimits {
        calibration: request.calibration_images,
        search: request.search_images,
        test: request.test_images,
    };
    let data = request.data.as_deref();
    open_dataset(model, data, &request.preprocessing, request.split_seed, limits)
}
