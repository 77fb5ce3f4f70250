//! One policy of a stored run, layer by layer.

use crate::{
    domain::{
        EpisodeRecord, LayerCost, LayerDescription, LayerExplanation, RunDescription, RunId,
        RunResult,
    },
    export::{PolicyFile, PolicyMetrics},
    report::{cost_shares, reasons},
    runner::{RunnerError, config::RunConfig, explanation::explanation},
    store::{BlockingStore, Run},
};

/// A policy with what each layer costs, and why it has its bits.
pub struct LayeredPolicy {
    pub record: EpisodeRecord,
    pub layers: Vec<LayerDescription>,
    /// On the first of the run's devices.
    pub costs: Vec<LayerCost>,
    /// Of the cost in the run's objective, 0 to 1; empty for peak memory.
    pub shares: Vec<f64>,
    /// Empty for runs from before their choices were kept.
    pub explanation: Vec<LayerExplanation>,
    /// The same in words.
    pub reasons: Vec<String>,
}

/// The policy of one episode of a run, or of its best.
///
/// # Errors
/// When there is no such run or episode, or no policy meets its budgets.
pub fn layered_policy(
    store: &BlockingStore,
    id: RunId,
    episode: Option<u32>,
) -> Result<LayeredPolicy, RunnerError> {
    let (run, record) = run_and_episode(store, id, episode)?;
    let config = RunConfig::of(id, &run.description)?;
    let cost = config.cost(id)?;
    let costs = cost.first().model.network(record.policy.layers()).layers;
    let episodes = store.episodes(id)?;
    let explanation = explanation(store, &run, &record, &episodes, &config, &cost)?;
    let names: Vec<String> =
        run.description.layers.iter().map(|layer| layer.name.clone()).collect();
    Ok(LayeredPolicy {
        shares: cost_shares(&costs, run.description.objective),
        reasons: reasons(&explanation, &names),
        layers: run.description.layers,
        record,
        costs,
        explanation,
    })
}

/// The same as a file to keep, with what it reached.
///
/// # Errors
/// As [`layered_policy`].
pub fn policy_file(
    store: &BlockingStore,
    id: RunId,
    episode: Option<u32>,
) -> Result<PolicyFile, RunnerError> {
    let (run, record) = run_and_episode(store, id, episode)?;
    Ok(policy_file_of(id, &run.description, &run.result, &record))
}

/// The policy of an episode of a run as a file.
pub fn policy_file_of(
    id: RunId,
    description: &RunDescription,
    result: &RunResult,
    record: &EpisodeRecord,
) -> PolicyFile {
    let names: Vec<&str> = description.layers.iter().map(|layer| layer.name.as_str()).collect();
    let is_best = Some(record.index) == result.best_episode;
    let metrics = PolicyMetrics {
        modelled_cost: record.cost,
        quality_search: record.quality,
        quality_test: result.best_test.filter(|_| is_best),
    };
    PolicyFile {
        run: Some(id),
        model: Some(description.model.clone()),
        model_digest: Some(description.model_digest.clone()),
        profile: Some(description.profile.clone()),
        budgets: description.budget_requests.clone(),
        metrics: Some(metrics),
        ..PolicyFile::new(&names, &record.policy)
    }
}

fn run_and_episode(
    store: &BlockingStore,
    id: RunId,
    episode: Option<u32>,
) -> Result<(Run, EpisodeRecord), RunnerError> {
    let run = store.run(id)?;
    let index = episode.or(run.result.best_episode).ok_or(RunnerError::NoPolicy { run: id })?;
    let record = store.episode(id, index)?;
    Ok((run, record))
}
