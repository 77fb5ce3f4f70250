//! What the agent sees before a decision, in numbers from 0 to 1: the layer as in the paper, what
//! its tensor loses alone at every width, its share of the cost, and how the episode stands.

use crate::{
    domain::{Bits, BitwidthPolicy, CostKind, Layer, Operand},
    search::{
        loss_table::WIDTHS,
        observation::{N_LAYER_FEATURES, layer_features},
        projection::CostOf,
        space::{Decision, SearchSpace},
        surrogate::Surrogate,
    },
};

/// Layer, operand, loss by width, share of each cost.
const N_STATIC: usize = N_LAYER_FEATURES + 1 + WIDTHS + COSTS.len();

/// Numbers that [`Moment`] becomes.
const N_DYNAMIC: usize = 4;

/// Costs that bits change, of which a decision has a share.
const COSTS: [CostKind; 3] = [CostKind::Latency, CostKind::Energy, CostKind::Size];

/// The fixed part of every decision's observation.
pub struct View {
    decisions: Vec<[f32; N_STATIC]>,
    /// Loss of each decision alone, by width.
    losses: Vec<[f64; WIDTHS]>,
    /// `ln` of the least loss of a tensor and of all tensors at their narrowest.
    log_range: (f64, f64),
}

/// How an episode stands before a decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// The bits chosen just before over the widest offered; 1 at the start.
    pub previous_width: f32,
    /// Where the episode's budget lies in its range.
    pub budget_share: f32,
    /// The share of what the rest could spend that the budgets leave it.
    pub slack: f32,
    /// What the decisions so far lose alone, added up.
    pub loss: f64,
}

impl View {
    pub fn new(space: &SearchSpace, cost: CostOf, layers: &[Layer], surrogate: &Surrogate) -> Self {
        let losses: Vec<[f64; WIDTHS]> = space
            .decisions()
            .iter()
            .enumerate()
            .map(|(index, &decision)| {
                by_width(space.widths(decision), |bits| surrogate.alone(index, bits))
            })
            .collect();
        let all = losses.iter().flatten().copied();
        let least = all.fold(f64::INFINITY, f64::min).ln();
        let most: f64 = losses.iter().map(|row| row.iter().copied().fold(0.0, f64::max)).sum();
        let log_range = (least, most.ln().max(least + 1e-9));
        let layers = layer_features(layers);
        let shares = cost_shares(space, cost);
        let decisions = space.decisions().iter().enumerate().map(|(index, decision)| {
            let layer = layers[decision.layer].iter().copied();
            let operand = f32::from(decision.operand == Operand::Weight);
            let losses = losses[index].iter().map(|loss| scaled(loss.ln(), log_range));
            let all = layer.chain([operand]).chain(losses).chain(shares[index]);
            let mut features = [0.0; N_STATIC];
            features.iter_mut().zip(all).for_each(|(to, from)| *to = from);
            features
        });
        let decisions = decisions.collect();
        Self { decisions, losses, log_range }
    }

    /// Numbers in one observation.
    pub fn n_features(&self) -> usize {
        N_STATIC + N_DYNAMIC
    }

    /// What the decision loses alone.
    pub fn loss(&self, decision_index: usize, bits: Bits) -> f64 {
        self.losses[decision_index][usize::from(bits.get()) - 1]
    }

    pub fn observe(&self, decision_index: usize, moment: &Moment) -> Vec<f32> {
        let lost = if moment.loss > 0.0 { scaled(moment.loss.ln(), self.log_range) } else { 0.0 };
        let mut observation = self.decisions[decision_index].to_vec();
        observation.extend([moment.previous_width, moment.budget_share, moment.slack, lost]);
        observation
    }
}

fn scaled(value: f64, (low, high): (f64, f64)) -> f32 {
    ((value - low) / (high - low)).clamp(0.0, 1.0) as f32
}

/// A number for each of 1 to 8 bits; where a width is not offered, that of the next wider one,
/// or of the widest.
fn by_width(widths: &[Bits], of: impl Fn(Bits) -> f64) -> [f64; WIDTHS] {
    let widest = widths[widths.len() - 1];
    std::array::from_fn(|index| {
        let offered = widths.iter().copied().find(|bits| usize::from(bits.get()) > index);
        of(offered.unwrap_or(widest))
    })
}

/// What the narrowest width of each decision alone saves of each cost, relative to the decision
/// that saves most.
fn cost_shares(space: &SearchSpace, cost: CostOf) -> Vec<[f32; COSTS.len()]> {
    let widest = space.widest();
    let full = cost(&widest);
    let saved = |&decision: &Decision| {
        let mut policy: BitwidthPolicy = widest.clone();
        space.set(&mut policy, decision, space.widths(decision)[0]);
        let left = cost(&policy);
        COSTS.map(|kind| (full.get(kind) - left.get(kind)).max(0.0))
    };
    let saved: Vec<[f64; COSTS.len()]> = space.decisions().iter().map(saved).collect();
    let most: [f64; COSTS.len()] =
        std::array::from_fn(|kind| saved.iter().map(|row| row[kind]).fold(0.0, f64::max));
    let share = |row: &[f64; COSTS.len()]| {
        std::array::from_fn(
            |kind| if most[kind] > 0.0 { (row[kind] / most[kind]) as f32 } else { 0.0 },
        )
    };
    saved.iter().map(share).collect()
}
