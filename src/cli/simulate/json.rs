//! The JSON of a simulation.

use haq_simulator::Traffic;
use serde_json::{Map, Value, json};

use super::Case;
use crate::{
    cli::{args::SimulateArgs, output},
    domain::CostKind,
    search::kind_word,
};

/// One profile with one policy.
pub fn one(case: &Case<'_>, args: &SimulateArgs) -> Value {
    let cost = &case.cost;
    let mut object = json!({
        "schema": output::SCHEMA,
        "profile": case.profile.name(),
        "policy": case.policy.name,
        "batch": cost.batch,
        "totals": {
            "cycles": cost.cycles,
            "compute_cycles": cost.compute_cycles,
            "latency_s": cost.cost.latency_s,
            "energy_j": cost.cost.energy_j,
            "size_bytes": cost.cost.size_bytes,
            "peak_memory_bytes": cost.cost.peak_memory_bytes,
            "macs": cost.macs,
            "dram_bytes": cost.dram_bytes,
            "activation_peak_bytes": cost.activation_peak_bytes,
            "peak_step": cost.peak_step,
            "streamed_bytes": cost.streamed_bytes,
            "streaming_s": cost.streaming_s,
            "fixed_overhead_s": cost.fixed_overhead_s,
        },
        "modelled_layers": case.modelled_layers(),
        "layers": (0..cost.layers.len()).map(|index| layer(case, index)).collect::<Vec<_>>(),
    });
    if let Some(path) = &args.roofline {
        object["roofline"] = json!(path);
    }
    object
}

/// Several side by side, each with its ratios to the first; time and energy of one image.
pub fn compared(cases: &[Case<'_>], args: &SimulateArgs) -> Value {
    let objects: Vec<Value> = cases
        .iter()
        .map(|case| {
            let mut object = one(case, args);
            let ratio =
                |kind| (CostKind::word(kind).to_owned(), json!(ratio(case, &cases[0], kind)));
            object["ratio_to_first"] =
                Value::Object(CostKind::ALL.map(ratio).into_iter().collect());
            object
        })
        .collect();
    json!({"schema": output::SCHEMA, "compared": objects})
}

/// A cost against that of another case; latency and energy of one image, as batches may
/// differ. `None` where the other costs nothing.
pub fn ratio(case: &Case<'_>, first: &Case<'_>, kind: CostKind) -> Option<f64> {
    let of = |case: &Case<'_>| match kind {
        CostKind::Latency | CostKind::Energy => case.cost.cost.get(kind) / case.cost.batch as f64,
        CostKind::Size | CostKind::Memory => case.cost.cost.get(kind),
    };
    let ratio = of(case) / of(first);
    ratio.is_finite().then_some(ratio)
}

fn layer(case: &Case<'_>, index: usize) -> Value {
    let layer = &case.subject.workload.layers[index];
    let bits = case.policy.policy.layers()[index];
    let (cost, detail) = (&case.cost.layers[index], &case.details[index]);
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
        "source": if case.is_measured(index) { "measured" } else { "modelled" },
        "intensity_macs_per_byte": detail.roofline.intensity_macs_per_byte,
        "macs_per_s": case.macs_per_s(index),
        "attainable_macs_per_s": detail.roofline.attainable_macs_per_s,
        "peak_macs_per_s": detail.roofline.peak_macs_per_s,
        "traffic": traffic(&detail.traffic),
    })
}

/// What each level reads and writes for a layer, and of which operand; in bytes.
fn traffic(levels: &[(String, Traffic)]) -> Value {
    let bytes = |bits: f64| (bits / 8.0).ceil() as u64;
    let level = |(name, moved): &(String, Traffic)| {
        let object = json!({
            "read_bytes": bytes(moved.read_bits()),
            "write_bytes": bytes(moved.written_bits()),
            "weight_bytes": bytes(moved.weights_read + moved.weights_written),
            "input_bytes": bytes(moved.inputs_read + moved.inputs_written),
            "output_bytes": bytes(moved.outputs_read + moved.outputs_written),
        });
        (name.clone(), object)
    };
    Value::Object(levels.iter().map(level).collect::<Map<_, _>>())
}
