//! What a search may choose: the widths of every layer, which layers are pinned, which layers
//! share the tensor they read.

use serde::{Deserialize, Serialize};

use crate::{
    domain::{Bits, BitwidthPolicy, LayerBits, Operand},
    network::QuantizableLayer,
};

/// The widths one layer may have; one entry where there is nothing to choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerChoices {
    pub name: String,
    /// Ascending, at least one.
    pub weight: Vec<Bits>,
    /// Ascending, at least one. Equal for layers that share a tensor.
    pub activation: Vec<Bits>,
    /// Whether the user or the default fixed this layer.
    pub pinned: bool,
    /// The first layer that reads the same tensor; its own index when it is the first.
    pub tensor_owner: usize,
}

/// One thing to choose in an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decision {
    pub layer: usize,
    pub operand: Operand,
}

/// Every policy a search may try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchSpace {
    layers: Vec<LayerChoices>,
    decisions: Vec<Decision>,
}

impl SearchSpace {
    /// Layers that share a tensor get the activation widths that all of them allow; when one of
    /// them is pinned, its width holds for all.
    ///
    /// # Errors
    /// Names the layers whose choices contradict each other, or leave nothing.
    pub fn new(mut layers: Vec<LayerChoices>) -> Result<Self, String> {
        for index in 0..layers.len() {
            let owner = layers[index].tensor_owner;
            if owner != index {
                let common: Vec<Bits> = layers[owner]
                    .activation
                    .iter()
                    .copied()
                    .filter(|bits| layers[index].activation.contains(bits))
                    .collect();
                if common.is_empty() {
                    return Err(format!(
                        "layers {} and {} read one tensor but allow no common activation bits; \
                         pin both alike",
                        layers[owner].name, layers[index].name
                    ));
                }
                layers[owner].activation = common;
            }
        }
        for index in 0..layers.len() {
            let owner = layers[index].tensor_owner;
            layers[index].activation = layers[owner].activation.clone();
            if layers[index].weight.is_empty() || layers[index].activation.is_empty() {
                let name = &layers[index].name;
                return Err(format!("layer {name} has no bits to choose from"));
            }
        }
        let decisions = (0..layers.len()).flat_map(|layer| {
            let choices: &LayerChoices = &layers[layer];
            let weight = (choices.weight.len() > 1).then_some(Operand::Weight);
            let owns = choices.tensor_owner == layer && choices.activation.len() > 1;
            let activation = owns.then_some(Operand::Activation);
            [weight, activation]
                .into_iter()
                .flatten()
                .map(move |operand| Decision { layer, operand })
        });
        let decisions = decisions.collect();
        Ok(Self { layers, decisions })
    }

    pub fn layers(&self) -> &[LayerChoices] {
        &self.layers
    }

    /// What is decided in an episode, in the order of the layers, weights first.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// Whether any activation has a choice; without, an episode is about weights alone.
    pub fn decides_activations(&self) -> bool {
        self.decisions.iter().any(|decision| decision.operand == Operand::Activation)
    }

    /// The widths to choose from, ascending.
    pub fn widths(&self, decision: Decision) -> &[Bits] {
        let layer = &self.layers[decision.layer];
        match decision.operand {
            Operand::Weight => &layer.weight,
            Operand::Activation => &layer.activation,
        }
    }

    /// The chosen width of one decision.
    pub fn get(&self, policy: &BitwidthPolicy, decision: Decision) -> Bits {
        let bits = policy.layers()[decision.layer];
        match decision.operand {
            Operand::Weight => bits.weight,
            Operand::Activation => bits.activation,
        }
    }

    /// Sets one width, for all layers that share the tensor.
    pub fn set(&self, policy: &mut BitwidthPolicy, decision: Decision, bits: Bits) {
        match decision.operand {
            Operand::Weight => policy.layers_mut()[decision.layer].weight = bits,
            Operand::Activation => {
                let owner = self.layers[decision.layer].tensor_owner;
                for (layer, choices) in policy.layers_mut().iter_mut().zip(&self.layers) {
                    if choices.tensor_owner == owner {
                        layer.activation = bits;
                    }
                }
            }
        }
    }

    /// The layers that read the same tensor as `layer`, itself among them.
    pub fn readers(&self, layer: usize) -> impl Iterator<Item = usize> + '_ {
        let owner = self.layers[layer].tensor_owner;
        (0..self.layers.len()).filter(move |&other| self.layers[other].tensor_owner == owner)
    }

    /// The policy with the narrowest choice everywhere.
    pub fn narrowest(&self) -> BitwidthPolicy {
        self.each_layer(|widths| widths[0])
    }

    /// The policy with the widest choice everywhere.
    pub fn widest(&self) -> BitwidthPolicy {
        self.each_layer(|widths| widths[widths.len() - 1])
    }

    /// The allowed policy nearest to `bits` in every layer.
    pub fn nearest_uniform(&self, bits: LayerBits) -> BitwidthPolicy {
        self.nearest(&BitwidthPolicy::uniform(self.layers.len(), bits))
    }

    /// The allowed policy nearest to another: pins hold, a width that is not offered becomes the
    /// next wider one, or the widest.
    pub fn nearest(&self, policy: &BitwidthPolicy) -> BitwidthPolicy {
        let next = |widths: &[Bits], wanted: Bits| {
            widths.iter().copied().find(|b| *b >= wanted).unwrap_or(widths[widths.len() - 1])
        };
        let layers = self.layers.iter().zip(policy.layers());
        BitwidthPolicy::new(
            layers
                .map(|(layer, bits)| {
                    LayerBits::new(
                        next(&layer.weight, bits.weight),
                        next(&layer.activation, bits.activation),
                    )
                })
                .collect(),
        )
    }

    fn each_layer(&self, pick: impl Fn(&[Bits]) -> Bits) -> BitwidthPolicy {
        let layers = self.layers.iter();
        BitwidthPolicy::new(
            layers.map(|l| LayerBits::new(pick(&l.weight), pick(&l.activation))).collect(),
        )
    }

    /// Every pair of widths that some free layer offers, for uniform policies: widest first.
    pub fn uniform_pairs(&self) -> Vec<LayerBits> {
        let union = |of: fn(&LayerChoices) -> &Vec<Bits>| -> Vec<Bits> {
            let free = self.layers.iter().filter(|layer| !layer.pinned);
            let mut widths: Vec<Bits> = free.flat_map(|layer| of(layer).iter().copied()).collect();
            widths.sort_unstable();
            widths.dedup();
            widths.reverse();
            widths
        };
        let activations = union(|layer| &layer.activation);
        union(|layer| &layer.weight)
            .into_iter()
            .flat_map(|w| activations.iter().map(move |&a| LayerBits::new(w, a)))
            .collect()
    }

    /// The decimal logarithm of the number of policies.
    pub fn log10_size(&self) -> f64 {
        self.decisions.iter().map(|&d| (self.widths(d).len() as f64).log10()).sum()
    }
}

/// Gives layers that read one tensor one width for it: the widest that any of them was given,
/// so that a pin to more bits holds for all.
pub fn with_shared_tensors(
    layers: &[QuantizableLayer],
    mut policy: BitwidthPolicy,
) -> BitwidthPolicy {
    for (index, layer) in layers.iter().enumerate() {
        let readers = (0..layers.len()).filter(|&other| layers[other].input == layer.input);
        let widest = readers.map(|other| policy.layers()[other].activation).max();
        if let Some(widest) = widest {
            policy.layers_mut()[index].activation = widest;
        }
    }
    policy
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn widths(list: &[u8]) -> Vec<Bits> {
        list.iter().map(|&b| Bits::new(b).unwrap()).collect()
    }

    pub(crate) fn layer(index: usize, weight: &[u8], activation: &[u8]) -> LayerChoices {
        LayerChoices {
            name: format!("layer{index}"),
            weight: widths(weight),
            activation: widths(activation),
            pinned: weight.len() == 1 && activation.len() == 1,
            tensor_owner: index,
        }
    }

    #[test]
    fn a_shared_tensor_is_decided_once_for_all_its_readers() {
        let mut second = layer(1, &[2, 4], &[4, 8]);
        second.tensor_owner = 0;
        let space = SearchSpace::new(vec![layer(0, &[2, 4], &[2, 4, 8]), second]).unwrap();
        assert_eq!(space.decisions().len(), 3);
        let mut policy = space.widest();
        let shared = Decision { layer: 0, operand: Operand::Activation };
        assert_eq!(space.widths(shared), widths(&[4, 8]));
        space.set(&mut policy, shared, Bits::new(4).unwrap());
        assert_eq!(policy.key(), "4/4 4/4");
    }

    #[test]
    fn pins_that_contradict_each_other_are_named() {
        let mut second = layer(1, &[4], &[4]);
        second.tensor_owner = 0;
        let error = SearchSpace::new(vec![layer(0, &[8], &[8]), second]).unwrap_err();
        assert!(error.contains("layer0 and layer1"), "{error}");
    }

    #[test]
    fn uniform_policies_keep_pins_and_stay_inside_the_choices() {
        let space =
            SearchSpace::new(vec![layer(0, &[8], &[8]), layer(1, &[2, 4, 8], &[2, 3, 8])]).unwrap();
        let five = Bits::new(5).unwrap();
        assert_eq!(space.nearest_uniform(LayerBits::new(five, five)).key(), "8/8 8/8");
        let three = Bits::new(3).unwrap();
        assert_eq!(space.nearest_uniform(LayerBits::new(three, three)).key(), "8/8 4/3");
        assert_eq!(space.uniform_pairs().len(), 9);
    }
}
