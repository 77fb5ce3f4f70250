//! `haq evaluate`.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    cli::{
        args::{EvaluateArgs, Global, SplitName},
        exit::{Ending, UsageError},
        output,
        session::{evaluation_settings, preprocessing_request},
    },
    data::{DataSource, DataSpec, Dataset, Split, SplitLimits},
    domain::{BitwidthPolicy, Measure, Quality},
    export::PolicyFile,
    network::{Graph, QuantizableLayer, TensorFile},
    quantization::{Evaluator, Quantizer, TunedNetwork},
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
    let model = Model::load(args.input.model.as_deref())?;
    let dataset = dataset(args, &model)?;
    let split = match args.split {
        SplitName::Test => Split::Test,
        SplitName::Search => Split::Search,
    };
    let images = dataset.load(split)?;
    let subject = match &args.bits.tuned {
        Some(path) => tuned(path, model)?,
        None => calibrated(args, model, &dataset)?,
    };
    let evaluator = Evaluator::new(&subject.float, &images.to_tensor(), images.labels(), settings)?;
    let measured = evaluator.evaluate(&subject.quantized)?;
    let float = evaluator.float();
    let n = evaluator.n_images() as f64;
    let per_second = |wall_s: f64| n / wall_s;
    if global.json {
        output::print_json(&json!({
            "schema": output::SCHEMA,
            "images": evaluator.n_images(),
            "calibration_images": subject.calibration_images,
            "method": subject.method,
            "quality": quality_json(&measured.quality),
            "wall_s": measured.wall_s,
            "images_per_s": per_second(measured.wall_s),
            "float": {
                "quality": quality_json(&float.quality),
                "wall_s": float.wall_s,
                "images_per_s": per_second(float.wall_s),
            },
            "layers": layers_json(&subject),
        }))?;
        return Ok(Ending::Done);
    }
    let show = |quality: &Quality| {
        let shown = Measure::ALL.iter().filter_map(|measure| {
            measure.of(quality).map(|value| format!("{measure} {}", measure.show(value)))
        });
        shown.collect::<Vec<_>>().join("  ")
    };
    output::print(&format!(
        "float      {}  {:.0} images/s\nquantized  {}  {:.0} images/s\n{} images, {}",
        show(&float.quality),
        per_second(float.wall_s),
        show(&measured.quality),
        per_second(measured.wall_s),
        evaluator.n_images(),
        match subject.calibration_images {
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
    /// None where nothing was calibrated.
    calibration_images: Option<usize>,
}

fn calibrated(args: &EvaluateArgs, model: Model, dataset: &Dataset) -> anyhow::Result<Subject> {
    let policy = policy(args, &model)?;
    let calibration = dataset.load(Split::Calibration)?;
    let quantizer = Quantizer::calibrate(model.graph, &calibration.to_tensor(), args.method)?;
    Ok(Subject {
        quantized: quantizer.apply(&policy)?,
        float: quantizer.graph().clone(),
        layers: quantizer.layers().to_vec(),
        policy,
        method: args.method.to_string(),
        calibration_images: Some(calibration.len()),
    })
}

/// The network of a file that `haq finetune` wrote.
fn tuned(path: &Path, model: Model) -> anyhow::Result<Subject> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| shown.clone())?;
    let file = TensorFile::parse(&bytes).map_err(|reason| anyhow::anyhow!("{shown}: {reason}"))?;
    let (network, digest) = TunedNetwork::of_file(&file).with_context(|| shown.clone())?;
    if digest != model.digest {
        let name = &model.name;
        anyhow::bail!("{shown}: it was trained from another model than {name} (digest {digest})");
    }
    Ok(Subject {
        quantized: network.apply(&model.graph).with_context(|| shown)?,
        float: model.graph,
        layers: model.layers,
        policy: network.policy(),
        method: "finetune".into(),
        calibration_images: None,
    })
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
