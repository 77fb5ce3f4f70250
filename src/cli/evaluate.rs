//! `haq evaluate`.

mod results;
mod subject;

use self::subject::Subject;
use crate::{
    cli::{
        args::{BitsArgs, EvaluateArgs, Global, SplitName},
        exit::{Ending, UsageError},
        output,
        session::{evaluation_settings, preprocessing_request},
    },
    data::{Dataset, Split, SplitLimits},
    runner::{self, load_model},
    search::Model,
};

pub fn run(global: &Global, args: &EvaluateArgs) -> anyhow::Result<Ending> {
    if args.input.model.is_some() && args.input.feed.data.is_none() {
        return Err(
            UsageError("--model needs --data: images to calibrate and judge with".into()).into()
        );
    }
    let settings = evaluation_settings(&args.machine)?;
    if args.integer.is_some() && settings.device != tch::Device::Cpu {
        return Err(UsageError("--integer runs on the processor; leave --device out".into()).into());
    }
    let model = load_model(args.input.model_source())?;
    let dataset = dataset(args, &model)?;
    let split = match args.split {
        SplitName::Test => Split::Test,
        SplitName::Search => Split::Search,
    };
    let subject = match &args.bits {
        BitsArgs { tuned: Some(path), .. } => Subject::tuned(path, args, model, &dataset)?,
        BitsArgs { bits: None, policy: None, .. } => Subject::stored(args, model, &dataset)?,
        _ => Subject::calibrated(args, model, &dataset)?,
    };
    let results = subject.measure(&dataset.load(split)?, args.integer, settings)?;
    if global.json {
        let mut object = results.json();
        object["schema"] = output::SCHEMA.into();
        object["calibration_images"] = subject.n_calibrated.into();
        object["method"] = subject.method.as_str().into();
        object["layers"] = subject.layers_json().into();
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

fn dataset(args: &EvaluateArgs, model: &Model) -> anyhow::Result<Dataset> {
    let (search, test) = match args.split {
        SplitName::Search => (args.images, None),
        SplitName::Test => (None, args.images),
    };
    let limits = SplitLimits { calibration: args.input.calibration, search, test };
    let (data, request) =
        (args.input.feed.data.as_deref(), preprocessing_request(&args.input.feed));
    Ok(runner::open_dataset(model, data, &request, args.seed, limits)?)
}
