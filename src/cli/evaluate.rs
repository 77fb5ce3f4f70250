//! `haq evaluate`.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    cli::{
        args::{EvaluateArgs, Global, KernelName, SplitName},
        exit::{Ending, UsageError},
        output,
        session::{evaluation_settings, preprocessing_request},
    },
    data::{DataSource, DataSpec, Dataset, Images, Split, SplitLimits},
    domain::{BitwidthPolicy, Measure, Quality},
    export::PolicyFile,
    network::{Graph, QuantizableLayer, TensorFile},
    quantization::{
        EvaluationSettings, Evaluator, IntegerMeasured, IntegerNetwork, KernelChoice, Measured,
        Quantizer, RangeRule, TunedNetwork, WeightGrids,
    },
    runner,
    search::{Model, Pins, with_shared_tensors},
};

pub fn run(global: &Global, args: &EvaluateArgs) -> anyhow::Result<Ending> {
    if args.input.model.is_some() && args.input.data.is_none() {
        return Err(
            UsageError("--model needs --data: images to calibrate and judge with".into()).into()
        );
    }
    let settings = evaluation_settings(&args.machine)?;
    if args.integer.is_some() && settings.device != tch::Device::Cpu {
        return Err(UsageError("--integer runs on the processor; leave --device out".into()).into());
    }
    let model = Model::load(args.input.model.as_deref())?;
    let dataset = dataset(args, &model)?;
    let split = match args.split {
        SplitName::Test => Split::Test,
        SplitName::Search => Split::Search,
    };
    let subject = match &args.bits.tuned {
        Some(path) => Subject::tuned(path, args, model, &dataset)?,
        None => Subject::calibrated(args, model, &dataset)?,
    };
    let results = subject.measure(&dataset.load(split)?, args.integer, settings)?;
    if global.json {
        let mut object = results.json();
        object["schema"] = output::SCHEMA.into();
        object["calibration_images"] = subject.n_calibrated.into();
        object["method"] = subject.method.as_str().into();
        object["layers"] = layers_json(&subject).into();
        output::print_json(&object)?;
        return Ok(Ending::Done);
    }
    output::print(&format!(
        "{}{} images, {}",
        results.text(),
        results.n_images,
        match subject.n_calibrated {
            Some(n) => format!("calibrated on {n} others, method {}", subject.method),
            None => subject.method,
        },
    ))?;
    Ok(Ending::Done)
}

/// A network in float and quantized.
struct Subject {
    float: Graph,
    quantized: Graph,
    layers: Vec<QuantizableLayer>,
    policy: BitwidthPolicy,
    method: String,
    /// Images that bits and ranges come from; none where they were trained.
    n_calibrated: Option<usize>,
    /// What else integers need.
    weight_grids: WeightGrids,
    range: RangeRule,
    calibration: Images,
}

impl Subject {
    fn calibrated(args: &EvaluateArgs, model: Model, dataset: &Dataset) -> anyhow::Result<Self> {
        let policy = policy(args, &model)?;
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
    fn tuned(
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

    fn measure(
        &self,
        images: &Images,
        integer: Option<KernelName>,
        settings: EvaluationSettings,
    ) -> anyhow::Result<Results> {
        let evaluator =
            Evaluator::new(&self.float, &images.to_tensor(), images.labels(), settings)?;
        let quantized = evaluator.evaluate(&self.quantized)?;
        let integer = match integer {
            None => None,
            Some(name) => {
                let network = IntegerNetwork::of_quantized(
                    self.quantized.clone(),
                    &self.weight_grids,
                    &self.calibration.to_tensor(),
                    self.range,
                    kernels(name),
                )?;
                Some(evaluator.evaluate_integer(&network)?)
            }
        };
        let (n_images, float) = (evaluator.n_images(), evaluator.float());
        Ok(Results { n_images, quantized, float, integer })
    }
}

fn kernels(name: KernelName) -> KernelChoice {
    match name {
        KernelName::Int8 => KernelChoice::Int8,
        KernelName::Packed => KernelChoice::Packed,
    }
}

/// What was measured on one set of images.
struct Results {
    n_images: usize,
    quantized: Measured,
    float: Measured,
    integer: Option<IntegerMeasured>,
}

impl Results {
    fn per_second(&self, measured: &Measured) -> f64 {
        self.n_images as f64 / measured.wall_s
    }

    fn json(&self) -> Value {
        let shown = |measured: &Measured| {
            json!({
                "quality": quality_json(&measured.quality),
                "wall_s": measured.wall_s,
                "images_per_s": self.per_second(measured),
            })
        };
        let mut object = shown(&self.quantized);
        object["images"] = self.n_images.into();
        object["float"] = shown(&self.float);
        if let Some(integer) = &self.integer {
            object["integer"] = shown(&integer.integer);
            object["integer"]["fake_quantized"] = shown(&integer.fake_quantized);
            object["integer"]["same_class"] = integer.same_class.into();
        }
        object
    }

    /// One line a network.
    fn text(&self) -> String {
        let mut rows = vec![("float", self.float), ("quantized", self.quantized)];
        if let Some(integer) = &self.integer {
            rows.push(("fake-quant", integer.fake_quantized));
            rows.push(("integer", integer.integer));
        }
        let line = |(name, measured): &(&str, Measured)| {
            let quality = Measure::ALL.iter().filter_map(|measure| {
                let value = measure.of(&measured.quality)?;
                Some(format!("{measure} {}", measure.show(value)))
            });
            let quality = quality.collect::<Vec<_>>().join("  ");
            format!("{name:<11}{quality}  {:.0} images/s\n", self.per_second(measured))
        };
        let mut text: String = rows.iter().map(line).collect();
        if let Some(integer) = &self.integer {
            text.push_str(&format!(
                "integers and floats that round where they do give the same class to {:.2} % of the images\n",
                integer.same_class * 100.0
            ));
        }
        text
    }
}

fn policy(args: &EvaluateArgs, model: &Model) -> anyhow::Result<BitwidthPolicy> {
    let names = model.layer_names();
    if let Some(path) = &args.bits.policy {
        return Ok(PolicyFile::load(path)?.policy_for(path, &names)?);
    }
    let bits = args.bits.bits.expect("clap asks for --bits or --policy");
    let policy = pinned_uniform(&names, bits, args.pin.as_ref())?;
    Ok(with_shared_tensors(&model.layers, policy))
}

/// `bits` everywhere but where a pin says otherwise.
pub fn pinned_uniform(
    names: &[&str],
    bits: crate::domain::LayerBits,
    pins: Option<&Pins>,
) -> anyhow::Result<BitwidthPolicy> {
    let pins = pins.cloned().unwrap_or_default();
    let pinned = pins.resolve(names).map_err(UsageError)?;
    Ok(BitwidthPolicy::new(pinned.into_iter().map(|pin| pin.unwrap_or(bits)).collect()))
}

fn dataset(args: &EvaluateArgs, model: &Model) -> anyhow::Result<Dataset> {
    let (search, test) = match args.split {
        SplitName::Search => (args.images, None),
        SplitName::Test => (None, args.images),
    };
    let spec = DataSpec {
        source: match &args.input.data {
            Some(path) => DataSource::Path(path.clone()),
            None => DataSource::Embedded,
        },
        preprocessing: runner::preprocessing(model, &preprocessing_request(&args.input))?,
        seed: args.seed,
        limits: SplitLimits { calibration: args.input.calibration, search, test },
    };
    Ok(Dataset::open(&spec, &model.graph.input_shape()?, None)?)
}

fn quality_json(quality: &Quality) -> Value {
    json!({
        "top1": quality.top1,
        "top5": quality.top5,
        "loss": quality.loss,
        "agreement": quality.agreement,
        "kl": quality.kl,
        "mse": quality.mse,
    })
}

fn layers_json(subject: &Subject) -> Vec<Value> {
    let layers = subject.layers.iter().zip(subject.policy.layers());
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
