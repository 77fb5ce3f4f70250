//! The nouns everyone shares: policies, budgets, quality, runs and fronts.
//!
//! No tensors, no input or output. The nouns of hardware cost are the simulator's.

mod budget;
mod explanation;
mod front;
mod hexadecimal;
mod hypervolume;
mod job;
mod measurement;
mod policy;
mod quality;
mod run;
mod tuning;

pub use budget::{Budget, BudgetRequest, Limit, show_cost};
pub use explanation::{BitChange, LayerExplanation, Reason};
pub use front::pareto_front;
pub use haq_simulator::{Bits, Bound, Cost, CostKind, Layer, LayerBits, LayerCost, LayerKind};
pub use hexadecimal::hexadecimal;
pub use hypervolume::hypervolume;
pub use job::{JobEnding, JobId, JobState, JobTicket, NewJob, StopWish};
pub use measurement::{
    HessianTrace, MethodKey, Operand, QuantizationRecord, SensitivityRecord, SubjectDescription,
};
pub use policy::BitwidthPolicy;
pub use quality::{Measure, Quality};
pub use run::{
    EpisodeKind, EpisodeRecord, JudgedBy, LayerDescription, RunDescription, RunId, RunResult,
    RunState, Strategy,
};
pub use tuning::{TuningDescription, TuningEpoch, TuningId, TuningRecord, TuningTest};
