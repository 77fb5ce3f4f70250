//! `haq sensitivity`: what each layer alone loses at few bits.

mod text;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{
    cli::{
        args::{Global, SensitivityArgs, SplitName},
        exit::{Ending, UsageError},
        output, plot_file,
        session::{evaluation_settings, open_store, preprocessing_request},
    },
    data::Split,
    domain::{
        Bits, HessianTrace, Measure, Operand, Quality, SensitivityRecord, SubjectDescription,
    },
    quantization::QuantizationError,
    report::{Figure as _, HeatCell, HeatFigure, HeatMap},
    runner::{
        self, HessianRequest, Sensitivity, SensitivityEvent, SensitivityRequest, Subject,
        SubjectRequest, load_model,
    },
};

/// All that is shown in the end.
struct Results {
    description: SubjectDescription,
    layers: Vec<String>,
    method: String,
    measure: Measure,
    bits: Vec<Bits>,
    operands: Vec<Operand>,
    probes: u32,
    found: Sensitivity,
}

impl Results {
    fn record(&self, layer: usize, operand: Operand, bits: Bits) -> Option<&SensitivityRecord> {
        self.found
            .records
            .iter()
            .find(|r| (r.layer_index, r.operand, r.bits) == (layer, operand, bits))
    }

    /// How far a single rounding moves the measure from float; more is worse.
    fn loss(&self, quality: &Quality) -> Option<f64> {
        Some(self.measure.of(&self.found.float.quality)? - self.measure.of(quality)?)
    }

    /// What rounding weights costs by HAWQ-V2, where traces were asked for.
    fn omega(&self, record: &SensitivityRecord) -> Option<f64> {
        let of_layer = |trace: &&HessianTrace| trace.layer_index == record.layer_index;
        Some(self.found.traces.iter().find(of_layer)?.omega(record.squared_error?))
    }
}

pub fn run(global: &Global, args: &SensitivityArgs) -> anyhow::Result<Ending> {
    if args.input.model.is_some() && args.input.feed.data.is_none() {
        let problem = "--model needs --data: images to calibrate and judge with";
        return Err(UsageError(problem.into()).into());
    }
    plot_file::check(args.plot.as_deref())?;
    let settings = evaluation_settings(&args.machine)?;
    let model = load_model(args.input.model_source())?;
    let subject_request = SubjectRequest {
        data: args.input.feed.data.clone(),
        preprocessing: preprocessing_request(&args.input.feed),
        split: match args.split {
            SplitName::Test => Split::Test,
            SplitName::Search => Split::Search,
        },
        // So that searches find what was measured here.
        blends: args.split == SplitName::Search,
        images: args.images,
        calibration_images: args.input.calibration,
        seed: args.seed,
    };
    let hessian = HessianRequest { probes: args.probes, images: args.hessian_images };
    let request = SensitivityRequest {
        method: (args.recipe.method.to_string(), args.recipe.method),
        bits: args.bits.iter().collect(),
        operands: Operand::ALL.into_iter().filter(|one| args.tensors.contains(one)).collect(),
        hessian: args.hessian.then_some(hessian),
        again: args.again,
    };
    let store = open_store(global)?;
    let subject = Subject::load(&model, &subject_request, settings)?;
    if args.measure.needs_labels() && subject.images.labels().is_none() {
        return Err(QuantizationError::NoLabels { measure: args.measure }.into());
    }
    let found = runner::sensitivity(&store, &subject, &request, &mut |event| tell(global, event))?;
    let results = Results {
        layers: model.layer_names().into_iter().map(str::to_owned).collect(),
        description: subject.description,
        method: request.method.0,
        measure: args.measure,
        bits: request.bits,
        operands: request.operands,
        probes: args.probes,
        found,
    };
    let stem = model.name.trim_end_matches(".onnx");
    let name = format!("sensitivity-{stem}.svg");
    let plot = plot_file::path(args.plot.as_deref(), &args.out, &name)?;
    HeatFigure::new(heat_map(&results))?.write(&plot)?;
    if global.json {
        output::print_json(&json_of(&results, &plot))?;
    } else if args.csv {
        output::print(&text::csv(&results)?)?;
    } else {
        output::print(&text::tables(&results))?;
    }
    if !global.json {
        output::note(global, format!("drawn in {}", plot.display()));
    }
    Ok(Ending::Done)
}

fn tell(global: &Global, event: SensitivityEvent<'_>) {
    let line = match event {
        SensitivityEvent::Calibrating { method } => format!("calibrating {method}"),
        SensitivityEvent::Measured { layer, done, all } => format!("{done}/{all}  {layer}"),
        SensitivityEvent::Probing { probes, images } => {
            format!("Hessian: {probes} probes on {images} calibration images")
        }
    };
    output::note(global, line);
}

fn heat_map(results: &Results) -> HeatMap {
    let cell = |record: &SensitivityRecord| {
        Some(HeatCell {
            layer_index: record.layer_index,
            operand: record.operand,
            bits: record.bits,
            value: results.loss(&record.quality)?,
        })
    };
    HeatMap {
        network: results.description.model.clone(),
        quantity: text::quantity(results.measure).to_owned(),
        protocol: text::protocol(results),
        layers: results.layers.clone(),
        bits: results.bits.clone(),
        operands: results.operands.clone(),
        cells: results.found.records.iter().filter_map(cell).collect(),
    }
}

fn json_of(results: &Results, plot: &Path) -> Value {
    let description = &results.description;
    let row = |record: &SensitivityRecord| {
        json!({
            "index": record.layer_index,
            "name": record.name,
            "tensor": record.operand,
            "bits": record.bits,
            "quality": record.quality,
            "loss_of_measure": results.loss(&record.quality),
            "squared_error": record.squared_error,
            "omega": results.omega(record),
        })
    };
    let trace = |trace: &HessianTrace| {
        json!({
            "index": trace.layer_index,
            "name": trace.name,
            "weights": trace.weights,
            "trace": trace.trace,
            "standard_error": trace.standard_error,
            "average_trace": trace.trace / trace.weights as f64,
        })
    };
    let traces: Vec<Value> = results.found.traces.iter().map(trace).collect();
    json!({
        "schema": output::SCHEMA,
        "model": description.model,
        "model_digest": description.model_digest,
        "data": description.data,
        "split": description.split,
        "images": description.images,
        "calibration_images": description.calibration_images,
        "seed": description.seed,
        "method": results.method,
        "measure": results.measure,
        "measured": results.found.n_measured,
        "float": { "quality": results.found.float.quality },
        "rows": results.found.records.iter().map(row).collect::<Vec<_>>(),
        "hessian": (!traces.is_empty()).then(|| json!({
            "probes": results.probes,
            "images": results.found.probed_images,
            "layers": traces,
        })),
        "files": { "plot": PathBuf::from(plot) },
    })
}
