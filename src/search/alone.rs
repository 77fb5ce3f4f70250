//! What rounding single tensors does: which roundings there are, on how many images they are
//! measured, and what is known of them.

use std::{cell::RefCell, collections::HashMap};

use crate::{
    data::{Images, Splits},
    domain::Bits,
    quantization::{Evaluator, MeasuredAlone, SingleRounding},
    search::{plan::Plan, space::Decision},
};

/// Search images that sensitivities are measured on at most, and at least where there are so
/// many: divergence is smooth, so that some hundreds tell as much as all.
const SENSITIVITY_IMAGES: std::ops::RangeInclusive<usize> = 32..=512;

/// What measuring sensitivities may cost, as a share of what the episodes do.
const SENSITIVITY_SHARE: f64 = 0.6;

/// What rounding single tensors did, and the images it is measured on.
pub struct Alone {
    /// From the front of the search images.
    pub n_images: usize,
    /// Over those and the calibration images.
    pub data_digest: String,
    pub known: RefCell<HashMap<(Decision, Bits), MeasuredAlone>>,
}

impl Alone {
    pub fn new(plan: &Plan, search: &Evaluator, splits: &Splits) -> Self {
        let wanted = sensitivity_images(plan, single_roundings(plan).len(), search.n_images());
        let n_images = search.first_images(wanted).n_images();
        let images = splits.search.prefix_digest(n_images);
        let calibration = splits.calibration.digest();
        let data_digest = judged_digest(images, calibration, search.has_blends());
        Self { n_images, data_digest, known: RefCell::default() }
    }
}

/// SHA-256, hexadecimal, over what quality is measured on.
///
/// - `images`, `calibration`: digests of the judged images and of those calibrated on
/// - `blends`: whether divergence is measured on blends as well
pub fn judged_digest(images: String, calibration: String, blends: bool) -> String {
    let mut digests = vec![images, calibration];
    digests.extend(blends.then(|| "blends".to_owned()));
    Images::joined_digest(&digests)
}

/// Every width of every decision.
pub fn single_roundings(plan: &Plan) -> Vec<SingleRounding> {
    let space = &plan.space;
    let at = |&decision: &Decision| {
        let Decision { layer: layer_index, operand } = decision;
        let of_width = move |&bits: &Bits| SingleRounding { layer_index, operand, bits };
        space.widths(decision).iter().map(of_width)
    };
    space.decisions().iter().flat_map(at).collect()
}

pub fn place(one: &SingleRounding) -> (Decision, Bits) {
    (Decision { layer: one.layer_index, operand: one.operand }, one.bits)
}

/// Images for so many single roundings; with the prefix kept, one costs half a pass.
fn sensitivity_images(plan: &Plan, n_roundings: usize, n_search_images: usize) -> usize {
    let passes = SENSITIVITY_SHARE * f64::from(plan.request.episodes);
    let images = passes * n_search_images as f64 / (0.5 * n_roundings.max(1) as f64);
    (images as usize).clamp(*SENSITIVITY_IMAGES.start(), *SENSITIVITY_IMAGES.end())
}
