//! Files that other tools quantized: they compute what ONNX Runtime does, and give their bits.

mod network_common;

use haq::network::{Executable, Graph, OnnxForm, Op};
use network_common::{npz, reference};
use tch::{Device, Kind, Tensor};

/// Name, roundings that are left in the graph, and bits of each layer's weights and input.
type Case = (&'static str, usize, &'static [[Option<u8>; 2]]);

const EIGHT: [Option<u8>; 2] = [Some(8), Some(8)];
const CASES: [Case; 15] = [
    ("qdq_conv", 1, &[EIGHT]),
    ("qdq_weight_of_4_bits", 1, &[[Some(4), Some(8)]]),
    ("qdq_weight_of_2_bits", 1, &[[Some(2), Some(8)]]),
    ("qdq_weight_with_zero_points", 1, &[[Some(4), Some(8)]]),
    ("qdq_odd_width", 1, &[[Some(8), Some(3)]]),
    ("qdq_weight_quantized_in_the_file", 1, &[EIGHT]),
    ("qdq_two_readers", 1, &[EIGHT]),
    ("qdq_moved_between", 1, &[[Some(8), None]]),
    ("qdq_channels_of_the_input", 0, &[]),
    ("qdq_blocks", 0, &[[None, None]]),
    ("codes_conv_chain", 3, &[EIGHT, [Some(8), None]]),
    ("codes_matmul", 2, &[EIGHT]),
    ("codes_sum_pool_and_gemm", 4, &[EIGHT, [Some(8), None]]),
    ("dynamic_matmul", 0, &[[Some(8), None]]),
    ("integer_conv", 0, &[[Some(8), None]]),
];

fn differs(found: &Tensor, expected: &Tensor) -> Option<String> {
    if found.size() != expected.size() {
        return Some(format!("shape {:?}, expected {:?}", found.size(), expected.size()));
    }
    let off = (found - expected).abs().max().double_value(&[]);
    let largest = expected.abs().max().double_value(&[]);
    (off > 1e-5 * largest).then(|| format!("off by {off} of {largest}"))
}

#[test]
fn quantized_files_compute_what_onnx_runtime_does() {
    let arrays = npz(&reference("quantized.npz"));
    assert_eq!(arrays.len(), 3 * CASES.len(), "every case of the archive is looked at");
    let mut failures = Vec::new();
    for (name, n_roundings, bits) in CASES {
        let model = Vec::<u8>::try_from(&arrays[&format!("{name}:model")]).unwrap();
        let graph = match Graph::from_bytes(model, None) {
            Ok(graph) => graph,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        let x = &arrays[&format!("{name}:x0")];
        let expected = arrays[&format!("{name}:y0")].to_kind(Kind::Float);
        let run = |graph: &Graph| Executable::new(graph, Device::Cpu).and_then(|n| n.run(x));
        match run(&graph) {
            Ok(found) => {
                failures.extend(differs(&found, &expected).map(|d| format!("{name}: {d}")))
            }
            Err(error) => failures.push(format!("{name}: {error}")),
        }
        let rounds = graph.nodes().iter().filter(|node| node.op.rounds()).count();
        let layers = graph.quantizable_layers();
        let found: Vec<_> = layers.iter().map(|layer| graph.stored_bits(layer)).collect();
        if (rounds, found.as_slice()) != (n_roundings, bits) {
            failures.push(format!("{name}: {rounds} roundings, bits {found:?}"));
        }
        let codes = |node: &haq::network::Node| {
            matches!(node.op, Op::Quantize { .. } | Op::Dequantize { .. })
        };
        if graph.nodes().iter().any(codes) {
            continue;
        }
        let again = graph.to_onnx_file(OnnxForm::Qdq { two_bits: false }, &Default::default());
        let again = again.and_then(|file| Graph::from_bytes(file.to_bytes(), None));
        match again.and_then(|graph| Ok((run(&graph)?, graph))) {
            Ok((found, again)) => {
                let layers = again.quantizable_layers();
                let kept: Vec<_> = layers.iter().map(|layer| again.stored_bits(layer)).collect();
                if kept.as_slice() != bits {
                    failures.push(format!("{name}, written: bits {kept:?}"));
                }
                failures
                    .extend(differs(&found, &expected).map(|d| format!("{name}, written: {d}")));
            }
            Err(error) => failures.push(format!("{name}, written: {error}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
