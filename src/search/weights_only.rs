//! Methods that leave activations in float, such as codebooks: HAQ's size mode.
//!
//! There a policy's activation bits mean nothing, so none are offered; and fewer weight bits buy
//! size alone, for the products are float, so no other cost may be promised.

use haq_simulator::{CostError, CostModel, HardwareProfile, Workload};

use crate::{
    domain::CostKind,
    quantization::Method,
    search::{error::SearchError, request::SearchRequest},
};

/// What a policy costs on a device when the method stores the weights.
///
/// # Errors
/// As [`CostModel::new`].
pub fn cost_model(
    method: &Method,
    profile: &HardwareProfile,
    workload: &Workload,
    batch: u64,
) -> Result<CostModel, CostError> {
    let model = CostModel::new(profile, workload, batch)?;
    Ok(if method.has_codebooks() { model.with_codebooks() } else { model })
}

/// # Errors
/// [`SearchError::Request`] when something is asked that float activations cannot give.
pub fn check(request: &SearchRequest) -> Result<(), SearchError> {
    let method = request.method;
    if method.rounds_activations() {
        return Ok(());
    }
    if request.activation_bits.is_some() {
        return Err(SearchError::Request(format!(
            "method {method} leaves activations in float, so there are no activation bits to \
             choose; leave out --activation-bits"
        )));
    }
    match request.budgets.iter().find(|budget| budget.kind != CostKind::Size) {
        Some(budget) => Err(SearchError::Request(format!(
            "method {method} leaves activations in float, so bits change the size alone and \
             {budget} cannot be promised; give a budget on size, such as --budget size=0.5"
        ))),
        None => Ok(()),
    }
}
