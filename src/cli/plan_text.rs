//! A plan in words and tables: `--dry-run`, and the opening lines of a search.

use serde_json::json;

use crate::{
    cli::{args::Global, exit::Ending, output},
    domain::{Bits, BitwidthPolicy, CostKind, show_cost},
    runner::Runner,
    search::{Plan, PolicyCost as _},
};

/// Prints plan, layer table, size of the space, and the cheapest and the dearest policy.
pub fn print(global: &Global, plan: &Plan) -> anyhow::Result<Ending> {
    if global.json {
        output::print_json(&plan_json(plan))?;
        return Ok(Ending::Done);
    }
    output::print(&format!("{}\n\n{}\n\n{}", headline(plan), layer_table(plan), extremes(plan)))?;
    Ok(Ending::Done)
}

/// What a search says before its first episode.
pub fn opening(runner: &Runner<'_>) -> String {
    let session = runner.session();
    let measure = runner.plan().request.measure;
    let float = measure.of(&session.float_quality()).unwrap_or(f64::NAN);
    format!(
        "{}\nrun {} · float {measure} {} on {} search images · calibrated on {} images",
        headline(runner.plan()),
        runner.id(),
        measure.show(float),
        session.n_search_images(),
        session.n_calibration_images(),
    )
}

fn headline(plan: &Plan) -> String {
    let request = &plan.request;
    let aim = if plan.budgets.is_empty() {
        format!("the whole range of {} (no budget given)", plan.objective)
    } else {
        plan.budgets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
    };
    let weights_alone = if request.method.rounds_activations() {
        ""
    } else {
        " · weights alone: activations stay in float, shown as 8 bits"
    };
    format!(
        "{} on {}: {}, {} episodes, seed {} · {aim} · 10^{:.1} policies{weights_alone}",
        plan.model.name,
        plan.device_name(),
        request.strategy,
        request.episodes,
        request.seed,
        plan.space.log10_size(),
    )
}

fn list(widths: &[Bits]) -> String {
    widths.iter().map(Bits::to_string).collect::<Vec<_>>().join(" ")
}

fn layer_table(plan: &Plan) -> String {
    let header = ["#", "layer", "kind", "MACs", "weights", "weight bits", "activation bits", ""];
    let mut table = output::plain_table(&header, &[0, 3, 4]);
    let rounds_activations = plan.request.method.rounds_activations();
    for (index, (layer, choices)) in
        plan.layer_descriptions().iter().zip(plan.space.layers()).enumerate()
    {
        let note = match (choices.pinned, choices.tensor_owner == index) {
            (true, _) => "pinned".to_owned(),
            (false, true) => String::new(),
            (false, false) => {
                format!("reads the tensor of {}", plan.space.layers()[choices.tensor_owner].name)
            }
        };
        table.add_row([
            index.to_string(),
            layer.name.clone(),
            layer.kind.clone(),
            layer.macs.to_string(),
            layer.weights.to_string(),
            list(&choices.weight),
            if rounds_activations { list(&choices.activation) } else { "float".into() },
            note,
        ]);
    }
    table.trim_fmt()
}

fn extremes(plan: &Plan) -> String {
    let line = |name: &str, policy: &BitwidthPolicy| {
        let cost = plan.cost.cost(policy);
        let parts: Vec<String> = CostKind::ALL
            .iter()
            .map(|&kind| {
                let ratio = cost.get(kind) / plan.eight_bit_cost.get(kind);
                format!("{kind} {} ({ratio:.3} of 8/8)", show_cost(kind, cost.get(kind)))
            })
            .collect();
        format!("{name}: {}\n  {}", parts.join(", "), policy.key())
    };
    format!("{}\n{}", line("cheapest", &plan.cheapest()), line("dearest", &plan.space.widest()))
}

fn plan_json(plan: &Plan) -> serde_json::Value {
    let layers: Vec<_> = plan
        .layer_descriptions()
        .iter()
        .zip(plan.space.layers())
        .map(|(layer, choices)| {
            json!({
                "name": layer.name,
                "op": layer.kind,
                "macs": layer.macs,
                "weights": layer.weights,
                "pinned": layer.pinned,
                "weight_bits": choices.weight,
                "activation_bits": choices.activation,
            })
        })
        .collect();
    let extreme =
        |policy: &BitwidthPolicy| json!({"policy": policy, "cost": plan.cost.cost(policy)});
    json!({
        "schema": output::SCHEMA,
        "model": plan.model.name,
        "profile": plan.device_name(),
        "strategy": plan.request.strategy,
        "episodes": plan.request.episodes,
        "seed": plan.request.seed,
        "objective": plan.objective,
        "budgets": plan.budgets,
        "policies_log10": plan.space.log10_size(),
        "eight_bit_cost": plan.eight_bit_cost,
        "cheapest": extreme(&plan.cheapest()),
        "dearest": extreme(&plan.space.widest()),
        "layers": layers,
    })
}
