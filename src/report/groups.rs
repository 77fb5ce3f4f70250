//! Runs that differ in nothing but their seed, taken together.

use crate::{
    domain::{BudgetRequest, CostKind, Measure, RunDescription, Strategy},
    report::RunView,
};

/// Runs of one kind, in the order given.
#[derive(Debug, Clone)]
pub struct RunGroup<'a> {
    /// What tells it from the other groups: `ddpg`, or `ddpg on edge-tpu, size=0.5`.
    pub label: String,
    pub runs: Vec<&'a RunView>,
}

/// Everything two runs of a group have in common.
#[derive(Debug, Clone, PartialEq)]
struct Kind {
    strategy: Strategy,
    model_digest: String,
    data: String,
    profile: String,
    budgets: Vec<BudgetRequest>,
    objective: CostKind,
    measure: Measure,
    episodes: u32,
    /// The settings but the seed and who proposes.
    settings: serde_json::Value,
}

impl Kind {
    fn of(description: &RunDescription) -> Self {
        let mut settings = description.config.get("request").cloned().unwrap_or_default();
        if let Some(settings) = settings.as_object_mut() {
            settings.retain(|key, _| !matches!(key.as_str(), "seed" | "strategy"));
        }
        Self {
            strategy: description.strategy,
            model_digest: description.model_digest.clone(),
            data: description.data.clone(),
            profile: description.profile.clone(),
            budgets: description.budget_requests.clone(),
            objective: description.objective,
            measure: description.measure,
            episodes: description.episodes_planned,
            settings,
        }
    }
}

/// Groups in the order of their first run; labels say what differs between groups.
pub fn groups<'a>(runs: &[&'a RunView]) -> Vec<RunGroup<'a>> {
    let mut found: Vec<(Kind, Vec<&RunView>)> = Vec::new();
    for &run in runs {
        let kind = Kind::of(&run.description);
        match found.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, members)) => members.push(run),
            None => found.push((kind, vec![run])),
        }
    }
    let kinds: Vec<Kind> = found.iter().map(|(kind, _)| kind.clone()).collect();
    let mut labels: Vec<String> = kinds.iter().map(|kind| label(kind, &kinds)).collect();
    for index in 0..labels.len() {
        // Settings that no word tells apart: the first run's number does.
        if labels.iter().enumerate().any(|(other, l)| other != index && *l == labels[index]) {
            labels[index] += &format!(" (run {})", found[index].1[0].id);
        }
    }
    let named = found.into_iter().zip(labels);
    named.map(|((_, runs), label)| RunGroup { label, runs }).collect()
}

fn label(kind: &Kind, kinds: &[Kind]) -> String {
    let differs = |of: fn(&Kind, &Kind) -> bool| kinds.iter().any(|other| of(kind, other));
    let mut label = kind.strategy.word().to_owned();
    if differs(|a, b| a.profile != b.profile) {
        label += &format!(" on {}", kind.profile);
    }
    if differs(|a, b| a.budgets != b.budgets) {
        let budgets: Vec<String> = kind.budgets.iter().map(ToString::to_string).collect();
        label += &match budgets.is_empty() {
            true => ", no budget".to_owned(),
            false => format!(", {}", budgets.join(" ")),
        };
    }
    if differs(|a, b| a.episodes != b.episodes) {
        label += &format!(", {} episodes", kind.episodes);
    }
    label
}
