//! Any bytes as a model: read, folded, its layers and bits listed; an error, never a panic.
//!
//! `cargo +nightly fuzz run onnx` in this folder's parent; small models of
//! `tests/reference/network_ops.npz` make a good first corpus.

#![no_main]

use haq::network::Graph;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(graph) = Graph::from_bytes(bytes.to_vec(), None) else { return };
    for layer in graph.quantizable_layers() {
        graph.stored_bits(&layer);
    }
    let graph = graph.without_roundings();
    if let Ok(folded) = graph.folded() {
        let _ = folded.to_onnx();
    }
});
