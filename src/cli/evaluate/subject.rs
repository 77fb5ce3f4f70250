//! What is judged: a network in float, and quantized at a policy or by training.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::results::Results;
use crate::{
    cli::{
        args::{BitsArgs, EvaluateArgs},
        session::policy,
    },
    data::{Dataset, Images, Split},
    domain::BitwidthPolicy,
    network::{Graph, QuantizableLayer, TensorFile},
    quantization::{
        EvaluationSettings, Evaluator, IntegerNetwork, KernelChoice, Quantizer, RangeRule,
        TunedNetwork, WeightGrids,
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
        let quantizer = Quantizer::calibrate(model.graph, &calibration.to_tensor(), args.method)?;
        Ok(Self {
            quantized: quantizer.apply(&policy)?,
            float: quantizer.graph().clone(),
            layers: quantizer.layers().to_vec(),
            weight_grids: quantizer.weight_grids(&policy)?,
            policy,
            method: args.method.to_string(),
            n_calibrated: Some(calibration.len()),
            range: args.method.activation_range,
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
        let shown = path.display().to_string();
        let bytes = std::fs::read(path).with_context(|| shown.clone())?;
        let file =
            TensorFile::parse(&bytes).map_err(|reason| anyhow::anyhow!("{shown}: {reason}"))?;
        let (network, digest) = TunedNetwork::of_file(&file).with_context(|| shown.clone())?;
        if digest != model.digest {
            let name = &model.name;
            anyhow::bail!("{shown}: it was trained from another model than {name} ({digest})");
        }
        Ok(Self {
            quantized: network.apply(&model.graph).with_context(|| shown)?,
            weight_grids: network.weight_grids(&model.graph),
            float: model.graph,
            layers: model.layers,
            policy: network.policy(),
            method: "finetune".into(),
            n_calibrated: None,
            range: args.method.activation_range,
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
