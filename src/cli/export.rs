//! `haq export`.

mod text;
mod writer;

use std::path::PathBuf;

use serde::Serialize;

use self::writer::Writer;
use crate::{
    cli::{
        args::{ExportArgs, ExportFormat, Global},
        exit::{Ending, UsageError},
        output,
        session::{evaluation_settings, policy, preprocessing_request, read_store, tuned_network},
        verify,
    },
    data::Split,
    runner::{self, ExportSubject, Origin, Verified, load_model},
    search::Model,
};

/// What was written.
#[derive(Debug, Serialize)]
pub struct Exported {
    pub schema: u32,
    pub run: Option<i64>,
    pub model: String,
    pub format: &'static str,
    pub target: Option<String>,
    pub files: Files,
    pub size: Size,
    pub changes: Vec<ChangedLayers>,
    pub verified: Option<Verified>,
}

#[derive(Debug, Default, Serialize)]
pub struct Files {
    pub network: Option<PathBuf>,
    pub encodings: Option<PathBuf>,
    pub policy: Option<PathBuf>,
    /// How the network wants its images, as the model it was made from.
    pub card: Option<PathBuf>,
}

/// Bytes of the weights, by how they are counted.
#[derive(Debug, Default, Serialize)]
pub struct Size {
    /// Of the whole network file.
    pub file_bytes: Option<u64>,
    /// Of the weights' codes in it.
    pub code_bytes: Option<u64>,
    /// Of the weights' scales, zero points and offsets in it.
    pub scaling_bytes: Option<u64>,
    /// Of codes that take exactly the policy's bits.
    pub policy_bytes: u64,
    /// Modelled on the run's device.
    pub modelled_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
pub struct ChangedLayers {
    pub layers: Vec<String>,
    pub what: String,
}

pub fn run(global: &Global, args: &ExportArgs) -> anyhow::Result<Ending> {
    let settings = evaluation_settings(&args.machine)?;
    if args.verify && args.format != ExportFormat::Onnx {
        let problem = "--verify is for --format onnx: what ONNX Runtime runs";
        return Err(UsageError(problem.into()).into());
    }
    if args.two_bit_types && args.target.is_some() {
        let problem = "--two-bit-types goes without --target: no target runs them everywhere";
        return Err(UsageError(problem.into()).into());
    }
    let (subject, model) = subject(global, args)?;
    let dataset = subject.dataset(&model)?;
    let mut exported = Exported {
        schema: output::SCHEMA,
        run: subject.origin.run,
        model: model.name.clone(),
        format: args.format.name(),
        target: args.target.map(|target| target.to_string()),
        files: Files::default(),
        size: Size {
            policy_bytes: runner::policy_bytes(&model, &subject.policy),
            modelled_bytes: subject.origin.size_bytes,
            ..Size::default()
        },
        changes: Vec::new(),
        verified: None,
    };
    let writer = Writer { args, subject: &subject, model: &model, dataset: &dataset };
    let deployed = writer.write(&mut exported)?;
    let mut problem = None;
    if let (true, Some(graph), Some(path)) = (args.verify, &deployed, &exported.files.network) {
        let images = dataset.load(Split::Test)?;
        match runner::verify(path, graph, &images, settings, &args.runtime.python) {
            Ok(verified) => exported.verified = Some(verified),
            Err(error) => problem = Some(error),
        }
    }
    if global.json {
        output::print_json(&exported)?;
    } else {
        output::print(&text::of(&exported, &model, &subject.policy))?;
    }
    if let Some(error) = problem {
        output::print_error(&error.into());
        return Ok(Ending::Partial);
    }
    exported.verified.as_ref().map_or(Ok(()), verify::check)?;
    Ok(Ending::Done)
}

impl ExportFormat {
    fn name(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Qonnx => "qonnx",
            Self::Aimet => "aimet",
            Self::AimetTwo => "aimet-2",
            Self::Policy => "policy",
        }
    }

    /// The end of a file's name, where none is typed.
    fn ending(self) -> &'static str {
        match self {
            Self::Onnx => "quantized.onnx",
            Self::Qonnx => "qonnx.onnx",
            Self::Aimet | Self::AimetTwo => "aimet.onnx",
            Self::Policy => "policy.json",
        }
    }
}

/// What was typed, with the network that it is about.
fn subject(global: &Global, args: &ExportArgs) -> anyhow::Result<(ExportSubject, Model)> {
    if let Some(id) = args.run {
        let mut subject = ExportSubject::of_run(&read_store(global)?, id, args.episode)?;
        subject.test_images = args.runtime.images.or(subject.test_images);
        let model = load_model(subject.model_source())?;
        return Ok((subject, model));
    }
    let model = load_model(args.input.model_source())?;
    let tuned = args.tuned.as_deref().map(|path| tuned_network(path, &model)).transpose()?;
    let policy = match &tuned {
        Some(tuned) => tuned.policy(),
        None => policy(&model, args.policy.as_deref(), args.bits, args.pin.as_ref())?,
    };
    let input = &args.input;
    let subject = ExportSubject {
        model: input.model.clone(),
        weights: input.weights.clone(),
        data: input.feed.data.clone(),
        preprocessing: preprocessing_request(&input.feed),
        policy,
        method: args.recipe.method,
        split_seed: args.seed,
        calibration_images: input.calibration,
        test_images: args.runtime.images,
        tuned,
        origin: Origin::default(),
    };
    Ok((subject, model))
}
