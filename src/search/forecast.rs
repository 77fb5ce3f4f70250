//! What a run's own evaluations say of policies that it did not try.

use crate::{
    domain::BitwidthPolicy,
    search::{
        loss_table::LossTable,
        space::SearchSpace,
        surrogate::{Forecast, Surrogate},
    },
};

/// The losses of single tensors, corrected by every policy that was judged, as the default
/// strategy corrects them.
pub struct LossForecast {
    surrogate: Surrogate,
    forecast: Forecast,
}

impl LossForecast {
    /// - `alone`: KL divergence in nats that each tensor alone brings
    /// - `judged`: policies with their KL divergence in nats
    pub fn new<'a>(
        space: SearchSpace,
        alone: &LossTable,
        judged: impl IntoIterator<Item = (&'a BitwidthPolicy, f64)>,
    ) -> Self {
        let mut surrogate = Surrogate::new(space, alone);
        judged.into_iter().for_each(|(policy, kl)| surrogate.add(policy, kl));
        let forecast = surrogate.mean();
        Self { surrogate, forecast }
    }

    /// KL divergence in nats that a policy is expected to have.
    pub fn kl(&self, policy: &BitwidthPolicy) -> f64 {
        self.surrogate.log_loss(&self.forecast, policy).exp()
    }
}
