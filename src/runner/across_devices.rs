//! Stored policies on the devices of their own run and of others.

use crate::{
    domain::{BitwidthPolicy, Budget, CostKind, EpisodeRecord},
    report::{AcrossDevices, OnDevice, RunView},
    runner::{RunnerError, config::RunConfig},
    search::{DeviceCost, JointCost},
};

/// A device as the first run on it saw it.
struct Device {
    cost: DeviceCost,
    objective: CostKind,
    budgets: Vec<Budget>,
}

/// Every run's best policy on every device that some run was about; runs without a policy, or of
/// another network than the first, are left out.
///
/// # Errors
/// When a run was stored in a form that this program does not read.
pub fn across_devices(runs: &[RunView]) -> Result<Vec<AcrossDevices>, RunnerError> {
    let Some(first) = runs.first() else { return Ok(Vec::new()) };
    let digest = &first.description.model_digest;
    let mut devices: Vec<Device> = Vec::new();
    for run in runs.iter().filter(|run| run.description.model_digest == *digest) {
        let config = RunConfig::of(run.id, &run.description)?;
        for device in devices_of(&config, &config.cost(run.id)?, run.description.objective) {
            if devices.iter().all(|known| known.cost.profile != device.cost.profile) {
                devices.push(device);
            }
        }
    }
    let same = runs.iter().filter(|run| run.description.model_digest == *digest);
    let row = |run: &RunView| run.best().map(|best| across(run, best, &devices));
    Ok(same.filter_map(row).collect())
}

/// What a policy of a run costs on each of the run's devices.
///
/// - `cost`: what the configuration gives
pub fn on_own_devices(
    config: &RunConfig,
    cost: &JointCost,
    objective: CostKind,
    policy: &BitwidthPolicy,
) -> Vec<OnDevice> {
    devices_of(config, cost, objective).iter().map(|device| device.costs_of(policy)).collect()
}

fn devices_of(config: &RunConfig, cost: &JointCost, objective: CostKind) -> Vec<Device> {
    let device = |cost: &DeviceCost| Device {
        cost: cost.clone(),
        objective,
        budgets: config
            .request
            .budgets
            .iter()
            .map(|budget| budget.resolve(&cost.eight_bit))
            .collect(),
    };
    cost.devices().iter().map(device).collect()
}

impl Device {
    fn costs_of(&self, policy: &BitwidthPolicy) -> OnDevice {
        let cost = self.cost.model.total(policy.layers());
        let ratio = cost.get(self.objective) / self.cost.eight_bit.get(self.objective);
        OnDevice {
            profile: self.cost.profile.clone(),
            objective: self.objective,
            cost,
            cost_ratio: Some(ratio).filter(|ratio| ratio.is_finite()),
            meets_budgets: (!self.budgets.is_empty())
                .then(|| Budget::all_met(&self.budgets, &cost)),
        }
    }
}

fn across(run: &RunView, best: &EpisodeRecord, devices: &[Device]) -> AcrossDevices {
    AcrossDevices {
        run: run.id,
        searched_for: run.description.profile.clone(),
        strategy: run.description.strategy.to_string(),
        measure: run.description.measure,
        quality_search: run.quality(best),
        quality_test: run.tested_quality(&best.policy),
        on: devices.iter().map(|device| device.costs_of(&best.policy)).collect(),
    }
}
