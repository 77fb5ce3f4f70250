//! What a request means for one network and device: the space, the budgets, the objective.
//! No image has been looked at yet.

use haq_simulator::{Choices, HardwareProfile, Workload};

use crate::{
    domain::{
        Bits, BitwidthPolicy, Budget, BudgetRequest, Cost, CostKind, LayerBits, LayerDescription,
        Limit, Strategy, show_cost,
    },
    search::{
        error::SearchError,
        evaluator::PolicyCost,
        joint_cost::JointCost,
        model::Model,
        projection::cheapest,
        request::SearchRequest,
        space::{LayerChoices, SearchSpace},
        weights_only,
        workload::workload_of,
    },
};

/// A search that could start.
#[derive(Debug)]
pub struct Plan {
    pub request: SearchRequest,
    pub model: Model,
    /// One image as the network reads it: `[1, ...]`.
    pub input_shape: Vec<usize>,
    /// Of the devices the policy has to be good on, at least one.
    pub profiles: Vec<HardwareProfile>,
    pub workload: Workload,
    pub cost: JointCost,
    /// Images the first device takes at once.
    pub batch: u64,
    pub space: SearchSpace,
    /// Limits in seconds, joules and bytes; empty when the search covers a range.
    pub budgets: Vec<Budget>,
    /// The cost the front is drawn against: the first budget's, or the one that bits change
    /// most on this device.
    pub objective: CostKind,
    /// Of the 8/8 policy, which ratios refer to.
    pub eight_bit_cost: Cost,
}

impl Plan {
    /// - `input_shape`: one image as the network reads it, `[1, ...]`
    ///
    /// # Errors
    /// When options do not go together, a pin names no layer, nothing is left to choose, or a
    /// budget cannot be reached.
    pub fn new(
        request: SearchRequest,
        model: Model,
        input_shape: Vec<usize>,
    ) -> Result<Self, SearchError> {
        check_budget(&request)?;
        weights_only::check(&request)?;
        let cost_error = |error: &dyn std::error::Error| SearchError::Cost(error.to_string());
        let profiles = request.profiles().map_err(|error| cost_error(&error))?;
        let shapes = model
            .graph
            .shapes(&input_shape)
            .map_err(crate::quantization::QuantizationError::from)?;
        let workload = workload_of(&model.graph, &model.layers, &shapes)?;
        let batch = request.batch.unwrap_or(profiles[0].batch());
        let cost = JointCost::new(&request.method, &profiles, &workload, request.batch)
            .map_err(|error| cost_error(&error))?;
        let space = search_space(&request, &model, &profiles)?;
        let eight_bit_cost =
            cost.cost(&BitwidthPolicy::uniform(model.layers.len(), LayerBits::EIGHT));
        let budgets: Vec<Budget> =
            request.budgets.iter().map(|budget| budget.resolve(&eight_bit_cost)).collect();
        let objective = match budgets.first() {
            Some(budget) => budget.kind,
            None if !request.method.rounds_activations() => CostKind::Size,
            None => profiles[0].default_objective(),
        };
        let plan = Self {
            request,
            model,
            input_shape,
            profiles,
            workload,
            cost,
            batch,
            space,
            budgets,
            objective,
            eight_bit_cost,
        };
        plan.check_choice()?;
        plan.check_reachable()?;
        Ok(plan)
    }

    /// The devices' names: `edge-tpu`, or of several `bismo-edge + bitfusion`.
    pub fn device_name(&self) -> String {
        let names: Vec<&str> = self.profiles.iter().map(HardwareProfile::name).collect();
        names.join(" + ")
    }

    /// Uniform policies with pins in place, widest first: what every run is compared with.
    pub fn references(&self) -> Vec<BitwidthPolicy> {
        let mut policies: Vec<BitwidthPolicy> = Vec::new();
        for bits in (1..=8).rev().filter_map(Bits::new) {
            let offered = self.space.layers().iter().filter(|layer| !layer.pinned);
            if offered.clone().any(|l| l.weight.contains(&bits) || l.activation.contains(&bits)) {
                let policy = self.space.nearest_uniform(LayerBits::new(bits, bits));
                if !policies.contains(&policy) {
                    policies.push(policy);
                }
            }
        }
        policies
    }

    /// Every uniform policy, weights and activations apart, that meets the budgets.
    pub fn uniform_policies(&self) -> Vec<BitwidthPolicy> {
        let mut policies: Vec<BitwidthPolicy> = Vec::new();
        for pair in self.space.uniform_pairs() {
            let policy = self.space.nearest_uniform(pair);
            let meets = Budget::all_met(&self.budgets, &self.cost.cost(&policy));
            if meets && !policies.contains(&policy) {
                policies.push(policy);
            }
        }
        policies
    }

    /// The cheapest policy allowed, in the budgeted costs or the objective.
    pub fn cheapest(&self) -> BitwidthPolicy {
        let own = [Budget { kind: self.objective, limit: 1.0 }];
        let budgets = if self.budgets.is_empty() { &own[..] } else { &self.budgets };
        cheapest(&self.space, budgets, &|policy| self.cost.cost(policy))
    }

    pub fn layer_descriptions(&self) -> Vec<LayerDescription> {
        let layers = self.workload.layers.iter().zip(self.space.layers());
        layers
            .map(|(layer, choices)| LayerDescription {
                name: layer.name.clone(),
                kind: kind_word(layer.kind).to_owned(),
                macs: layer.macs(),
                weights: layer.weights(),
                pinned: choices.pinned,
            })
            .collect()
    }

    fn check_choice(&self) -> Result<(), SearchError> {
        if self.space.decisions().is_empty() {
            return Err(SearchError::NothingToChoose(
                "every layer is pinned or has one width only; widen --weight-bits, \
                 --activation-bits or --pin"
                    .into(),
            ));
        }
        Ok(())
    }

    fn check_reachable(&self) -> Result<(), SearchError> {
        let cost_of = |policy: &BitwidthPolicy| self.cost.cost(policy);
        for &budget in &self.budgets {
            let smallest = cost_of(&cheapest(&self.space, &[budget], &cost_of)).get(budget.kind);
            if smallest > budget.limit {
                return Err(self.not_reachable(budget, smallest));
            }
        }
        let together = cost_of(&self.cheapest());
        match self.budgets.iter().find(|budget| !budget.is_met_by(&together)) {
            Some(&budget) => Err(SearchError::BudgetNotReachable {
                budget,
                profile: self.device_name(),
                smallest: show_cost(budget.kind, together.get(budget.kind)),
                hint: " while the other budgets hold".into(),
            }),
            None => Ok(()),
        }
    }

    fn not_reachable(&self, budget: Budget, smallest: f64) -> SearchError {
        let ratio = smallest / self.eight_bit_cost.get(budget.kind);
        let depends_on_bits = self.profiles.iter().any(HardwareProfile::latency_depends_on_bits);
        let hint = if budget.kind == CostKind::Latency && !depends_on_bits {
            format!(
                " ({ratio:.3} of 8/8): fewer bits buy no cycles there; give size or energy a budget"
            )
        } else {
            format!(" ({ratio:.3} of 8/8)")
        };
        SearchError::BudgetNotReachable {
            budget,
            profile: self.device_name(),
            smallest: show_cost(budget.kind, smallest),
            hint,
        }
    }
}

/// The word for a kind of layer in tables and JSON.
pub fn kind_word(kind: crate::domain::LayerKind) -> &'static str {
    use crate::domain::LayerKind;
    match kind {
        LayerKind::Conv => "conv",
        LayerKind::Depthwise => "depthwise",
        LayerKind::Linear => "linear",
    }
}

/// HAQ repairs every policy to one budget: over a range there is nothing to repair to.
fn check_budget(request: &SearchRequest) -> Result<(), SearchError> {
    if request.strategy == Strategy::Haq && request.budgets.is_empty() {
        return Err(SearchError::Request(
            "strategy haq searches under a budget, as the paper does; give one, such as --budget \
             latency=0.6, or cover the whole range with --strategy ddpg"
                .into(),
        ));
    }
    let absolute = |budget: &&BudgetRequest| matches!(budget.limit, Limit::Absolute(_));
    match request.budgets.iter().find(absolute).filter(|_| !request.more_profiles.is_empty()) {
        Some(budget) => Err(SearchError::Request(format!(
            "budget {budget} is another limit on each device, and one policy is asked for all of \
             them; give a ratio to 8/8, such as --budget {}=0.6",
            budget.kind
        ))),
        None => Ok(()),
    }
}

/// Widths that every device has.
fn common_choices(profiles: &[HardwareProfile]) -> Result<Choices, SearchError> {
    let (first, others) = profiles.split_first().expect("there is a device");
    let mut common = first.choices();
    for choices in others.iter().map(HardwareProfile::choices) {
        common.weight_bits.retain(|bits| choices.weight_bits.contains(bits));
        common.activation_bits.retain(|bits| choices.activation_bits.contains(bits));
    }
    if common.weight_bits.is_empty() || common.activation_bits.is_empty() {
        let names: Vec<&str> = profiles.iter().map(HardwareProfile::name).collect();
        return Err(SearchError::Request(format!(
            "{} have no widths in common, so no policy runs on all of them; search each alone",
            names.join(" and ")
        )));
    }
    Ok(common)
}

fn search_space(
    request: &SearchRequest,
    model: &Model,
    profiles: &[HardwareProfile],
) -> Result<SearchSpace, SearchError> {
    let pins = request.pins.resolve(&model.layer_names()).map_err(SearchError::Space)?;
    let offered = common_choices(profiles)?;
    let weight = match &request.weight_bits {
        Some(list) => list.iter().collect(),
        None => offered.weight_bits,
    };
    let rounds_activations = request.method.rounds_activations();
    let activation = match &request.activation_bits {
        _ if !rounds_activations => vec![Bits::EIGHT],
        Some(list) => list.iter().collect(),
        None => offered.activation_bits,
    };
    let owner = |index: usize| {
        let input = model.layers[index].input;
        model
            .layers
            .iter()
            .position(|layer| layer.input == input)
            .expect("the layer itself reads it")
    };
    let layers =
        model.layers.iter().zip(pins).enumerate().map(|(index, (layer, pin))| LayerChoices {
            name: layer.name.clone(),
            weight: pin.map_or_else(|| weight.clone(), |bits| vec![bits.weight]),
            activation: pin
                .filter(|_| rounds_activations)
                .map_or_else(|| activation.clone(), |bits| vec![bits.activation]),
            pinned: pin.is_some(),
            tensor_owner: owner(index),
        });
    SearchSpace::new(layers.collect()).map_err(SearchError::Space)
}
