//! `haq evaluate`.

use serde_json::{Value, json};

use crate::{
    cli::{
        args::{EvaluateArgs, Global, KernelName, SplitName},
        exit::{Ending, UsageError},
        output,
        session::{evaluation_settings, preprocessing_request},
    },
    data::{DataSource, DataSpec, Dataset, Split, SplitLimits},
    domain::{BitwidthPolicy, Measure, Quality},
    export::PolicyFile,
    quantization::{Evaluator, IntegerMeasured, KernelChoice, Measured, Quantizer},
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
    let policy = policy(args, &model)?;
    let dataset = dataset(args, &model)?;
    let split = match args.split {
        SplitName::Test => Split::Test,
        SplitName::Search => Split::Search,
    };
    let images = dataset.load(split)?;
    let calibration = dataset.load(Split::Calibration)?;
    let calibration_images = calibration.to_tensor();
    let quantizer = Quantizer::calibrate(model.graph, &calibration_images, args.method)?;
    let graph = quantizer.apply(&policy)?;
    let evaluator =
        Evaluator::new(quantizer.graph(), &images.to_tensor(), images.labels(), settings)?;
    let quantized = evaluator.evaluate(&graph)?;
    let integer = match args.integer {
        None => None,
        Some(name) => {
            let kernels = match name {
                KernelName::Int8 => KernelChoice::Int8,
                KernelName::Packed => KernelChoice::Packed,
            };
            let network = quantizer.integer_network(&policy, &calibration_images, kernels)?;
            Some(evaluator.evaluate_integer(&network)?)
        }
    };
    let results =
        Results { n_images: evaluator.n_images(), quantized, float: evaluator.float(), integer };
    if global.json {
        let mut object = results.json();
        object["schema"] = output::SCHEMA.into();
        object["calibration_images"] = calibration.len().into();
        object["method"] = args.method.to_string().into();
        object["layers"] = layers_json(&quantizer, &policy).into();
        output::print_json(&object)?;
        return Ok(Ending::Done);
    }
    output::print(&format!(
        "{}{} images, calibrated on {} others, method {}",
        results.text(),
        results.n_images,
        calibration.len(),
        args.method,
    ))?;
    Ok(Ending::Done)
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

fn layers_json(quantizer: &Quantizer, policy: &BitwidthPolicy) -> Vec<Value> {
    let layers = quantizer.layers().iter().zip(policy.layers());
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
