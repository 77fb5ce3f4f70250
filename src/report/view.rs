//! A run as reports see it, and the questions every report asks of it.

use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        BitwidthPolicy, Budget, Cost, CostKind, EpisodeKind, EpisodeRecord, LayerBits, LayerCost,
        LayerExplanation, Quality, RunDescription, RunId, RunResult, pareto_front,
    },
    report::OnDevice,
};

/// All that reports need to know of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunView {
    pub id: RunId,
    pub description: RunDescription,
    pub result: RunResult,
    /// In the order they were tried; a run still going on has fewer than planned.
    pub episodes: Vec<EpisodeRecord>,
    /// What each layer costs under the best policy, one for each layer of the
    /// description; empty while there is no best policy.
    pub best_layers: Vec<LayerCost>,
    /// What the best policy costs on each device it was searched for, the one of `best_layers`
    /// first; empty while there is none.
    pub on_devices: Vec<OnDevice>,
    /// Why each layer of the best policy has its bits; empty while there is none.
    pub explanation: Vec<LayerExplanation>,
    /// Quality on the test split of policies other than the best, such as 8/8 and the
    /// uniform ones; empty where they were not measured. Comparisons use it when they can.
    pub tested: Vec<(BitwidthPolicy, Quality)>,
    /// Standard deviation of the exploration noise at each episode, in units of the action
    /// (0 to 1); empty when the strategy has none.
    pub exploration: Vec<f64>,
    /// Which images served for what; the page says that they are disjoint.
    pub splits: Vec<SplitUse>,
    /// Commands that make this run and this report again, in the order to type them.
    pub commands: Vec<String>,
    /// What else tells where the figures come from, such as `data digest` or `started`:
    /// a name and its value.
    pub provenance: Vec<(String, String)>,
}

/// One split of the data as the evaluation used it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitUse {
    /// `calibration`, `search` or `test`.
    pub name: String,
    pub images: u64,
    /// What it decided, such as `clip ranges and rounding`.
    pub purpose: String,
}

/// A uniform policy tried for comparison.
#[derive(Debug, Clone, Copy)]
pub struct Reference<'a> {
    /// The bits of every layer that is not pinned.
    pub bits: LayerBits,
    pub episode: &'a EpisodeRecord,
}

impl RunView {
    /// `run 12 · ddpg · seed 1`.
    pub fn label(&self) -> String {
        format!("run {} · {} · seed {}", self.id, self.description.strategy, self.description.seed)
    }

    /// The measured quality of an episode on the search split, more is better.
    pub fn quality(&self, episode: &EpisodeRecord) -> Option<f64> {
        self.quality_of(&episode.quality)
    }

    /// The run's measure of a quality; `None` where it is missing or not a number.
    pub fn quality_of(&self, quality: &Quality) -> Option<f64> {
        self.description.measure.of(quality).filter(|value| value.is_finite())
    }

    /// What the float network reaches on the search split.
    ///
    /// Measures against float itself are exact for it, whether or not they were written down.
    pub fn float_quality(&self) -> Option<f64> {
        let perfect =
            Quality { agreement: Some(1.0), kl: Some(0.0), mse: Some(0.0), ..Quality::default() };
        self.quality_of(&self.description.float_quality).or_else(|| self.quality_of(&perfect))
    }

    /// Whether a policy meets every budget of the run.
    pub fn is_feasible(&self, episode: &EpisodeRecord) -> bool {
        Budget::all_met(&self.description.budgets, &episode.cost)
    }

    /// The limit on one cost, when the run has one.
    pub fn limit(&self, kind: CostKind) -> Option<f64> {
        let limits = self.description.budgets.iter().filter(|budget| budget.kind == kind);
        limits.map(|budget| budget.limit).filter(|limit| limit.is_finite()).reduce(f64::min)
    }

    /// The policy the run chose.
    pub fn best(&self) -> Option<&EpisodeRecord> {
        let index = self.result.best_episode?;
        self.episodes.iter().find(|episode| episode.index == index)
    }

    /// Policies within the budgets that no other beats in both quality and this cost, by
    /// rising cost.
    pub fn front(&self, kind: CostKind) -> Vec<&EpisodeRecord> {
        let feasible: Vec<(&EpisodeRecord, f64)> = self
            .episodes
            .iter()
            .filter(|episode| episode.is_whole() && self.is_feasible(episode))
            .filter(|episode| episode.cost.get(kind).is_finite())
            .filter_map(|episode| Some((episode, self.quality(episode)?)))
            .collect();
        let points: Vec<(f64, f64)> =
            feasible.iter().map(|(episode, quality)| (episode.cost.get(kind), *quality)).collect();
        pareto_front(&points).into_iter().map(|index| feasible[index].0).collect()
    }

    /// The uniform policies that were tried, by falling bits, each once.
    pub fn references(&self) -> Vec<Reference<'_>> {
        let mut references: Vec<Reference> = self
            .episodes
            .iter()
            .filter(|episode| episode.kind == EpisodeKind::Reference)
            .filter_map(|episode| {
                Some(Reference { bits: self.uniform_bits(&episode.policy)?, episode })
            })
            .collect();
        references.sort_by_key(|reference| std::cmp::Reverse(reference.bits));
        references.dedup_by_key(|reference| reference.bits);
        references
    }

    /// The bits all layers share that are not pinned; `None` when they differ.
    pub fn uniform_bits(&self, policy: &BitwidthPolicy) -> Option<LayerBits> {
        let pinned =
            |index: usize| self.description.layers.get(index).is_some_and(|layer| layer.pinned);
        let mut free = policy.layers().iter().enumerate().filter(|(index, _)| !pinned(*index));
        let (_, first) = free.next()?;
        free.all(|(_, bits)| bits == first).then_some(*first)
    }

    /// The best uniform policy for the price of the chosen one: within the budgets, or,
    /// without a budget, at no more of the objective.
    pub fn uniform_of_same_cost(&self) -> Option<Reference<'_>> {
        let best = self.best()?;
        let objective = self.description.objective;
        let limit = self.limit(objective).unwrap_or(best.cost.get(objective));
        self.references()
            .into_iter()
            .filter(|reference| {
                self.is_feasible(reference.episode)
                    && reference.episode.cost.get(objective) <= limit * (1.0 + 1e-9)
            })
            .filter_map(|reference| Some((reference, self.quality(reference.episode)?)))
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
            .map(|(reference, _)| reference)
    }

    /// The 8/8 policy, when it was tried.
    pub fn eight_bit(&self) -> Option<Reference<'_>> {
        self.references().into_iter().find(|reference| reference.bits == LayerBits::EIGHT)
    }

    /// The quality of a policy on the test split, where it was measured.
    pub fn tested_quality(&self, policy: &BitwidthPolicy) -> Option<f64> {
        if let (Some(best), Some(quality)) = (self.best(), &self.result.best_test)
            && best.policy == *policy
        {
            return self.quality_of(quality);
        }
        let found = self.tested.iter().find(|(tested, _)| tested == policy);
        found.and_then(|(_, quality)| self.quality_of(quality))
    }

    /// A cost as a share of what 8/8 costs; `None` where that is nothing.
    pub fn ratio_to_eight_bit(&self, cost: &Cost, kind: CostKind) -> Option<f64> {
        let ratio = cost.get(kind) / self.description.eight_bit_cost.get(kind);
        ratio.is_finite().then_some(ratio)
    }

    /// Mean bits of the weights, each weight counted once, and of the layers' inputs.
    pub fn mean_bits(&self, policy: &BitwidthPolicy) -> (f64, f64) {
        let weights = |index: usize| {
            self.description.layers.get(index).map_or(1.0, |layer| layer.weights.max(1) as f64)
        };
        let (mut bits, mut count) = (0.0, 0.0);
        for (index, width) in policy.weight_bits().enumerate() {
            bits += weights(index) * f64::from(width.get());
            count += weights(index);
        }
        let activations: f64 = policy.activation_bits().map(|bits| f64::from(bits.get())).sum();
        (bits / f64::max(count, 1.0), activations / policy.len().max(1) as f64)
    }
}
