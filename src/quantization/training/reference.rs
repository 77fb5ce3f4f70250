//! Stored float64 arrays that the tests of this module compare with.

use serde::Deserialize;
use tch::Tensor;

/// Made by tests/reference/make_training_reference.py.
const REFERENCE: &str = include_str!("../../../tests/reference/training.json");

#[derive(Deserialize)]
pub struct Reference {
    pub steps: Vec<StepCase>,
    pub pact: PactCase,
    pub signs: SignCase,
    pub ema: EmaCase,
    pub fold: FoldCase,
    pub descent: DescentCase,
    pub losses: LossCase,
}

#[derive(Deserialize)]
pub struct StepCase {
    pub name: String,
    pub shape: Vec<i64>,
    pub scale_shape: Vec<i64>,
    pub low: f64,
    pub high: f64,
    pub x: Vec<f64>,
    pub scale: Vec<f64>,
    pub upstream: Vec<f64>,
    pub value: Vec<f64>,
    pub by_x: Vec<f64>,
    pub by_scale: Vec<f64>,
}

#[derive(Deserialize)]
pub struct PactCase {
    pub x: Vec<f64>,
    pub upstream: Vec<f64>,
    pub clip: f64,
    pub levels: f64,
    pub value: Vec<f64>,
    pub by_x: Vec<f64>,
    pub by_clip: f64,
}

#[derive(Deserialize)]
pub struct SignCase {
    pub x: Vec<f64>,
    pub upstream: Vec<f64>,
    pub scale: f64,
    pub bound: f64,
    pub value: Vec<f64>,
    pub by_x: Vec<f64>,
    pub by_scale: f64,
}

#[derive(Deserialize)]
pub struct EmaCase {
    pub low: f64,
    pub high: f64,
    pub batches: Vec<Vec<f64>>,
    pub low_after: f64,
    pub high_after: f64,
    pub scale: f64,
    pub zero_point: i32,
}

#[derive(Deserialize)]
pub struct FoldCase {
    pub n: i64,
    pub x: Vec<f64>,
    pub weight: Vec<f64>,
    pub gain: Vec<f64>,
    pub offset: Vec<f64>,
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
    pub scale: Vec<f64>,
    pub upstream: Vec<f64>,
    pub epsilon: f64,
    pub folded: Vec<f64>,
    pub settled: Vec<f64>,
    pub settled_by_weight: Vec<f64>,
    pub settled_by_offset: Vec<f64>,
    pub kept: Vec<f64>,
    pub kept_by_weight: Vec<f64>,
    pub folded_mean_after: Vec<f64>,
    pub folded_variance_after: Vec<f64>,
    pub kept_mean_after: Vec<f64>,
    pub kept_variance_after: Vec<f64>,
}

#[derive(Deserialize)]
pub struct DescentCase {
    pub rate: f64,
    pub momentum: f64,
    pub decay: f64,
    pub start: Vec<f64>,
    pub gradients: Vec<Vec<f64>>,
    pub values: Vec<Vec<f64>>,
    pub rates: Vec<f64>,
}

#[derive(Deserialize)]
pub struct LossCase {
    pub outputs: Vec<f64>,
    pub float_outputs: Vec<f64>,
    pub labels: Vec<i64>,
    pub entropy: f64,
    pub divergence: f64,
    pub by_outputs: Vec<f64>,
}

pub fn reference() -> Reference {
    serde_json::from_str(REFERENCE).unwrap()
}

/// A leaf that gradients flow to.
pub fn leaf(values: &[f64], shape: &[i64]) -> Tensor {
    Tensor::from_slice(values).view(shape).set_requires_grad(true)
}

/// Every number as expected, but for the rounding of float64.
#[track_caller]
pub fn assert_close(found: &Tensor, expected: &[f64], what: &str) {
    let found: Vec<f64> = Vec::try_from(found.detach().contiguous().view(-1)).unwrap();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let close = (found - expected).abs() < 1e-9 * (1.0 + expected.abs());
        assert!(close, "{what}, number {index}: {found} {expected}");
    }
}
