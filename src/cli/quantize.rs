//! `haq quantize`: methods side by side, at several choices of bits.

mod rows;
mod text;

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use haq_simulator::CostModel;
use serde_json::{Value, json};

use self::rows::{Row, Seed};
use crate::{
    cli::{
        args::{Global, QuantizeArgs, SplitName},
        exit::{Ending, UsageError},
        output, plot_file,
        session::{evaluation_settings, open_store, preprocessing_request},
    },
    data::Split,
    domain::{LayerBits, Measure},
    quantization::{Method, QuantizationError},
    report::{ComparedMethod, ComparedPoint, ComparisonFigure, ComparisonPlot, Figure as _},
    runner::{
        self, ComparisonEvent, ComparisonRequest, Subject, SubjectRequest, find_profile,
        float_size_bytes, load_model, pinned_policy,
    },
    search::{Model, workload_of},
};

/// Names of methods as typed: `all`, or some with commas.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodList(Vec<(String, Method)>);

impl FromStr for MethodList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Self(
                Method::named().map(|(name, method, _)| (name.into(), method)).collect(),
            ));
        }
        let mut methods: Vec<(String, Method)> = Vec::new();
        for name in text.split(',').map(str::trim) {
            let method = name.parse().map_err(|error| format!("{error}, and all"))?;
            if methods.iter().all(|(known, _)| known != name) {
                methods.push((name.to_owned(), method));
            }
        }
        Ok(Self(methods))
    }
}

/// All that is shown in the end.
struct Results {
    model: Model,
    measure: Measure,
    split: Split,
    pins: String,
    profile: Option<String>,
    float_size_bytes: u64,
    seeds: Vec<Seed>,
    rows: Vec<Row>,
}

pub fn run(global: &Global, args: &QuantizeArgs) -> anyhow::Result<Ending> {
    if args.input.model.is_some() && args.input.feed.data.is_none() {
        let problem = "--model needs --data: images to calibrate and judge with";
        return Err(UsageError(problem.into()).into());
    }
    plot_file::check(args.plot.as_deref())?;
    let settings = evaluation_settings(&args.machine)?;
    let model = load_model(args.input.model_source())?;
    let mut bits: Vec<LayerBits> = Vec::new();
    args.bits.iter().for_each(|pair| {
        if !bits.contains(pair) {
            bits.push(*pair);
        }
    });
    let pins = args.pin.clone().unwrap_or_default();
    pinned_policy(&model.layers, LayerBits::EIGHT, &pins).map_err(UsageError)?;
    let methods = args.methods.0.clone();
    let request = ComparisonRequest { methods, bits, pins, again: args.again };
    let costs = args.hw.as_deref().map(|name| cost_model(&model, name)).transpose()?;
    let store = open_store(global)?;
    let n_rows = request.methods.len() * request.bits.len() * args.repeats as usize;
    let (mut seeds, mut n_done, mut n_failed) = (Vec::new(), 0, 0);
    for repeat in 0..u64::from(args.repeats) {
        let subject_request = subject_request(args, args.seed.wrapping_add(repeat));
        let subject = Subject::load(&model, &subject_request, settings)?;
        if args.measure.needs_labels() && subject.images.labels().is_none() {
            return Err(QuantizationError::NoLabels { measure: args.measure }.into());
        }
        let comparison = runner::compare(&store, &subject, &request, &mut |event| {
            n_done += usize::from(!matches!(event, ComparisonEvent::Calibrating { .. }));
            tell(global, args.measure, subject_request.seed, (n_done, n_rows), &event);
        })?;
        n_failed += comparison.n_failed;
        seeds.push(Seed { description: subject.description, comparison });
    }
    let rows = rows::of_seeds(&seeds, args.measure, |record| {
        let (_, costs) = costs.as_ref()?;
        let policy = pinned_policy(&model.layers, record.bits, &request.pins).ok()?;
        Some(costs.total(policy.layers()))
    });
    let results = Results {
        float_size_bytes: float_size_bytes(&model.graph, &model.layers),
        measure: args.measure,
        split: split(args.split),
        pins: request.pins.to_string(),
        profile: costs.map(|(name, _)| name),
        model,
        seeds,
        rows,
    };
    let plot = draw(args, &results)?;
    if global.json {
        output::print_json(&json_of(&results, plot.as_deref()))?;
    } else if args.csv {
        output::print(&text::csv(&results)?)?;
    } else {
        output::print(&text::table(&results))?;
    }
    if let (Some(path), false) = (&plot, global.json) {
        output::note(global, format!("drawn in {}", path.display()));
    }
    Ok(if n_failed > 0 { Ending::Partial } else { Ending::Done })
}

fn split(name: SplitName) -> Split {
    match name {
        SplitName::Test => Split::Test,
        SplitName::Search => Split::Search,
    }
}

fn subject_request(args: &QuantizeArgs, seed: u64) -> SubjectRequest {
    SubjectRequest {
        data: args.input.feed.data.clone(),
        preprocessing: preprocessing_request(&args.input.feed),
        split: split(args.split),
        blends: false,
        images: args.images,
        calibration_images: args.input.calibration,
        seed,
    }
}

/// A profile's name, and what it says of this network.
fn cost_model(model: &Model, profile: &str) -> anyhow::Result<(String, CostModel)> {
    let profile = find_profile(profile)?.parse()?;
    let preprocessing = runner::preprocessing(model, &Default::default()).ok();
    let shape = runner::one_image_shape(model, None, preprocessing.as_ref())?;
    let shapes = model.graph.shapes(&shape).map_err(QuantizationError::from)?;
    let workload = workload_of(&model.graph, &model.layers, &shapes)?;
    let costs = CostModel::new(&profile, &workload, profile.batch())?;
    Ok((profile.name().to_owned(), costs))
}

/// One line on stderr for each row that was measured, and for each calibration on a terminal.
fn tell(
    global: &Global,
    measure: Measure,
    seed: u64,
    (done, all): (usize, usize),
    event: &ComparisonEvent<'_>,
) {
    match event {
        ComparisonEvent::Calibrating { method } => {
            if std::io::stderr().is_terminal() {
                output::note(global, format!("calibrating {method}, seed {seed}"));
            }
        }
        ComparisonEvent::Row { record, from_store } => {
            let (name, bits) = (&record.method.name, record.bits);
            let quality = measure.of(&record.quality).map_or("–".into(), |q| measure.show(q));
            let known = if *from_store { ", known from before" } else { "" };
            let line =
                format!("{done}/{all}  seed {seed}  {name} {bits}: {measure} {quality}{known}");
            output::note(global, line);
        }
        ComparisonEvent::Failed { method, bits, error } => {
            output::print_line_to_stderr(&format!("haq: {method} {bits}, seed {seed}: {error}"));
        }
    }
}

/// Draws where `--plot` says, or else into the folder of plots; nothing without a row.
fn draw(args: &QuantizeArgs, results: &Results) -> anyhow::Result<Option<PathBuf>> {
    if results.rows.is_empty() {
        return Ok(None);
    }
    let stem = results.model.name.trim_end_matches(".onnx");
    let name = format!("quantize-{stem}.svg");
    let path = plot_file::path(args.plot.as_deref(), &args.out, &name)?;
    ComparisonFigure::new(plot_of(results))?.write(&path)?;
    Ok(Some(path))
}

fn plot_of(results: &Results) -> ComparisonPlot {
    let mut methods: Vec<ComparedMethod> = Vec::new();
    for row in &results.rows {
        let Some(quality) = row.quality else { continue };
        let point = ComparedPoint {
            bits: row.bits,
            size_bytes: row.size_bytes as f64,
            quality: quality.mean,
            deviation: quality.deviation,
        };
        match methods.last_mut().filter(|method| method.name == row.method) {
            Some(method) => method.points.push(point),
            None => methods.push(ComparedMethod { name: row.method.clone(), points: vec![point] }),
        }
    }
    ComparisonPlot {
        network: results.model.name.clone(),
        measure: results.measure,
        protocol: text::protocol(results),
        float_quality: results.float_quality().map(|float| float.mean),
        methods,
    }
}

fn json_of(results: &Results, plot: Option<&Path>) -> Value {
    let first = &results.seeds[0].description;
    json!({
        "schema": output::SCHEMA,
        "model": results.model.name,
        "model_digest": results.model.digest,
        "data": first.data,
        "split": first.split,
        "images": first.images,
        "calibration_images": first.calibration_images,
        "measure": results.measure,
        "pins": results.pins,
        "profile": results.profile,
        "seeds": results.seeds.iter().map(|seed| seed.description.seed).collect::<Vec<_>>(),
        "measured": results.seeds.iter().map(|seed| seed.comparison.n_measured).sum::<usize>(),
        "failed": results.seeds.iter().map(|seed| seed.comparison.n_failed).sum::<usize>(),
        "float": {
            "quality": results.float_quality(),
            "size_bytes": results.float_size_bytes,
            "seeds": results.seeds.iter().map(|seed| json!({
                "seed": seed.description.seed,
                "quality": seed.comparison.float.quality,
                "evaluate_s": seed.comparison.float.evaluate_s,
            })).collect::<Vec<_>>(),
        },
        "rows": results.rows.iter().map(|row| row.json(results.float_size_bytes)).collect::<Vec<_>>(),
        "files": { "plot": plot },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_stands_for_every_method_and_names_count_once() {
        let names = |text: &str| -> Vec<String> {
            let MethodList(methods) = text.parse().unwrap();
            methods.into_iter().map(|(name, _)| name).collect()
        };
        let every: Vec<&str> = Method::named().map(|(name, ..)| name).collect();
        assert_eq!(names("all"), every);
        assert_eq!(names("mse, kl,mse"), ["mse", "kl"]);
        assert!("mse,,kl".parse::<MethodList>().unwrap_err().contains("and all"));
    }
}
