//! What is judged: a network in float, and quantized at a policy or by training.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::results::Results;
use crate::{
    cli::{
        args::{BitsArgs, EvaluateArgs},
        exit::UsageError,
        session::{policy, tuned_network},
    },
    data::{Dataset, Images, Split},
    domain::BitwidthPolicy,
    network::{Graph, QuantizableLayer},
    quantization::{
        EvaluationSettings, Evaluator, IntegerNetwork, KernelChoice, Quantizer, RangeRule,
        WeightGrids,
    },
    search::Model,
};

/// A network in float and quantized.
pub struct Subject {
    float: Graph,
    quantized: Graph,
    layers: Vec<QuantizableLayer>,
    policy: BitwidthPolicy,
    pub method: String,
    /// Images that bits and ranges come from; none where they were trained.
    pub n_calibrated: Option<usize>,
    /// What else integers need.
    weight_grids: WeightGrids,
    range: RangeRule,
    calibration: Images,
}

impl Subject {
    /// Quantized after training, by the method that was asked for.
    pub fn calibrated(
        args: &EvaluateArgs,
        model: Model,
        dataset: &Dataset,
    ) -> anyhow::Result<Self> {
        let BitsArgs { policy: file, bits, .. } = &args.bits;
        let policy = policy(&model, file.as_deref(), *bits, args.pin.as_ref())?;
        let calibration = dataset.load(Split::Calibration)?;
        let quantizer =
            Quantizer::calibrate(model.graph, &calibration.to_tensor(), args.recipe.method)?;
        Ok(Self {
            quantized: quantizer.apply(&policy)?,
            float: quantizer.graph().clone(),
            layers: quantizer.layers().to_vec(),
            weight_grids: quantizer.weight_grids(&policy)?,
            policy,
            method: args.recipe.method.to_string(),
            n_calibrated: Some(calibration.len()),
            range: args.recipe.method.activation_range,
            calibration,
        })
    }

    /// The network of a file that `haq finetune` wrote.
    pub fn tuned(
        path: &Path,
        args: &EvaluateArgs,
        model: Model,
        dataset: &Dataset,
    ) -> anyhow::Result<Self> {
        let network = tuned_network(path, &model)?;
        let shown = || path.display().to_string();
        Ok(Self {
            quantized: network.apply(&model.graph).with_context(shown)?,
            weight_grids: network.weight_grids(&model.graph),
            float: model.graph,
            layers: model.layers,
            policy: network.policy(),
            method: "finetune".into(),
            n_calibrated: None,
            range: args.recipe.method.activation_range,
            calibration: dataset.load(Split::Calibration)?,
        })
    }

    /// As a file that is quantized already has it.
    pub fn stored(args: &EvaluateArgs, model: Model, dataset: &Dataset) -> anyhow::Result<Self> {
        let Some(stored) = model.stored else {
            let problem = "say how many bits: --bits W,A, --policy FILE or --tuned FILE";
            return Err(UsageError(problem.into()).into());
        };
        if args.integer.is_some() {
            let problem = "--integer needs --bits, --policy or --tuned";
            return Err(UsageError(problem.into()).into());
        }
        Ok(Self {
            quantized: stored.graph,
            weight_grids: WeightGrids::default(),
            float: model.graph,
            layers: model.layers,
            policy: stored.policy,
            method: "as stored".into(),
            n_calibrated: None,
            range: args.recipe.method.activation_range,
            calibration: dataset.load(Split::Calibration)?,
        })
    }

    /// The bits of each layer.
    pub fn layers_json(&self) -> Vec<Value> {
        let layers = self.layers.iter().zip(self.policy.layers());
        layers
            .map(|(layer, bits)| {
                json!({
                    "name": layer.name,
                    "weight_bits": bits.weight,
                    "activation_bits": bits.activation,
                })
            })
            .collect()
    }

    /// Float, quantized and, where asked for, on integers.
    pub fn measure(
        &self,
        images: &Images,
        integer: Option<KernelChoice>,
        settings: EvaluationSettings,
    ) -> anyhow::Result<Results> {
        let evaluator =
            Evaluator::new(&self.float, &images.to_tensor(), images.labels(), settings)?;
        let quantized = evaluator.evaluate(&self.quantized)?;
        let integer = match integer {
            None => None,
            Some(kernels) => {
                let network = IntegerNetwork::of_quantized(
                    self.quantized.clone(),
                    &self.weight_grids,
                    &self.calibration.to_tensor(),
                    self.range,
                    kernels,
                )?;
                Some(evaluator.evaluate_integer(&network)?)
            }
        };
        let (n_images, float) = (evaluator.n_images(), evaluator.float());
        Ok(Results { n_images, quantized, float, integer })
    }
}
