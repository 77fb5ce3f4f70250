//! What an agent remembers, as the memory parts of a run hold it.

use haq_agent::{CheckpointError, Transition, checkpoint::decode_transitions};

/// All transitions, in order.
///
/// - `memory`: the parts as [`crate::search::ProposerState`] gave them; empty ones are skipped
///
/// # Errors
/// When a part is damaged.
pub fn transitions(memory: &[Vec<u8>]) -> Result<Vec<Transition>, CheckpointError> {
    let mut transitions = Vec::new();
    for part in memory.iter().filter(|part| !part.is_empty()) {
        transitions.extend(decode_transitions(part)?);
    }
    Ok(transitions)
}
