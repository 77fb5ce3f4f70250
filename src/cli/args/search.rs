//! What can be typed after `haq search` and `haq resume`.

use std::{path::PathBuf, str::FromStr};

use clap::Args;

use super::{FleetArgs, InputArgs, MachineArgs, RecipeArgs};
use crate::{
    domain::{BudgetRequest, Measure, Strategy},
    search::{BitList, Pins, ROUND_MAX, WeightLosses},
};

/// One strategy, several with commas, or all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrategyList {
    /// At least one, each once.
    pub strategies: Vec<Strategy>,
    /// Whether all were asked for: those that can.
    pub is_all: bool,
}

impl StrategyList {
    /// Of one strategy its own; several get equally many, which is what makes them comparable.
    pub fn usual_episodes(&self) -> u32 {
        match self.strategies[..] {
            [strategy] => strategy.usual_episodes(),
            _ => Strategy::default().usual_episodes(),
        }
    }
}

impl FromStr for StrategyList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Self { strategies: Strategy::ALL.to_vec(), is_all: true });
        }
        let mut strategies = Vec::new();
        for word in text.split(',') {
            let strategy: Strategy = word.trim().parse()?;
            if !strategies.contains(&strategy) {
                strategies.push(strategy);
            }
        }
        Ok(Self { strategies, is_all: false })
    }
}

fn strategy_help() -> String {
    let words: Vec<&str> = Strategy::ALL.into_iter().map(Strategy::word).collect();
    format!("Who proposes policies: {}; several with commas, or all", words.join(", "))
}

#[derive(Debug, Clone, Args)]
pub struct SearchArgs {
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Hardware profile: a file, or the name of one in ./hw-profiles or built in; repeatable: a
    /// run for each device, and what each policy costs on the others
    #[arg(long, required = true, value_name = "PROFILE")]
    pub hw: Vec<String>,
    /// With several --hw: one policy that meets the budgets on all of them; a cost then is that on
    /// the device where it is the largest share of 8/8
    #[arg(long)]
    pub one_policy: bool,
    /// Limit on latency, energy, size or memory: a ratio to 8/8 (latency=0.6) or a value with
    /// its unit (latency=5ms, energy=2mJ, size=1.1MB, memory=512KB); repeatable
    #[arg(long, value_name = "COST=LIMIT")]
    pub budget: Vec<BudgetRequest>,
    /// Policies to try; where absent 200, with --strategy haq alone 600
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub episodes: Option<u32>,
    #[arg(long, default_value = "ddpg", value_name = "NAMES", help = strategy_help())]
    pub strategy: StrategyList,
    /// So many seeds, counted from --seed, of every strategy that draws: a table compares them
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeats: u32,
    /// With several strategies or seeds: run again what the database has already
    #[arg(long)]
    pub again: bool,
    /// Quality to keep: top1, top5, or without labels agreement, kl, mse
    #[arg(long, default_value_t = Measure::Top1, value_name = "NAME")]
    pub measure: Measure,
    /// Equal seeds give equal episodes
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Which image lands in which split; --seed where absent
    #[arg(long, value_name = "N")]
    pub split_seed: Option<u64>,
    /// Weight widths to choose from: 2-8 or 2,4,8; what the profile can use where absent
    #[arg(long, value_name = "BITS")]
    pub weight_bits: Option<BitList>,
    /// Activation widths to choose from
    #[arg(long, value_name = "BITS")]
    pub activation_bits: Option<BitList>,
    /// Layers with fixed bits: first=8,last=8 or NAME=W/A or none
    #[arg(long, default_value_t = Pins::first_and_last(), value_name = "PINS")]
    pub pin: Pins,
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// What rounding a layer's weights is taken to lose where a strategy asks: measured as KL from
    /// float, or hessian: worked out from the trace of the Hessian, as HAWQ does
    #[arg(long, default_value_t, value_name = "SOURCE")]
    pub weight_losses: WeightLosses,
    /// Train each policy for so many epochs on the calibration images before it is judged, as
    /// HAQ does; dear
    #[arg(long, value_name = "EPOCHS", num_args = 0..=1, default_value_t = 0, default_missing_value = "1")]
    pub episode_finetune: u32,
    /// Policies that are judged at a time, such as by workers of a fleet. The strategy learns from
    /// each as it is judged, so that equal seeds may give unequal episodes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(ROUND_MAX)))]
    pub in_flight: Option<u32>,
    /// With --in-flight: have all of them judged and learn from them in the order of their proposal
    /// before the next ones are proposed, so that equal seeds give equal episodes, whoever judges
    #[arg(long)]
    pub deterministic: bool,
    /// The same as --in-flight N --deterministic
    #[arg(long, value_name = "N", conflicts_with = "in_flight", value_parser = clap::value_parser!(u32).range(1..=i64::from(ROUND_MAX)))]
    pub round: Option<u32>,
    /// Images each policy is judged on
    #[arg(long, value_name = "N")]
    pub search_images: Option<usize>,
    /// Test images for the final figures
    #[arg(long, value_name = "N")]
    pub images: Option<usize>,
    /// Images the simulated device takes at once; the profile's own where absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65536))]
    pub batch: Option<u64>,
    /// Folder for plots and the policy
    #[arg(long, default_value = "haq-out", value_name = "FOLDER")]
    pub out: PathBuf,
    #[command(flatten)]
    pub fleet: FleetArgs,
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// Print plan, layers, size of the search space and cheapest and dearest policy, and stop
    #[arg(long)]
    pub dry_run: bool,
}

impl SearchArgs {
    /// Policies in a round, where rounds were asked for.
    pub fn round(&self) -> Option<u32> {
        self.round.or(self.in_flight.filter(|_| self.deterministic))
    }

    /// Policies in flight of a search that is to learn from each as it is judged.
    pub fn arrivals(&self) -> Option<u32> {
        self.in_flight.filter(|_| !self.deterministic)
    }
}

/// Which service does the work.
#[derive(Debug, Clone, Args)]
pub struct RemoteArgs {
    /// Let the haq serve at this address do it: http://127.0.0.1:8080. Files of a network are sent
    /// there; --data names what lies in its data folders, or a .safetensors file to send
    #[arg(long, env = "HAQ_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// Token for it, as haq token create printed it
    #[arg(long, env = "HAQ_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct ResumeArgs {
    /// Number of the run; the newest interrupted one where absent
    pub run: Option<i64>,
    #[command(flatten)]
    pub fleet: FleetArgs,
    #[command(flatten)]
    pub remote: RemoteArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Folder for plots and the policy
    #[arg(long, default_value = "haq-out", value_name = "FOLDER")]
    pub out: PathBuf,
}
