//! Updates equal those of PyTorch's own modules, autograd and Adam, stored by `reference/make_update.py`.

use haq_agent::{Batch, DdpgConfig, Learner};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    observation_len: usize,
    hidden_units: [usize; 2],
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    discount: f64,
    tau: f64,
    actor_learning_rate: f64,
    critic_learning_rate: f64,
    baseline_rate: f64,
    initial: Initial,
    updates: Vec<Update>,
}

#[derive(Deserialize)]
struct Initial {
    actor: Vec<f32>,
    critic: Vec<f32>,
}

#[derive(Deserialize)]
struct Update {
    batch: StoredBatch,
    critic_loss: f64,
    actor_loss: f64,
    baseline: f64,
    /// Of actor, critic and their targets; stored after the first and the last update.
    parameters: Option<[Vec<f32>; 4]>,
}

#[derive(Deserialize)]
struct StoredBatch {
    observations: Vec<f32>,
    actions: Vec<f32>,
    rewards: Vec<f32>,
    next_observations: Vec<f32>,
    not_done: Vec<f32>,
}

impl From<StoredBatch> for Batch {
    fn from(stored: StoredBatch) -> Batch {
        Batch {
            observations: stored.observations,
            actions: stored.actions,
            rewards: stored.rewards,
            next_observations: stored.next_observations,
            not_done: stored.not_done,
        }
    }
}

fn largest_difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(f, e)| (f - e).abs()).fold(0.0, f32::max)
}

#[test]
fn updates_equal_those_of_pytorch() {
    const TOLERANCE: f64 = 2e-6;
    let reference: Reference = serde_json::from_str(include_str!("reference/update.json")).unwrap();
    assert!(!reference.cases.is_empty());
    for case in reference.cases {
        let config = DdpgConfig {
            hidden_units: reference.hidden_units,
            discount: case.discount,
            tau: case.tau,
            actor_learning_rate: case.actor_learning_rate,
            critic_learning_rate: case.critic_learning_rate,
            baseline_rate: case.baseline_rate,
            ..DdpgConfig::default()
        };
        let Initial { actor, critic } = &case.initial;
        let mut learner =
            Learner::from_parameters(&config, reference.observation_len, actor, critic).unwrap();

        for (index, update) in case.updates.into_iter().enumerate() {
            let place = format!("{}, update {index}", case.name);
            let losses = learner.update(&update.batch.into());
            let baseline = learner.baseline().unwrap();
            for (name, found, expected) in [
                ("critic loss", losses.critic, update.critic_loss),
                ("actor loss", losses.actor, update.actor_loss),
                ("baseline", baseline, update.baseline),
            ] {
                let difference = (found - expected).abs();
                assert!(difference < TOLERANCE, "{place}: {name} {found}, not {expected}");
            }
            let Some(expected) = update.parameters else { continue };
            let names = ["actor", "critic", "target actor", "target critic"];
            for ((name, found), expected) in names.iter().zip(learner.parameters()).zip(expected) {
                let difference = f64::from(largest_difference(&found, &expected));
                assert!(difference < TOLERANCE, "{place}: {name} is off by {difference}");
            }
        }
    }
}
