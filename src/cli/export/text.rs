//! An export as text.

use super::{Exported, Size};
use crate::{
    cli::verify,
    domain::{BitwidthPolicy, CostKind, show_cost},
    search::Model,
};

/// Layers named in one line of changes.
const NAMED_LAYERS: usize = 4;

pub fn of(exported: &Exported, model: &Model, policy: &BitwidthPolicy) -> String {
    let mut lines = Vec::new();
    let mut row = |name: &str, value: String| lines.push(format!("{name:<11}{value}"));
    let files = &exported.files;
    let shown = [
        ("network", &files.network),
        ("encodings", &files.encodings),
        ("policy", &files.policy),
        ("card", &files.card),
    ];
    for (name, path) in shown {
        if let Some(path) = path {
            row(name, path.display().to_string());
        }
    }
    let widths = |mut bits: Vec<u8>| {
        bits.sort_unstable();
        bits.dedup();
        bits.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    row(
        "bits",
        format!(
            "weights {}; activations {}; {} layers of {}",
            widths(policy.weight_bits().map(|bits| bits.get()).collect()),
            widths(policy.activation_bits().map(|bits| bits.get()).collect()),
            policy.len(),
            model.name
        ),
    );
    for (name, value) in sizes(&exported.size) {
        row(name, value);
    }
    for change in &exported.changes {
        let some: Vec<&str> = change.layers.iter().take(NAMED_LAYERS).map(String::as_str).collect();
        let more = match change.layers.len().saturating_sub(NAMED_LAYERS) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        row("changed", format!("{} ({}{more})", change.what, some.join(", ")));
    }
    let mut text = lines.join("\n");
    if let Some(verified) = &exported.verified {
        text += "\n\n";
        text += &verify::text(verified);
    }
    text
}

fn sizes(size: &Size) -> Vec<(&'static str, String)> {
    let bytes = |bytes: u64| show_cost(CostKind::Size, bytes as f64);
    let mut rows = Vec::new();
    if let (Some(codes), Some(scaling)) = (size.code_bytes, size.scaling_bytes) {
        let why = if codes == size.policy_bytes {
            "exactly the policy's bits".to_owned()
        } else {
            let least = bytes(size.policy_bytes);
            format!(
                "the policy's bits are {least}; a type of the file has 4 or 8 bits, or 2 where asked for"
            )
        };
        rows.push(("weights", format!("{} of codes: {why}", bytes(codes))));
        rows.push(("scales", bytes(scaling)));
    }
    if let Some(modelled) = size.modelled_bytes {
        rows.push(("modelled", format!("{} of weights on the run's device", bytes(modelled))));
    }
    rows.extend(size.file_bytes.map(|file| ("file", bytes(file))));
    rows
}
