//! Every operation against ONNX Runtime, on small models that hold one node or a few.

mod network_common;

use std::collections::BTreeSet;

use haq::network::{Executable, Graph};
use network_common::{npz, reference};
use tch::{Device, Kind, Tensor};

struct Case {
    name: String,
    model: Vec<u8>,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

fn cases() -> Vec<Case> {
    let mut arrays = npz(&reference("network_ops.npz"));
    let names: BTreeSet<String> =
        arrays.keys().filter_map(|key| Some(key.split_once(':')?.0.to_owned())).collect();
    let mut take = |name: &str, prefix: &str| -> Vec<Tensor> {
        (0..).map_while(|index| arrays.remove(&format!("{name}:{prefix}{index}"))).collect()
    };
    let mut cases: Vec<Case> = names
        .into_iter()
        .map(|name| Case {
            inputs: take(&name, "x"),
            outputs: take(&name, "y"),
            model: vec![],
            name,
        })
        .collect();
    for case in &mut cases {
        case.model = Vec::<u8>::try_from(&arrays[&format!("{}:model", case.name)]).unwrap();
    }
    cases
}

/// Cases whose output shape depends on the values of an input.
const VALUE_DEPENDENT: [&str; 1] = ["slice_computed"];

/// Says where two tensors differ by more than rounding.
fn difference(found: &Tensor, expected: &Tensor) -> Option<String> {
    if found.size() != expected.size() {
        return Some(format!("shape {:?}, expected {:?}", found.size(), expected.size()));
    }
    let (found, expected) = (found.to_kind(Kind::Double), expected.to_kind(Kind::Double));
    if found.allclose(&expected, 1e-4, 1e-5, true) {
        return None;
    }
    Some(format!("values differ by {}", (found - expected).abs().max().double_value(&[])))
}

fn check(case: &Case, graph: &Graph) -> Result<(), String> {
    let inputs: Vec<&Tensor> = case.inputs.iter().collect();
    let executable = Executable::new(graph, Device::Cpu).map_err(|error| error.to_string())?;
    let outputs = executable.run_all(&inputs).map_err(|error| error.to_string())?;
    if outputs.len() != case.outputs.len() || outputs.is_empty() {
        return Err(format!("{} outputs, expected {}", outputs.len(), case.outputs.len()));
    }
    let sizes = |tensor: &Tensor| tensor.size().iter().map(|&n| n as usize).collect::<Vec<_>>();
    let shapes: Vec<Vec<usize>> = case.inputs.iter().map(sizes).collect();
    let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
    let inferred = graph.shapes_of(&shapes);
    if VALUE_DEPENDENT.contains(&case.name.as_str()) {
        assert!(inferred.is_err(), "{}: its shape can not be known", case.name);
    }
    let inferred = inferred.ok();
    for (index, (found, expected)) in outputs.iter().zip(&case.outputs).enumerate() {
        if let Some(difference) = difference(found, expected) {
            return Err(format!("output {index}: {difference}"));
        }
        let inferred = inferred.as_ref().map(|shapes| shapes.get(graph.outputs()[index]));
        let known = !VALUE_DEPENDENT.contains(&case.name.as_str());
        if known && inferred != Some(&sizes(expected)) {
            return Err(format!("inferred shape {inferred:?}, expected {:?}", expected.size()));
        }
    }
    Ok(())
}

#[test]
fn every_operation_computes_what_onnx_runtime_does() {
    let mut failures = Vec::new();
    let cases = cases();
    assert!(cases.len() > 100, "the archive holds the cases");
    for case in &cases {
        let mut report = |form: &str, result: Result<(), String>| {
            failures.extend(result.err().map(|what| format!("{} {form}: {what}", case.name)));
        };
        match Graph::from_bytes(case.model.clone(), None) {
            Err(error) => report("as read", Err(error.to_string())),
            Ok(graph) => {
                report("as read", check(case, &graph));
                let folded = graph.folded().map_err(|error| error.to_string());
                report("folded", folded.and_then(|graph| check(case, &graph)));
                report("written and read again", written_and_read(&graph, case));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Both forms survive a file. `HAQ_WRITE_ONNX` names a folder that keeps the files, for
/// `check_written_models.py`.
fn written_and_read(graph: &Graph, case: &Case) -> Result<(), String> {
    let folded = graph.folded().map_err(|error| error.to_string())?;
    for (form, graph) in [("read", graph), ("folded", &folded)] {
        let bytes = graph.to_onnx().map_err(|error| error.to_string())?;
        if let Some(folder) = std::env::var_os("HAQ_WRITE_ONNX") {
            let file = format!("{}.{form}.onnx", case.name);
            std::fs::write(std::path::Path::new(&folder).join(file), &bytes).unwrap();
        }
        let again = Graph::from_bytes(bytes, None).map_err(|error| error.to_string())?;
        check(case, &again).map_err(|what| format!("{form}: {what}"))?;
        let names = |graph: &Graph| -> Vec<String> {
            graph.nodes().iter().map(|node| graph.tensor_name(node.output).to_owned()).collect()
        };
        let kept = names(graph).iter().all(|name| again.tensor_named(name).is_some());
        if !kept {
            return Err(format!("{form}: names {:?} became {:?}", names(graph), names(&again)));
        }
    }
    Ok(())
}

#[test]
fn folding_removes_what_a_layer_can_do_itself() {
    for (name, expected) in [
        ("chain_batch_through_shape", "Reshape"),
        ("chain_scale_and_shift_fold_into_conv", "Conv Relu"),
        ("chain_linear_with_bias", "MatMul"),
        ("chain_conv_read_twice_keeps_its_norm", "Conv BatchNormalization Add"),
        ("chain_gemm_then_norm", "Gemm"),
        ("chain_padding_read_by_conv_and_pool", "Conv AveragePool Add"),
        ("chain_computed_pads", "Pad"),
    ] {
        let case = cases().into_iter().find(|case| case.name == name).expect(name);
        let graph = Graph::from_bytes(case.model.clone(), None).unwrap().folded().unwrap();
        let ops: Vec<&str> = graph.nodes().iter().map(|node| node.op.name()).collect();
        assert_eq!(ops.join(" "), expected, "{name}");
    }
}
