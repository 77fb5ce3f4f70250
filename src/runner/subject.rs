//! What is measured on without a search: a network with the images it is judged and calibrated
//! on, and the float network's own figures, which are kept.

use std::path::PathBuf;

use crate::{
    data::{Images, Split, SplitLimits},
    domain::{Quality, SubjectDescription},
    quantization::{EvaluationSettings, Evaluator},
    runner::{
        RunnerError,
        inputs::{data_name, open_dataset},
    },
    search::{Model, PreprocessingRequest, judged_digest},
    store::{BlockingStore, SubjectId},
};

/// Which images, as typed.
#[derive(Debug, Clone, PartialEq)]
pub struct SubjectRequest {
    /// The embedded images where absent.
    pub data: Option<PathBuf>,
    pub preprocessing: PreprocessingRequest,
    /// What the network is judged on.
    pub split: Split,
    /// Whether divergence is measured on blends of the images as well, as searches do.
    pub blends: bool,
    pub images: Option<usize>,
    pub calibration_images: Option<usize>,
    /// Decides which image lands in which split.
    pub seed: u64,
}

/// A network with its images at hand.
pub struct Subject<'a> {
    pub model: &'a Model,
    pub images: Images,
    pub calibration: Images,
    pub description: SubjectDescription,
    settings: EvaluationSettings,
}

/// A subject's number in the database, and what its float network reaches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FloatFigures {
    pub subject: SubjectId,
    pub quality: Quality,
    pub evaluate_s: f64,
}

impl<'a> Subject<'a> {
    /// # Errors
    /// When nothing says how images are normalised, or the path is no dataset with as many
    /// images.
    pub fn load(
        model: &'a Model,
        request: &SubjectRequest,
        settings: EvaluationSettings,
    ) -> Result<Self, RunnerError> {
        let (search, test) = match request.split {
            Split::Search => (request.images, None),
            Split::Test | Split::Calibration => (None, request.images),
        };
        let limits = SplitLimits { calibration: request.calibration_images, search, test };
        let data = request.data.as_deref();
        let dataset = open_dataset(model, data, &request.preprocessing, request.seed, limits)?;
        let images = dataset.load(request.split)?;
        let calibration = dataset.load(Split::Calibration)?;
        let blends = request.blends;
        let settings = EvaluationSettings { blends, ..settings };
        let description = SubjectDescription {
            model: model.name.clone(),
            model_digest: model.digest.clone(),
            data: data_name(data),
            data_digest: judged_digest(images.digest(), calibration.digest(), blends),
            split: request.split.to_string(),
            images: images.len() as u64,
            calibration_images: calibration.len() as u64,
            seed: request.seed,
        };
        Ok(Self { model, images, calibration, description, settings })
    }

    /// Worker threads of evaluations.
    pub fn threads(&self) -> usize {
        self.settings.threads
    }

    /// An evaluator over the images; the float network runs once.
    ///
    /// # Errors
    /// When the network does not run on the images, or a label is no class of it.
    pub fn evaluator(&self) -> Result<Evaluator, RunnerError> {
        let images = self.images.to_tensor();
        Ok(Evaluator::new(&self.model.graph, &images, self.images.labels(), self.settings)?)
    }

    /// The float network's figures: from the database, or from an evaluator that is made then,
    /// so that the caller need not make it again.
    ///
    /// # Errors
    /// As [`Subject::evaluator`], and when the database cannot be read or written.
    pub fn float(
        &self,
        store: &BlockingStore,
    ) -> Result<(FloatFigures, Option<Evaluator>), RunnerError> {
        let (stored, evaluator) = match store.find_subject(&self.description)? {
            Some(stored) => (stored, None),
            None => {
                let evaluator = self.evaluator()?;
                let float = evaluator.float();
                let stored = store.add_subject(&self.description, &float.quality, float.wall_s)?;
                (stored, Some(evaluator))
            }
        };
        let figures = FloatFigures {
            subject: stored.id,
            quality: stored.float,
            evaluate_s: stored.float_evaluate_s,
        };
        Ok((figures, evaluator))
    }
}
