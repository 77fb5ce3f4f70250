//! `haq import`.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    cli::{
        args::{Global, ImportArgs},
        exit::{Ending, UsageError},
        output,
        session::policy_file,
    },
    domain::{Bits, BitwidthPolicy, LayerBits},
    export::{PolicyFile, bits_of_encodings},
    search::{Model, with_shared_tensors},
};

pub fn run(global: &Global, args: &ImportArgs) -> anyhow::Result<Ending> {
    let is_onnx = args.file.extension().is_some_and(|ending| ending == "onnx");
    let policy = if is_onnx { of_network(&args.file)? } else { of_json(args)? };
    if let Some(path) = &args.out {
        policy.save(path)?;
    }
    if global.json {
        output::print_json(&json!(policy))?;
    } else {
        let mut table = output::plain_table(&["#", "layer", "weights", "activations"], &[0, 2, 3]);
        for (index, layer) in policy.layers.iter().enumerate() {
            let LayerBits { weight, activation } = layer.bits;
            let (weight, activation) = (weight.to_string(), activation.to_string());
            table.add_row([index.to_string(), layer.name.clone(), weight, activation]);
        }
        output::print(&table.to_string())?;
    }
    if let Some(path) = &args.out {
        output::note(global, format!("policy {}", path.display()));
    }
    Ok(Ending::Done)
}

/// The bits that a quantized network says it was made with, or those of its own codes.
fn of_network(path: &Path) -> anyhow::Result<PolicyFile> {
    let model = Model::load(Some(path))?;
    let Some(stored) = &model.stored else {
        anyhow::bail!("{}: nothing in it is quantized; there are no bits to read", path.display());
    };
    let names = model.layer_names();
    let made_with = stored.graph.text(PolicyFile::METADATA).and_then(|text| {
        let file: PolicyFile = serde_json::from_str(text).ok()?;
        file.policy_for(path, &names).ok().map(|_| file)
    });
    let of_codes = || policy_file(&model, &stored.policy);
    Ok(made_with.unwrap_or_else(of_codes).with_levels(&stored.graph))
}

fn of_json(args: &ImportArgs) -> anyhow::Result<PolicyFile> {
    let shown = args.file.display().to_string();
    let text = std::fs::read_to_string(&args.file).with_context(|| shown.clone())?;
    let value: Value = serde_json::from_str(&text).with_context(|| {
        format!("{shown}: it is no JSON; encodings and policies are, networks end in .onnx")
    })?;
    let model = args.model.as_deref().map(|path| Model::load(Some(path))).transpose()?;
    if value.get("layers").is_some() {
        let file = PolicyFile::load(&args.file)?;
        if let Some(model) = model {
            file.policy_for(&args.file, &model.layer_names())?;
        }
        return Ok(file);
    }
    let Some(model) = model else {
        let problem = "encodings name tensors; --model says which layers have them";
        return Err(UsageError(problem.into()).into());
    };
    let found = bits_of_encodings(&value, &model.graph)
        .map_err(|reason| anyhow::anyhow!("{shown}: {reason}"))?;
    // What has no entry stays in float there; the nearest here is 8 bits.
    let known = |bits: Option<u8>| bits.and_then(Bits::new).unwrap_or(Bits::EIGHT);
    let layers = found.into_iter().map(|[w, a]| LayerBits::new(known(w), known(a)));
    let policy = with_shared_tensors(&model.layers, BitwidthPolicy::new(layers.collect()));
    Ok(policy_file(&model, &policy))
}
