//! `haq simulate`: one profile and policy, or several side by side.

mod json;
mod roofline;
mod text;

use haq_simulator::{CostModel, HardwareProfile, LayerDetail, NetworkCost};

use crate::{
    cli::{
        args::{Global, SimulateArgs},
        exit::{Ending, UsageError},
        output,
        workload::Subject,
    },
    domain::BitwidthPolicy,
    report::Figure as _,
    runner::find_profile,
};

pub fn run(global: &Global, args: &SimulateArgs) -> anyhow::Result<Ending> {
    let profiles = args
        .hw
        .iter()
        .map(|name| Ok(find_profile(name)?.parse()?))
        .collect::<anyhow::Result<Vec<HardwareProfile>>>()?;
    let subject = Subject::load(&args.workload)?;
    let policies = policies(args, &subject)?;
    let mut cases = Vec::with_capacity(profiles.len() * policies.len());
    for profile in &profiles {
        let batch = args.batch.unwrap_or(profile.batch());
        let model = CostModel::new(profile, &subject.workload, batch)?;
        cases.extend(policies.iter().map(|policy| Case::new(&subject, profile, &model, policy)));
    }
    if let Some(path) = &args.roofline {
        let [case] = cases.as_slice() else {
            let problem = "--roofline draws one device and one policy; give one --hw and one of \
                           --bits and --policy";
            return Err(UsageError(problem.into()).into());
        };
        roofline::figure(case)?.write(path)?;
    }
    for case in &cases {
        note_modelled(global, case);
    }
    let side_by_side = args.compare || cases.len() > 1;
    match (global.json, cases.as_slice()) {
        (true, [case]) if !side_by_side => output::print_json(&json::one(case, args))?,
        (true, cases) => output::print_json(&json::compared(cases, args))?,
        (false, [case]) if !side_by_side => output::print(&text::one(case, args.explain))?,
        (false, cases) => output::print(&text::compared(cases, args.explain))?,
    }
    if let (Some(path), false) = (&args.roofline, global.json) {
        output::note(global, format!("drawn in {}", path.display()));
    }
    Ok(Ending::Done)
}

/// A policy with the words a person knows it by.
struct NamedPolicy {
    name: String,
    policy: BitwidthPolicy,
}

/// Every policy asked for: uniform ones, then files; else the bits the table itself gives.
fn policies(args: &SimulateArgs, subject: &Subject) -> anyhow::Result<Vec<NamedPolicy>> {
    let mut policies = Vec::new();
    for bits in &args.bits {
        let policy = subject.uniform_policy(*bits, args.pin.as_ref())?;
        policies.push(NamedPolicy { name: bits.to_string(), policy });
    }
    for path in &args.policy {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        policies.push(NamedPolicy { name, policy: subject.policy_of_file(path)? });
    }
    if policies.is_empty() {
        let policy = subject.own_policy()?;
        policies.push(NamedPolicy { name: "bits of the table".into(), policy });
    }
    Ok(policies)
}

/// One profile with one policy, and what that costs.
struct Case<'a> {
    subject: &'a Subject,
    profile: &'a HardwareProfile,
    policy: &'a NamedPolicy,
    cost: NetworkCost,
    details: Vec<LayerDetail>,
}

impl<'a> Case<'a> {
    fn new(
        subject: &'a Subject,
        profile: &'a HardwareProfile,
        model: &CostModel,
        policy: &'a NamedPolicy,
    ) -> Self {
        let bits = policy.policy.layers();
        let details = (0..model.n_layers()).map(|layer| model.explain(layer, bits)).collect();
        Self { subject, profile, policy, cost: model.network(bits), details }
    }

    /// Names of the layers that were modelled although the profile carries measurements.
    fn modelled_layers(&self) -> Vec<&str> {
        let layers = &self.subject.workload.layers;
        self.cost.modelled_layers.iter().map(|&layer| layers[layer].name.as_str()).collect()
    }

    fn is_measured(&self, layer: usize) -> bool {
        !self.profile.measured().is_empty() && !self.cost.modelled_layers.contains(&layer)
    }

    /// Multiply-accumulates a second of a layer, overheads included.
    fn macs_per_s(&self, layer: usize) -> f64 {
        self.cost.layers[layer].macs as f64 / self.cost.layers[layer].latency_s
    }
}

/// Says which layers the measurements of a profile do not cover.
fn note_modelled(global: &Global, case: &Case<'_>) {
    let names = case.modelled_layers();
    if names.is_empty() {
        return;
    }
    output::note(
        global,
        format!(
            "warning: {} has no measurement of {} of {} layers at {} and batch {}; modelled: {}",
            case.profile.name(),
            names.len(),
            case.cost.layers.len(),
            case.policy.name,
            case.cost.batch,
            names.join(", ")
        ),
    );
}
