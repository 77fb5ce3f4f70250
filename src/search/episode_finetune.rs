//! A brief training of every policy before it is judged.
//!
//! Source: HAQ's code, one epoch by SGD at a rate of 0.001 in every episode. We differ: training
//! starts from the post-training network, not from nearest rounding, runs on the calibration
//! images, and nears the float network's answers as well as the labels.

use crate::{
    data::Images,
    domain::BitwidthPolicy,
    network::{FoldedNorm, Graph},
    quantization::{
        BatchNormTraining, QuantizationError, Quantizer, Training, TrainingImages,
        TrainingSettings, train_codebooks,
    },
    search::plan::Plan,
};

/// As in HAQ's code.
const LEARNING_RATE: f64 = 1e-3;
const WEIGHT_DECAY: f64 = 4e-5;

/// Trains policies.
pub struct EpisodeFinetune {
    images: Images,
    norms: Vec<FoldedNorm>,
    settings: TrainingSettings,
    /// Whether it is codebooks that are trained.
    codebooks: bool,
    threads: usize,
}

impl EpisodeFinetune {
    /// - `images`: to train on
    ///
    /// # Errors
    /// When the quantizer's method rounds to levels that cannot be learned; codebooks can.
    pub fn new(
        plan: &Plan,
        quantizer: &Quantizer,
        images: Images,
        threads: usize,
    ) -> Result<Self, QuantizationError> {
        let codebooks = plan.request.method.has_codebooks();
        if !codebooks {
            quantizer.check_trainable()?;
        }
        // Preparation changes the layers that batch norms were folded into.
        let prepared = plan.request.method.preparation.is_some();
        let norms = if prepared { Vec::new() } else { plan.model.norms.clone() };
        let settings = TrainingSettings {
            epochs: plan.request.episode_finetune,
            learning_rate: LEARNING_RATE,
            weight_decay: WEIGHT_DECAY,
            seed: plan.request.seed,
            batch_norm: BatchNormTraining::usual(&norms),
            ..TrainingSettings::default()
        };
        Ok(Self { images, norms, settings, codebooks, threads })
    }

    /// The trained network; the post-training one where training goes astray. Equal policies
    /// give equal networks.
    ///
    /// # Errors
    /// When the network does not run.
    pub fn network(
        &self,
        quantizer: &Quantizer,
        policy: &BitwidthPolicy,
    ) -> Result<Graph, QuantizationError> {
        let set =
            TrainingImages::new(self.images.to_tensor(), self.images.labels(), self.images.black());
        let trained = if self.codebooks {
            train_codebooks(quantizer, policy, set, self.settings)
        } else {
            self.train(quantizer, policy, set)
        };
        match trained {
            Err(error @ QuantizationError::LossNotFinite { .. }) => {
                tracing::warn!(policy = policy.key(), %error, "judged without training");
                quantizer.apply(policy)
            }
            trained => trained,
        }
    }

    fn train(
        &self,
        quantizer: &Quantizer,
        policy: &BitwidthPolicy,
        set: TrainingImages,
    ) -> Result<Graph, QuantizationError> {
        let mut training = Training::start(quantizer, &self.norms, policy, set, self.settings)?;
        while !training.is_finished() {
            training.epoch(self.threads, &mut |_| true)?;
        }
        training.network()?.apply(quantizer.graph())
    }
}
