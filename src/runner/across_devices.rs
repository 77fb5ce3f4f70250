//! Stored policies on the devices of other runs.

use haq_simulator::CostModel;

use crate::{
    domain::{Budget, CostKind, EpisodeRecord, RunId},
    report::{AcrossDevices, OnDevice, RunView},
    runner::{RunnerError, config::RunConfig},
    store::BlockingStore,
};

/// A device as the first run on it saw it.
struct Device {
    profile: String,
    model: CostModel,
    objective: CostKind,
    budgets: Vec<Budget>,
    eight_bit: f64,
    model_digest: String,
}

/// Every run's best policy on every device that some run was about; runs without a policy, or of
/// another network than the first, are left out.
///
/// # Errors
/// When a run was stored in a form that this program does not read.
pub fn across_devices(
    store: &BlockingStore,
    runs: &[RunView],
) -> Result<Vec<AcrossDevices>, RunnerError> {
    let mut devices: Vec<Device> = Vec::new();
    for run in runs {
        if devices.iter().all(|device| device.profile != run.description.profile) {
            devices.push(device_of(store, run)?);
        }
    }
    let Some(first) = devices.first() else { return Ok(Vec::new()) };
    let digest = &first.model_digest;
    let same = runs.iter().filter(|run| run.description.model_digest == *digest);
    let row = |run: &RunView| run.best().map(|best| across(run, best, &devices));
    Ok(same.filter_map(row).collect())
}

fn device_of(store: &BlockingStore, run: &RunView) -> Result<Device, RunnerError> {
    let id: RunId = run.id;
    let description = &run.description;
    let config = RunConfig::of(id, &store.run(id)?.description)?;
    Ok(Device {
        profile: description.profile.clone(),
        model: config.cost_model(id, description.batch)?,
        objective: description.objective,
        budgets: description.budgets.clone(),
        eight_bit: description.eight_bit_cost.get(description.objective),
        model_digest: description.model_digest.clone(),
    })
}

fn across(run: &RunView, best: &EpisodeRecord, devices: &[Device]) -> AcrossDevices {
    let on = |device: &Device| {
        let cost = device.model.total(best.policy.layers());
        let ratio = cost.get(device.objective) / device.eight_bit;
        OnDevice {
            profile: device.profile.clone(),
            objective: device.objective,
            cost,
            cost_ratio: Some(ratio).filter(|ratio| ratio.is_finite()),
            meets_budgets: (!device.budgets.is_empty())
                .then(|| Budget::all_met(&device.budgets, &cost)),
        }
    };
    AcrossDevices {
        run: run.id,
        searched_for: run.description.profile.clone(),
        strategy: run.description.strategy.to_string(),
        measure: run.description.measure,
        quality_search: run.quality(best),
        quality_test: run.tested_quality(&best.policy),
        on: devices.iter().map(on).collect(),
    }
}
