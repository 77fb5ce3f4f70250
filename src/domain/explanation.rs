//! Why a layer has its bits, and what other bits would change.

use serde::{Deserialize, Serialize};

use crate::domain::{Bits, Cost, LayerBits, Operand};

/// What decided over a layer's bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The user or the default fixed the layer.
    Pinned,
    /// There is one width only for each of its tensors.
    OneChoice,
    /// More bits were proposed than the budget left.
    Clamped,
    /// One more bit of any of its tensors would break a budget.
    HeldByBudget,
    /// Its tensors have the widest width that is offered.
    Widest,
    /// The search chose them although more were affordable.
    Chosen,
}

/// One layer of a policy, explained.
///
/// Quality and cost of changes are predicted: sensitivities of single tensors are added up, and
/// the cost model is asked. No such policy was evaluated for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerExplanation {
    pub layer_index: usize,
    pub name: String,
    pub bits: LayerBits,
    /// Before budgets lowered them.
    pub proposed: LayerBits,
    pub reason: Reason,
    /// The layer that decides over the activation bits, where that is another one: both read one
    /// tensor.
    pub reads_tensor_of: Option<usize>,
    /// KL divergence in nats from float that the weights alone bring at their bits; `None` where
    /// it was not measured.
    pub weight_kl: Option<f64>,
    /// The same for the tensor the layer reads, in the layer that decides over it.
    pub activation_kl: Option<f64>,
    /// Share of the network's cost in the run's objective, 0 to 1; `None` for peak memory.
    pub cost_share: Option<f64>,
    /// The next wider and the next narrower width of each tensor, where they are offered.
    pub changes: Vec<BitChange>,
}

/// One tensor at the next width, everything else as it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BitChange {
    pub operand: Operand,
    pub from: Bits,
    pub to: Bits,
    /// Predicted change of the KL divergence in nats, above 0 where it grows; `None` where single
    /// tensors were not measured.
    pub predicted_kl_change: Option<f64>,
    /// Of the whole network with this change, for one batch.
    pub predicted_cost: Cost,
    /// Change of the objective's cost as a share of what the policy costs.
    pub predicted_cost_change: f64,
    pub breaks_a_budget: bool,
}
