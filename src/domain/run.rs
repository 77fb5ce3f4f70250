//! A search run as it is kept: what was asked, what every episode found, how it ended.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::domain::{BitwidthPolicy, Budget, BudgetRequest, Cost, CostKind, Measure, Quality};

/// The number of a run in one database.
pub type RunId = i64;

/// Which method proposes policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    #[default]
    Ddpg,
    /// The search of the HAQ paper, kept as it was published: the reference.
    Haq,
    Random,
    Uniform,
    /// Gives up the widths that lose least for what they save.
    Greedy,
    /// The least sum of measured sensitivities, by an integer programme.
    Ilp,
    Evolution,
}

impl Strategy {
    pub const ALL: [Strategy; 7] = [
        Strategy::Ddpg,
        Strategy::Haq,
        Strategy::Random,
        Strategy::Uniform,
        Strategy::Greedy,
        Strategy::Ilp,
        Strategy::Evolution,
    ];

    /// Whether another seed gives other policies.
    pub const fn draws(self) -> bool {
        !matches!(self, Strategy::Uniform | Strategy::Greedy | Strategy::Ilp)
    }

    /// Whether it begins with the sensitivity of every tensor.
    pub const fn rests_on_sensitivities(self) -> bool {
        matches!(self, Strategy::Ddpg | Strategy::Greedy | Strategy::Ilp)
    }

    pub const fn word(self) -> &'static str {
        match self {
            Strategy::Ddpg => "ddpg",
            Strategy::Haq => "haq",
            Strategy::Random => "random",
            Strategy::Uniform => "uniform",
            Strategy::Greedy => "greedy",
            Strategy::Ilp => "ilp",
            Strategy::Evolution => "evolution",
        }
    }

    /// Policies to try where the user names no number. HAQ's code plays 600 episodes.
    pub const fn usual_episodes(self) -> u32 {
        match self {
            Strategy::Haq => 600,
            _ => 200,
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Strategy::ALL.into_iter().find(|strategy| strategy.word() == text).ok_or_else(|| {
            let words: Vec<&str> = Strategy::ALL.into_iter().map(Strategy::word).collect();
            format!("{text:?} is not a strategy; {} are", words.join(", "))
        })
    }
}

/// Where a run stands.
///
/// `Running` turns into any other state; `Interrupted` and `Failed` may turn into `Running`
/// again (resume); `Completed` is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    Running,
    Completed,
    Interrupted,
    Failed,
}

impl RunState {
    pub const ALL: [RunState; 4] =
        [RunState::Running, RunState::Completed, RunState::Interrupted, RunState::Failed];

    pub const fn word(self) -> &'static str {
        match self {
            RunState::Running => "running",
            RunState::Completed => "completed",
            RunState::Interrupted => "interrupted",
            RunState::Failed => "failed",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What a run is about; fixed when the run starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunDescription {
    /// File name or `embedded`.
    pub model: String,
    /// SHA-256 of the model's bytes, hexadecimal.
    pub model_digest: String,
    /// Path or `embedded`.
    pub data: String,
    /// Name inside the profile, such as `edge-tpu`.
    pub profile: String,
    pub strategy: Strategy,
    pub measure: Measure,
    pub seed: u64,
    /// Episodes the run was asked for.
    pub episodes_planned: u32,
    pub batch: u64,
    /// As typed; empty when the search covers a range of budgets.
    pub budget_requests: Vec<BudgetRequest>,
    /// The same limits in seconds, joules and bytes.
    pub budgets: Vec<Budget>,
    /// The cost the front is drawn against.
    pub objective: CostKind,
    pub layers: Vec<LayerDescription>,
    /// What float reached on the search split, and the uniform 8/8 policy's cost.
    pub float_quality: Quality,
    pub eight_bit_cost: Cost,
    /// Everything else needed to start the same run again, as the search wrote it.
    pub config: serde_json::Value,
}

/// A quantizable layer as reports name it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerDescription {
    pub name: String,
    /// `conv`, `depthwise` or `linear`.
    pub kind: String,
    pub macs: u64,
    pub weights: u64,
    /// Whether the search may not change this layer.
    pub pinned: bool,
}

/// How a policy came to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EpisodeKind {
    /// One bitwidth pair for all layers that are not pinned, tried for comparison.
    Reference,
    /// Worked out from what rounding does to each layer alone.
    Start,
    /// Uniformly random actions before the agent learns.
    WarmUp,
    /// The strategy's own proposal.
    Proposal,
}

impl EpisodeKind {
    pub const ALL: [EpisodeKind; 4] =
        [EpisodeKind::Reference, EpisodeKind::Start, EpisodeKind::WarmUp, EpisodeKind::Proposal];

    pub const fn word(self) -> &'static str {
        match self {
            EpisodeKind::Reference => "reference",
            EpisodeKind::Start => "start",
            EpisodeKind::WarmUp => "warm-up",
            EpisodeKind::Proposal => "proposal",
        }
    }
}

/// One policy, built and judged. Never changes once written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpisodeRecord {
    /// Counts from 0 within the run.
    pub index: u32,
    /// Which of the run's proposals it judges, from 0; none where it is a reference, and in runs of
    /// before this was kept. Proposals may be judged in another order than they were made in.
    #[serde(default)]
    pub proposal_index: Option<u32>,
    pub kind: EpisodeKind,
    /// What was proposed before any budget was enforced.
    pub proposed: BitwidthPolicy,
    /// What was evaluated; meets every budget unless `kind` is `Reference`.
    pub policy: BitwidthPolicy,
    /// On the search split; where judging stopped early, what is foretold for all of its images.
    pub quality: Quality,
    /// Images that were looked at before judging stopped, for the policy could no longer be the
    /// answer; none where all were.
    #[serde(default)]
    pub stopped_after_images: Option<u32>,
    pub cost: Cost,
    pub reward: f64,
    /// Whether the policy had been evaluated before, so that no forward pass was needed.
    pub from_cache: bool,
    /// Since the episode before was judged: learning from that one is in it, and in the first
    /// one what the strategy took to get ready.
    pub wall_s: f64,
    /// Who judged it, where it was a worker of a fleet.
    #[serde(default)]
    pub judged_by: Option<JudgedBy>,
}

/// A worker that judged a policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedBy {
    pub worker: String,
    /// As the worker's machine calls it.
    pub device: String,
    pub libtorch_version: String,
    /// Seconds of the evaluation alone.
    pub evaluation_s: f64,
}

impl EpisodeRecord {
    /// Whether the policy was judged on all images, so that it may be an answer.
    pub fn is_whole(&self) -> bool {
        self.stopped_after_images.is_none()
    }
}

/// How a run ended, or stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    pub state: RunState,
    /// Why it failed, when it did.
    pub error: Option<String>,
    pub episodes: u32,
    /// Forward passes over the search split; the rest came from the cache.
    pub evaluations: u32,
    /// Seconds of work, summed over interruptions.
    pub wall_s: f64,
    /// Index of the best episode that meets the budgets.
    pub best_episode: Option<u32>,
    /// The best policy and the float network on the test split, once the run completed.
    pub best_test: Option<Quality>,
    pub float_test: Option<Quality>,
    /// Other policies measured on the test split for comparison, such as the best uniform one.
    pub tested: Vec<(BitwidthPolicy, Quality)>,
}
