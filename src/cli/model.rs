//! `haq model inspect`.

use serde_json::json;

use crate::{
    cli::{
        args::{Global, ModelCommand, ModelInspectArgs},
        exit::Ending,
        output,
    },
    domain::{CostKind, Layer, show_cost},
    quantization::QuantizationError,
    runner::{self, ModelSource, load_model},
    search::{kind_word, workload_of},
};

pub fn run(global: &Global, command: &ModelCommand) -> anyhow::Result<Ending> {
    let ModelCommand::Inspect(args) = command;
    inspect(global, args)?;
    Ok(Ending::Done)
}

fn inspect(global: &Global, args: &ModelInspectArgs) -> anyhow::Result<()> {
    let model = load_model(ModelSource {
        model: args.model.as_deref(),
        input_shape: args.input_shape.as_deref(),
        ..ModelSource::default()
    })?;
    let shape = runner::one_image_shape(&model, args.input_shape.as_deref(), None)?;
    let shapes = model.graph.shapes(&shape).map_err(QuantizationError::from)?;
    let layers = workload_of(&model.graph, &model.layers, &shapes)?.layers;
    let macs: u64 = layers.iter().map(Layer::macs).sum();
    let weights: u64 = layers.iter().map(Layer::weights).sum();
    if global.json {
        let rows: Vec<_> = layers
            .iter()
            .enumerate()
            .map(|(index, layer)| {
                json!({
                    "index": index,
                    "name": layer.name,
                    "op": kind_word(layer.kind),
                    "macs": layer.macs(),
                    "weights": layer.weights(),
                    "shape": layer,
                })
            })
            .collect();
        return output::print_json(&json!({
            "schema": output::SCHEMA,
            "model": model.name,
            "digest": model.digest,
            "input_shape": shape,
            "nodes": model.graph.nodes().len(),
            "macs": macs,
            "weights": weights,
            "layers": rows,
        }));
    }
    let header =
        ["#", "layer", "kind", "kernel", "stride", "groups", "in", "out", "MACs", "weights"];
    let mut table = output::plain_table(&header, &[0, 8, 9]);
    for (index, layer) in layers.iter().enumerate() {
        table.add_row([
            index.to_string(),
            layer.name.clone(),
            kind_word(layer.kind).to_owned(),
            format!("{}×{}", layer.kernel_h, layer.kernel_w),
            layer.stride_h.to_string(),
            layer.groups.to_string(),
            format!("{}×{}×{}", layer.in_channels, layer.in_h, layer.in_w),
            format!("{}×{}×{}", layer.out_channels, layer.out_h(), layer.out_w()),
            layer.macs().to_string(),
            layer.weights().to_string(),
        ]);
    }
    output::print(&format!(
        "{}\n\n{}: input {shape:?}, {} operations, {} layers to quantize, {:.1} M multiply-accumulates, {} in float",
        table.trim_fmt(),
        model.name,
        model.graph.nodes().len(),
        layers.len(),
        macs as f64 / 1e6,
        show_cost(CostKind::Size, weights as f64 * 4.0),
    ))
}
