//! `haq simulate`.

use std::path::Path;

use haq_simulator::{CostModel, LayerList, NetworkCost, Workload};
use serde_json::json;

use crate::{
    cli::{
        args::{Global, SimulateArgs},
        evaluate::pinned_uniform,
        exit::{Ending, UsageError},
        model::kind_word,
        output,
    },
    domain::{BitwidthPolicy, CostKind, LayerBits, show_cost},
    export::PolicyFile,
    quantization::QuantizationError,
    runner::{self, find_profile},
    search::{Model, with_shared_tensors, workload_of},
};

pub fn run(global: &Global, args: &SimulateArgs) -> anyhow::Result<Ending> {
    let profile = find_profile(&args.hw)?.parse()?;
    let subject = match &args.layers {
        Some(path) => Subject::of_table(path)?,
        None => Subject::of_model(args)?,
    };
    let policy = subject.policy(args)?;
    let batch = args.batch.unwrap_or(profile.batch());
    let model = CostModel::new(&profile, &subject.workload, batch)?;
    let cost = model.network(policy.layers());
    if global.json {
        print_json(profile.name(), batch, &subject.workload, &policy, &cost)?;
    } else {
        print_table(profile.name(), batch, &subject.workload, &policy, &cost)?;
    }
    Ok(Ending::Done)
}

/// What is simulated: the layers of a network or of a table.
struct Subject {
    workload: Workload,
    /// Bits that the table itself gives.
    own_bits: Vec<Option<LayerBits>>,
    model: Option<Model>,
}

impl Subject {
    fn of_table(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|e| anyhow::anyhow!("{shown}: {e}"))?;
        let list = LayerList::parse(&text, &shown.to_string())?;
        Ok(Self { workload: list.workload, own_bits: list.bits, model: None })
    }

    fn of_model(args: &SimulateArgs) -> anyhow::Result<Self> {
        let model = Model::load(args.model.as_deref())?;
        let preprocessing = runner::preprocessing(&model, &Default::default()).ok();
        let shape =
            runner::one_image_shape(&model, args.input_shape.as_deref(), preprocessing.as_ref())?;
        let shapes = model.graph.shapes(&shape).map_err(QuantizationError::from)?;
        let workload = workload_of(&model.graph, &model.layers, &shapes)?;
        Ok(Self { workload, own_bits: Vec::new(), model: Some(model) })
    }

    fn policy(&self, args: &SimulateArgs) -> anyhow::Result<BitwidthPolicy> {
        let names: Vec<&str> = self.workload.layers.iter().map(|l| l.name.as_str()).collect();
        if let Some(path) = &args.policy {
            return Ok(PolicyFile::load(path)?.policy_for(path, &names)?);
        }
        let own: Option<Vec<LayerBits>> = self.own_bits.iter().copied().collect();
        let own = own.filter(|own| own.len() == names.len() && !own.is_empty());
        let policy = match (args.bits, own) {
            (Some(bits), _) => pinned_uniform(&names, bits, args.pin.as_ref())?,
            (None, Some(own)) => BitwidthPolicy::new(own),
            (None, None) => {
                return Err(
                    UsageError("say how many bits: --bits W,A or --policy FILE".into()).into()
                );
            }
        };
        Ok(match &self.model {
            Some(model) => with_shared_tensors(&model.layers, policy),
            None => policy,
        })
    }
}

fn print_json(
    profile: &str,
    batch: u64,
    workload: &Workload,
    policy: &BitwidthPolicy,
    cost: &NetworkCost,
) -> anyhow::Result<()> {
    let layers: Vec<_> = workload
        .layers
        .iter()
        .zip(policy.layers())
        .zip(&cost.layers)
        .enumerate()
        .map(|(index, ((layer, bits), cost))| {
            json!({
                "index": index,
                "name": layer.name,
                "op": kind_word(layer.kind),
                "weight_bits": bits.weight,
                "activation_bits": bits.activation,
                "macs": cost.macs,
                "cycles": cost.cycles,
                "compute_cycles": cost.compute_cycles,
                "memory_cycles": cost.memory_cycles,
                "latency_s": cost.latency_s,
                "energy_j": cost.energy_j,
                "dram_bytes": cost.dram_bytes,
                "size_bytes": cost.size_bytes,
                "utilization": cost.utilization,
                "bound": cost.bound,
                "promoted_weight_bits": cost.promoted.weight,
                "promoted_activation_bits": cost.promoted.activation,
            })
        })
        .collect();
    output::print_json(&json!({
        "schema": output::SCHEMA,
        "profile": profile,
        "batch": batch,
        "totals": {
            "cycles": cost.cycles,
            "compute_cycles": cost.compute_cycles,
            "latency_s": cost.cost.latency_s,
            "energy_j": cost.cost.energy_j,
            "size_bytes": cost.cost.size_bytes,
            "peak_memory_bytes": cost.cost.peak_memory_bytes,
            "macs": cost.macs,
        },
        "layers": layers,
    }))
}

fn print_table(
    profile: &str,
    batch: u64,
    workload: &Workload,
    policy: &BitwidthPolicy,
    cost: &NetworkCost,
) -> anyhow::Result<()> {
    let header = [
        "#",
        "layer",
        "kind",
        "w/a",
        "runs at",
        "MACs",
        "cycles",
        "latency",
        "share",
        "energy",
        "utilization",
        "bound",
    ];
    let mut table = output::plain_table(&header, &[0, 5, 6, 7, 8, 9, 10]);
    let total: f64 = cost.layers.iter().map(|layer| layer.latency_s).sum();
    let rows = workload.layers.iter().zip(policy.layers()).zip(&cost.layers);
    for (index, ((layer, bits), cost)) in rows.enumerate() {
        let promoted =
            if cost.promoted == *bits { String::new() } else { cost.promoted.to_string() };
        table.add_row([
            index.to_string(),
            layer.name.clone(),
            kind_word(layer.kind).to_owned(),
            bits.to_string(),
            promoted,
            cost.macs.to_string(),
            cost.cycles.to_string(),
            show_cost(CostKind::Latency, cost.latency_s),
            format!("{:.1} %", 100.0 * cost.latency_s / total.max(f64::MIN_POSITIVE)),
            show_cost(CostKind::Energy, cost.energy_j),
            format!("{:.1} %", 100.0 * cost.utilization),
            cost.bound.to_string(),
        ]);
    }
    let totals =
        CostKind::ALL.map(|kind| format!("{kind} {}", show_cost(kind, cost.cost.get(kind))));
    output::print(&format!(
        "{}\n\n{profile}, batch {batch}: {}",
        table.trim_fmt(),
        totals.join(", ")
    ))
}
