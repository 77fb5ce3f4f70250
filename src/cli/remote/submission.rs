//! What was typed, as a service takes it: files it does not have are sent first.

use std::path::Path;

use crate::{
    cli::{args::SearchArgs, exit::UsageError, remote::client::Client, session::absolute},
    runner::{FoundProfile, NamedProfile, Submission, find_profile},
};

/// # Errors
/// When a file cannot be sent, or there is no such profile here.
pub fn of(client: &Client, args: &SearchArgs) -> anyhow::Result<Submission> {
    let input = &args.input;
    if input.model.is_some() && input.feed.data.is_none() {
        return Err(
            UsageError("--model needs --data: images to calibrate and judge with".into()).into()
        );
    }
    let mut profiles = args.hw.iter().map(|hw| profile(hw));
    let first = profiles.next().expect("clap asks for one")?;
    let strategy = args.strategy.strategies.first().copied().unwrap_or_default();
    let feed = &input.feed;
    Ok(Submission {
        profile: first.profile,
        profile_toml: first.profile_toml,
        more_profiles: profiles.collect::<anyhow::Result<_>>()?,
        model: input.model.as_deref().map(|model| sent_model(client, model)).transpose()?,
        weights: input.weights.as_deref().map(|file| sent(client, "models", file)).transpose()?,
        data: feed.data.as_deref().map(|data| sent(client, "data", data)).transpose()?,
        strategy: Some(strategy.to_string()),
        measure: Some(args.measure.to_string()),
        budget: args.budget.iter().map(ToString::to_string).collect(),
        episodes: Some(args.episodes.unwrap_or(args.strategy.usual_episodes())),
        seed: args.seed,
        split_seed: args.split_seed,
        weight_bits: args.weight_bits.as_ref().map(ToString::to_string),
        activation_bits: args.activation_bits.as_ref().map(ToString::to_string),
        pin: Some(args.pin.to_string()),
        method: Some(args.recipe.method.to_string()),
        weight_losses: Some(args.weight_losses.to_string()),
        episode_finetune: args.episode_finetune,
        round: args.round(),
        in_flight: args.arrivals(),
        batch: args.batch,
        calibration: input.calibration,
        search_images: args.search_images,
        images: args.images,
        mean: feed.mean.clone(),
        std: feed.std.clone(),
        resize: feed.resize,
        crop: feed.crop,
        tags: Vec::new(),
        note: None,
    })
}

/// The profile's text goes along: what is called by this name there may be another.
fn profile(name: &str) -> anyhow::Result<NamedProfile> {
    let FoundProfile { text, origin, .. } = find_profile(name)?;
    Ok(NamedProfile { profile: origin, profile_toml: Some(text) })
}

/// A model with its card.
fn sent_model(client: &Client, model: &Path) -> anyhow::Result<String> {
    let name = sent(client, "models", model)?;
    if name.starts_with("sha256:")
        && let Ok(card) = std::fs::read(model.with_extension("json"))
    {
        client.put(&format!("models/{name}/card"), &card)?;
    }
    Ok(name)
}

/// Sends a file that is here; what is not here, or is a folder, is named as the service may know it.
fn sent(client: &Client, to: &str, path: &Path) -> anyhow::Result<String> {
    let is_sendable =
        path.extension().is_some_and(|ending| ending == "onnx" || ending == "safetensors");
    if path.is_file() && is_sendable {
        return client.upload(to, path);
    }
    if path.exists() {
        return Ok(absolute(path)?.display().to_string());
    }
    Ok(path.display().to_string())
}
