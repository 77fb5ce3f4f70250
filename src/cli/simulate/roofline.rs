//! The roofline plot of a simulation.

use haq_simulator::Compute;

use super::Case;
use crate::domain::LayerKind;
use crate::report::{ReportError, Roof, RooflineFigure, RooflineLayer, RooflinePlot};

/// Peaks nearer to each other than this share are one roof.
const SAME_ROOF: f64 = 5e-3;

pub fn figure(case: &Case<'_>) -> Result<RooflineFigure, ReportError> {
    RooflineFigure::new(RooflinePlot {
        network: case.subject.name.clone(),
        profile: case.profile.name().to_owned(),
        policy: case.policy.name.clone(),
        batch: case.cost.batch,
        bandwidth_bytes_per_s: bandwidth_bytes_per_s(case),
        memory: case.profile.memory().last().map_or(String::new(), |level| level.name.clone()),
        roofs: roofs(case),
        layers: (0..case.details.len()).map(|index| layer(case, index)).collect(),
    })
}

fn layer(case: &Case<'_>, index: usize) -> RooflineLayer {
    let cost = &case.cost.layers[index];
    RooflineLayer {
        name: case.subject.workload.layers[index].name.clone(),
        intensity_macs_per_byte: case.details[index].roofline.intensity_macs_per_byte,
        macs_per_s: case.macs_per_s(index),
        latency_s: cost.latency_s,
        bound: cost.bound,
    }
}

/// Bytes a second that the furthest memory really reaches.
fn bandwidth_bytes_per_s(case: &Case<'_>) -> f64 {
    let reached = match case.profile.compute() {
        Compute::TensorCore(array) => array.mem_efficiency,
        _ => 1.0,
    };
    case.profile.bandwidth_bytes_per_s() * reached
}

/// The peaks of the array that these layers run under, highest first, each named by the
/// widths that are multiplied there.
fn roofs(case: &Case<'_>) -> Vec<Roof> {
    let mut roofs: Vec<(f64, Vec<String>)> = Vec::new();
    for (index, detail) in case.details.iter().enumerate() {
        let peak = detail.roofline.peak_macs_per_s;
        let widths = match case.subject.workload.layers[index].kind {
            LayerKind::Depthwise => format!("{} bits, depthwise", detail.cost.promoted),
            _ => format!("{} bits", detail.cost.promoted),
        };
        match roofs.iter_mut().find(|(known, _)| (known / peak - 1.0).abs() < SAME_ROOF) {
            None => roofs.push((peak, vec![widths])),
            Some((_, known)) if !known.contains(&widths) => known.push(widths),
            Some(_) => {}
        }
    }
    roofs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let named =
        |(macs_per_s, widths): (f64, Vec<String>)| Roof { name: widths.join("; "), macs_per_s };
    roofs.into_iter().map(named).collect()
}
