//! The one place where agent, simulator and quantization meet.
//!
//! A [`SearchRequest`] is what the user asks; a [`Plan`] is what it means for this network and
//! device; a [`Session`] has calibrated and can judge policies; [`run`] loops over episodes and
//! reports [`SearchEvent`]s.

mod action;
mod agent_memory;
mod alone;
mod arrivals;
mod best;
mod ddpg;
mod episode_finetune;
mod error;
mod evaluator;
mod events;
mod evolution;
mod explanation;
mod forecast;
mod greedy;
mod haq;
mod ilp;
mod joint_cost;
mod limits;
mod loss_table;
mod model;
mod observation;
mod pace;
mod plan;
mod planned;
mod projection;
mod proposer;
mod refine;
mod request;
mod reward;
mod rounds;
mod run;
mod session;
mod space;
mod starts;
mod surrogate;
mod weight_losses;
mod weights_only;
mod workload;

pub use alone::judged_digest;
pub use best::{Preference, TOLERATED_LOSS, best_episode};
pub use ddpg::{DdpgInputs, DdpgProposer};
pub use error::SearchError;
pub use evaluator::{Judged, PolicyCost, PolicyEvaluator, Trial};
pub use events::{Listener, SearchEvent, Verdict};
pub use evolution::EvolutionProposer;
pub use explanation::{Explained, explain};
pub use forecast::LossForecast;
pub use haq::HaqProposer;
pub use joint_cost::{DeviceCost, JointCost};
pub use limits::Limits;
pub use loss_table::LossTable;
pub use model::{Model, ModelError, ModelOptions, StoredNetwork};
pub use pace::Pace;
pub use plan::{Plan, kind_word};
pub use planned::Planner;
pub use proposer::{Judgement, ListProposer, Proposal, Proposer, ProposerState, RandomProposer};
pub use request::{
    BitList, Pins, PreprocessingRequest, ProfileText, ROUND_MAX, SearchRequest, parse_layer_bits,
};
pub use reward::loss;
pub use run::{InFlight, Outcome, Problem, run};
pub use session::Session;
pub use space::{Decision, LayerChoices, SearchSpace, with_shared_tensors};
pub use weight_losses::WeightLosses;
pub use workload::workload_of;
