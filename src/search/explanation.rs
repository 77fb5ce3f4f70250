//! Why each layer of a policy has its bits: its sensitivity, its share of the cost, what held it,
//! and what the next width would change.

use crate::{
    domain::{
        BitChange, Bits, BitwidthPolicy, Budget, CostKind, LayerExplanation, Operand, Reason,
    },
    search::{
        evaluator::PolicyCost,
        space::{Decision, SearchSpace},
    },
};

/// A policy with what is known about it.
pub struct Explained<'a> {
    pub space: &'a SearchSpace,
    /// Before budgets lowered it.
    pub proposed: &'a BitwidthPolicy,
    pub policy: &'a BitwidthPolicy,
    pub cost: &'a dyn PolicyCost,
    pub budgets: &'a [Budget],
    pub objective: CostKind,
    /// By layer: its share of the objective's cost; empty where the cost belongs to no layer.
    pub cost_shares: &'a [f64],
    /// KL divergence in nats that one tensor alone brings; `None` where it was not measured.
    pub kl: &'a dyn Fn(Decision, Bits) -> Option<f64>,
    /// Of whole policies; `None` where not all single tensors were measured.
    pub forecast: Option<&'a dyn Fn(&BitwidthPolicy) -> f64>,
}

/// One explanation for each layer, in the order of the policy.
pub fn explain(explained: &Explained<'_>) -> Vec<LayerExplanation> {
    (0..explained.space.layers().len()).map(|layer| explained.layer(layer)).collect()
}

impl Explained<'_> {
    fn layer(&self, layer: usize) -> LayerExplanation {
        let choices = &self.space.layers()[layer];
        let changes = self.changes(layer);
        let bits = self.policy.layers()[layer];
        let kl = |operand: Operand| {
            let decision = Decision { layer, operand };
            (self.kl)(decision, self.space.get(self.policy, decision))
        };
        let owns = choices.tensor_owner == layer;
        LayerExplanation {
            layer_index: layer,
            name: choices.name.clone(),
            bits,
            proposed: self.proposed.layers()[layer],
            reason: self.reason(layer, &changes),
            reads_tensor_of: (!owns).then_some(choices.tensor_owner),
            weight_kl: kl(Operand::Weight),
            activation_kl: owns.then(|| kl(Operand::Activation)).flatten(),
            cost_share: self.cost_shares.get(layer).copied(),
            changes,
        }
    }

    fn reason(&self, layer: usize, changes: &[BitChange]) -> Reason {
        let choices = &self.space.layers()[layer];
        let (proposed, bits) = (self.proposed.layers()[layer], self.policy.layers()[layer]);
        let mut wider = changes.iter().filter(|change| change.to > change.from).peekable();
        if choices.pinned {
            Reason::Pinned
        } else if choices.weight.len() == 1 && choices.activation.len() == 1 {
            Reason::OneChoice
        } else if proposed.weight > bits.weight || proposed.activation > bits.activation {
            Reason::Clamped
        } else if wider.peek().is_none() {
            Reason::Widest
        } else if wider.all(|change| change.breaks_a_budget) {
            Reason::HeldByBudget
        } else {
            Reason::Chosen
        }
    }

    /// Weights before activations, the wider before the narrower.
    fn changes(&self, layer: usize) -> Vec<BitChange> {
        let own = |decision: &&Decision| decision.layer == layer;
        let mut changes = Vec::new();
        for &decision in self.space.decisions().iter().filter(own) {
            let from = self.space.get(self.policy, decision);
            let widths = self.space.widths(decision);
            let wider = widths.iter().copied().find(|&bits| bits > from);
            let narrower = widths.iter().copied().rev().find(|&bits| bits < from);
            let next = [wider, narrower].into_iter().flatten();
            changes.extend(next.map(|to| self.change(decision, from, to)));
        }
        changes
    }

    fn change(&self, decision: Decision, from: Bits, to: Bits) -> BitChange {
        let mut changed = self.policy.clone();
        self.space.set(&mut changed, decision, to);
        let (before, after) = (self.cost.cost(self.policy), self.cost.cost(&changed));
        let ratio = after.get(self.objective) / before.get(self.objective);
        let foretold = self.forecast.map(|kl| kl(&changed) - kl(self.policy));
        BitChange {
            operand: decision.operand,
            from,
            to,
            predicted_kl_change: foretold,
            predicted_cost: after,
            predicted_cost_change: if ratio.is_finite() { ratio - 1.0 } else { 0.0 },
            breaks_a_budget: !Budget::all_met(self.budgets, &after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Cost, LayerBits},
        search::space::tests::layer,
    };

    /// A layer costs the product of its bits.
    fn product_cost(policy: &BitwidthPolicy) -> Cost {
        let product = |l: &LayerBits| u64::from(l.weight.get()) * u64::from(l.activation.get());
        let total: u64 = policy.layers().iter().map(product).sum();
        Cost { latency_s: total as f64, energy_j: 0.0, size_bytes: total, peak_memory_bytes: 0 }
    }

    fn bits(pairs: &[(u8, u8)]) -> BitwidthPolicy {
        let width = |b: u8| Bits::new(b).unwrap();
        BitwidthPolicy::new(
            pairs.iter().map(|&(w, a)| LayerBits::new(width(w), width(a))).collect(),
        )
    }

    fn explained(proposed: &[(u8, u8)], executed: &[(u8, u8)]) -> Vec<LayerExplanation> {
        let mut layers = vec![layer(0, &[8], &[8]), layer(1, &[2, 4, 8], &[4, 8])];
        layers.extend([layer(2, &[2, 4], &[8]), layer(3, &[2, 4, 8], &[4, 8])]);
        layers[3].tensor_owner = 1;
        let space = SearchSpace::new(layers).unwrap();
        explain(&Explained {
            space: &space,
            proposed: &bits(proposed),
            policy: &bits(executed),
            cost: &product_cost,
            budgets: &[Budget { kind: CostKind::Latency, limit: 150.0 }],
            objective: CostKind::Latency,
            cost_shares: &[],
            kl: &|decision, bits| (decision.layer > 0).then(|| 1.0 / f64::from(bits.get()).exp2()),
            forecast: Some(&|policy| 1.0 / product_cost(policy).latency_s),
        })
    }

    #[test]
    fn every_reason_is_told_apart() {
        // 64 + 4·8 + 4·8 + 2·8 = 144 of 150.
        let layers =
            explained(&[(8, 8), (8, 8), (4, 8), (2, 8)], &[(8, 8), (4, 8), (4, 8), (2, 8)]);
        let reasons: Vec<Reason> = layers.iter().map(|layer| layer.reason).collect();
        assert_eq!(
            reasons,
            [Reason::Pinned, Reason::Clamped, Reason::Widest, Reason::HeldByBudget]
        );
        let executed = [(8, 8), (2, 4), (2, 8), (2, 4)];
        let reasons: Vec<Reason> =
            explained(&executed, &executed).iter().map(|layer| layer.reason).collect();
        assert_eq!(reasons, [Reason::Pinned, Reason::Chosen, Reason::Chosen, Reason::Chosen]);
    }

    #[test]
    fn the_next_widths_change_loss_and_cost_one_against_the_other() {
        let executed = [(8, 8), (4, 4), (4, 8), (2, 4)];
        let layers = explained(&executed, &executed);
        assert_eq!((layers[0].weight_kl, layers[0].changes.len()), (None, 0));
        let shown: Vec<(Operand, u8, f64)> = layers[1]
            .changes
            .iter()
            .map(|c| (c.operand, c.to.get(), c.predicted_cost.latency_s))
            .collect();
        // The tensor is layer 3's too: 8 bits of it cost there as well.
        assert_eq!(
            shown,
            [
                (Operand::Weight, 8, 64.0 + 32.0 + 32.0 + 8.0),
                (Operand::Weight, 2, 64.0 + 8.0 + 32.0 + 8.0),
                (Operand::Activation, 8, 64.0 + 32.0 + 32.0 + 16.0),
            ]
        );
        for change in layers.iter().flat_map(|layer| &layer.changes) {
            let is_wider = change.to > change.from;
            assert_eq!(change.predicted_kl_change.unwrap() < 0.0, is_wider, "{change:?}");
            assert_eq!(change.predicted_cost_change > 0.0, is_wider, "{change:?}");
        }
        assert_eq!((layers[3].reads_tensor_of, layers[3].activation_kl), (Some(1), None));
    }
}
