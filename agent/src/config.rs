//! Every hyper-parameter of the agent, with its default, its range and where it comes from.

use std::ops::{Bound, RangeBounds};

use serde::{Deserialize, Serialize};

/// Hyper-parameters of [`Ddpg`](crate::Ddpg).
///
/// "HAQ" is Wang et al., CVPR 2019, section 3.6; "DDPG" is Lillicrap et al., ICLR 2016, section 7; "released code"
/// is the code published with HAQ, followed where the paper is silent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DdpgConfig {
    /// Units of the two hidden layers of actor and critic. Default `[300, 300]`, as the released code runs
    /// (HAQ and DDPG print 400 and 300); 1 to 4096 each.
    pub hidden_units: [usize; 2],
    /// Adam's step size for the actor. Default 1e-4 (DDPG); above 0, at most 1.
    pub actor_learning_rate: f64,
    /// Adam's step size for the critic. Default 1e-3 (DDPG); above 0, at most 1.
    pub critic_learning_rate: f64,
    /// Decay of Adam's first moment. Default 0.9 (Adam's own); 0 to below 1.
    pub adam_beta1: f64,
    /// Decay of Adam's second moment. Default 0.999 (Adam's own); 0 to below 1.
    pub adam_beta2: f64,
    /// Added to Adam's denominator. Default 1e-8 (Adam's own); above 0, at most 1.
    pub adam_epsilon: f64,
    /// γ, the weight of the successor's value. Default 1 (HAQ: an episode is short and rewarded at its end); 0 to 1.
    pub discount: f64,
    /// τ, the share of the online weights that enters the target networks at each update. Default 0.01
    /// (released code; DDPG has 0.001); above 0, at most 1.
    pub tau: f64,
    /// Transitions in one batch. Default 64 (DDPG, HAQ); 1 to 65536.
    pub batch_size: usize,
    /// Transitions kept, oldest dropped first. Default 6912, the released code's 128 for each of ResNet-50's 54
    /// layers; a caller that knows its episode length sets 128 times that. 1 to 16777216.
    pub replay_capacity: usize,
    /// Episodes of uniform random actions, without learning, before the actor takes over. Default 20 (HAQ;
    /// the released code compares with ≤ and so plays 21); 0 to 1000000.
    pub warmup_episodes: u64,
    /// Updates at the end of an episode for each of its transitions. Default 1 (released code); 1 to 64.
    pub updates_per_transition: u64,
    /// σ of the truncated normal in the first episode after warm-up. Default 0.5 (HAQ); 0 to 10.
    pub noise_sigma: f64,
    /// Factor on σ after each later episode. Default 0.99 (HAQ); above 0, at most 1.
    pub noise_decay: f64,
    /// Share of a batch's mean reward that enters the moving-average baseline. Default 0.5 (released code; HAQ
    /// says only that the average moves exponentially); above 0, at most 1.
    pub baseline_rate: f64,
}

impl Default for DdpgConfig {
    fn default() -> Self {
        Self {
            hidden_units: [300, 300],
            actor_learning_rate: 1e-4,
            critic_learning_rate: 1e-3,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            discount: 1.0,
            tau: 0.01,
            batch_size: 64,
            replay_capacity: 6912,
            warmup_episodes: 20,
            updates_per_transition: 1,
            noise_sigma: 0.5,
            noise_decay: 0.99,
            baseline_rate: 0.5,
        }
    }
}

/// A hyper-parameter outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} is {found}; it needs to be {range}")]
pub struct ConfigError {
    pub field: &'static str,
    pub found: f64,
    /// The allowed range in words.
    pub range: String,
}

impl DdpgConfig {
    /// # Errors
    /// The first field outside its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        use Bound::{Excluded, Included};
        let above_0_to_1 = (Excluded(0.0), Included(1.0));
        let up_to_below_1 = (Included(0.0), Excluded(1.0));
        let between = |low: f64, high: f64| (Included(low), Included(high));

        let [first_hidden, second_hidden] = self.hidden_units;
        let fields = [
            ("hidden_units[0]", first_hidden as f64, between(1.0, 4096.0)),
            ("hidden_units[1]", second_hidden as f64, between(1.0, 4096.0)),
            ("actor_learning_rate", self.actor_learning_rate, above_0_to_1),
            ("critic_learning_rate", self.critic_learning_rate, above_0_to_1),
            ("adam_beta1", self.adam_beta1, up_to_below_1),
            ("adam_beta2", self.adam_beta2, up_to_below_1),
            ("adam_epsilon", self.adam_epsilon, above_0_to_1),
            ("discount", self.discount, between(0.0, 1.0)),
            ("tau", self.tau, above_0_to_1),
            ("batch_size", self.batch_size as f64, between(1.0, 65_536.0)),
            ("replay_capacity", self.replay_capacity as f64, between(1.0, 16_777_216.0)),
            ("warmup_episodes", self.warmup_episodes as f64, between(0.0, 1e6)),
            ("updates_per_transition", self.updates_per_transition as f64, between(1.0, 64.0)),
            ("noise_sigma", self.noise_sigma, between(0.0, 10.0)),
            ("noise_decay", self.noise_decay, above_0_to_1),
            ("baseline_rate", self.baseline_rate, above_0_to_1),
        ];
        for (field, found, range) in fields {
            if !range.contains(&found) {
                return Err(ConfigError { field, found, range: in_words(range) });
            }
        }
        Ok(())
    }
}

fn in_words((low, high): (Bound<f64>, Bound<f64>)) -> String {
    let low = match low {
        Bound::Included(low) => format!("at least {low}"),
        Bound::Excluded(low) => format!("above {low}"),
        Bound::Unbounded => "any number".to_owned(),
    };
    match high {
        Bound::Included(high) => format!("{low} and at most {high}"),
        Bound::Excluded(high) => format!("{low} and below {high}"),
        Bound::Unbounded => low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_in_range() {
        DdpgConfig::default().validate().unwrap();
    }

    #[test]
    fn value_out_of_range_is_refused_naming_the_field() {
        let change = |edit: fn(&mut DdpgConfig)| {
            let mut config = DdpgConfig::default();
            edit(&mut config);
            config.validate().expect_err("the edit left the range").to_string()
        };
        type Case = (&'static str, fn(&mut DdpgConfig));
        let cases: [Case; 17] = [
            ("hidden_units[0]", |c| c.hidden_units = [0, 300]),
            ("hidden_units[1]", |c| c.hidden_units = [300, 5000]),
            ("actor_learning_rate", |c| c.actor_learning_rate = 0.0),
            ("critic_learning_rate", |c| c.critic_learning_rate = f64::NAN),
            ("adam_beta1", |c| c.adam_beta1 = 1.0),
            ("adam_beta2", |c| c.adam_beta2 = -0.1),
            ("adam_epsilon", |c| c.adam_epsilon = 0.0),
            ("discount", |c| c.discount = 1.01),
            ("tau", |c| c.tau = 0.0),
            ("batch_size", |c| c.batch_size = 0),
            ("replay_capacity", |c| c.replay_capacity = 0),
            ("replay_capacity", |c| c.replay_capacity = usize::MAX),
            ("warmup_episodes", |c| c.warmup_episodes = u64::MAX),
            ("updates_per_transition", |c| c.updates_per_transition = 0),
            ("noise_sigma", |c| c.noise_sigma = f64::INFINITY),
            ("noise_decay", |c| c.noise_decay = 1.1),
            ("baseline_rate", |c| c.baseline_rate = 0.0),
        ];
        for (field, edit) in cases {
            let message = change(edit);
            assert!(message.starts_with(&format!("{field} is ")), "{field}: {message}");
        }
        assert_eq!(change(|c| c.tau = -1.0), "tau is -1; it needs to be above 0 and at most 1");
    }

    #[test]
    fn unknown_field_is_refused_and_missing_ones_take_their_default() {
        let config: DdpgConfig = serde_json::from_str(r#"{"tau": 0.001}"#).unwrap();
        assert_eq!(config, DdpgConfig { tau: 0.001, ..DdpgConfig::default() });
        let error = serde_json::from_str::<DdpgConfig>(r#"{"taau": 0.001}"#).unwrap_err();
        assert!(error.to_string().contains("taau"), "{error}");
    }
}
