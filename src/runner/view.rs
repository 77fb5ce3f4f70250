//! A stored run as reports want it.

use crate::{
    domain::{EpisodeRecord, RunId},
    report::{RunView, SplitUse},
    runner::{
        RunnerError, across_devices::on_own_devices, config::RunConfig, explanation::explanation,
    },
    search::SearchRequest,
    store::BlockingStore,
};

/// Gathers everything about a run from the database.
///
/// # Errors
/// When there is no such run, or it was stored in a form that this program does not read.
pub fn view(store: &BlockingStore, id: RunId) -> Result<RunView, RunnerError> {
    let run = store.run(id)?;
    let episodes = store.episodes(id)?;
    let config = RunConfig::of(id, &run.description)?;
    let best = |record: &&EpisodeRecord| Some(record.index) == run.result.best_episode;
    let (best_layers, on_devices, explanation) = match episodes.iter().find(best) {
        Some(record) => {
            let policy = &record.policy;
            let cost = config.cost(id)?;
            (
                cost.first().model.network(policy.layers()).layers,
                on_own_devices(&config, &cost, run.description.objective, policy),
                explanation(store, &run, record, &episodes, &config, &cost)?,
            )
        }
        None => Default::default(),
    };
    Ok(RunView {
        id,
        explanation,
        best_layers,
        on_devices,
        tested: run.result.tested.clone(),
        exploration: Vec::new(),
        splits: splits(&config),
        commands: commands(id, &config),
        provenance: provenance(&run, &config),
        description: run.description,
        result: run.result,
        episodes,
    })
}

fn splits(config: &RunConfig) -> Vec<SplitUse> {
    let uses = [
        ("calibration", config.images.calibration, "clip ranges, rounding and bias correction"),
        ("search", config.images.search, "the reward, and which policy is best"),
        ("test", config.images.test, "looked at once, for the final figures"),
    ];
    uses.map(|(name, images, purpose)| SplitUse {
        name: name.to_owned(),
        images: images as u64,
        purpose: purpose.to_owned(),
    })
    .into()
}

/// Where the profiles came from.
fn origins(request: &SearchRequest) -> String {
    let more = request.more_profiles.iter().map(|profile| profile.origin.as_str());
    let all: Vec<&str> = std::iter::once(request.profile_origin.as_str()).chain(more).collect();
    all.join(", ")
}

fn provenance(run: &crate::store::Run, config: &RunConfig) -> Vec<(String, String)> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        pair("started", &run.created_at),
        pair("model digest (SHA-256)", &run.description.model_digest),
        pair("data digest (SHA-256)", &config.data_digest),
        pair("quantization method", &config.request.method.to_string()),
        pair("profile from", &origins(&config.request)),
        pair("haq version", &config.haq_version),
    ]
}

/// The commands that make this run and this page again.
fn commands(id: RunId, config: &RunConfig) -> Vec<String> {
    vec![
        format!("haq search {}", config.request.to_arguments().join(" ")),
        format!("haq report {id}"),
    ]
}
