//! A policy of a stored run, explained layer by layer.

use std::collections::{HashMap, HashSet};

use crate::{
    domain::{Bits, BitwidthPolicy, EpisodeRecord, LayerExplanation},
    report::cost_shares,
    runner::{RunnerError, config::RunConfig},
    search::{Decision, Explained, JointCost, LossForecast, LossTable, SearchSpace, explain},
    store::{BlockingStore, Run},
};

/// Policies that the model of the loss is corrected by: its cost rises with the cube of their number.
const N_JUDGED_MAX: usize = 256;

/// The judged policies that differ least from one, each once, with the divergence each had.
fn nearest<'a>(
    policy: &BitwidthPolicy,
    episodes: &'a [EpisodeRecord],
) -> impl Iterator<Item = (&'a BitwidthPolicy, f64)> {
    let widths = |policy: &BitwidthPolicy| -> Vec<u8> {
        policy.layers().iter().flat_map(|l| [l.weight.get(), l.activation.get()]).collect()
    };
    let own = widths(policy);
    let distance = |other: &BitwidthPolicy| -> u32 {
        own.iter().zip(widths(other)).map(|(a, b)| u32::from(a.abs_diff(b))).sum()
    };
    let mut seen = HashSet::new();
    let mut judged: Vec<(u32, &BitwidthPolicy, f64)> = episodes
        .iter()
        .filter_map(|e| Some((&e.policy, e.quality.kl?)))
        .filter(|(policy, _)| seen.insert(*policy))
        .map(|(policy, kl)| (distance(policy), policy, kl))
        .collect();
    judged.sort_by_key(|(distance, ..)| *distance);
    judged.truncate(N_JUDGED_MAX);
    judged.into_iter().map(|(_, policy, kl)| (policy, kl))
}

/// Why each layer of a policy of the run has its bits; empty for runs from before their choices
/// were kept.
///
/// - `cost`: of the run's devices
///
/// # Errors
/// When the run was stored in a form that this program does not read.
pub fn explanation(
    store: &BlockingStore,
    run: &Run,
    record: &EpisodeRecord,
    episodes: &[EpisodeRecord],
    config: &RunConfig,
    cost: &JointCost,
) -> Result<Vec<LayerExplanation>, RunnerError> {
    let (id, n_layers) = (run.id, record.policy.len());
    if config.choices.len() != n_layers || record.proposed.len() != n_layers {
        return Ok(Vec::new());
    }
    let settings = |reason| RunnerError::Settings { run: id, reason };
    let space = SearchSpace::new(config.choices.clone()).map_err(settings)?;
    let layers = cost.first().model.network(record.policy.layers()).layers;
    let measured = store.run_sensitivities(id)?.map_or(Vec::new(), |known| known.records);
    let alone: HashMap<_, f64> = measured
        .iter()
        .filter_map(|one| {
            let decision = Decision { layer: one.layer_index, operand: one.operand };
            Some(((decision, one.bits), one.quality.kl?))
        })
        .collect();
    let alone = |decision: Decision, bits: Bits| alone.get(&(decision, bits)).copied();
    let forecast = LossTable::measured(&space, alone)
        .map(|table| LossForecast::new(space.clone(), &table, nearest(&record.policy, episodes)));
    let foretold = forecast.as_ref().map(|forecast| |policy: &BitwidthPolicy| forecast.kl(policy));
    Ok(explain(&Explained {
        space: &space,
        proposed: &record.proposed,
        policy: &record.policy,
        cost,
        budgets: &run.description.budgets,
        objective: run.description.objective,
        cost_shares: &cost_shares(&layers, run.description.objective),
        kl: &alone,
        forecast: foretold.as_ref().map(|of| of as &dyn Fn(&BitwidthPolicy) -> f64),
    }))
}
