//! The backend test data of the `onnx` Python package: every network runs and is right, or is
//! refused by the name of what is not supported.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the report is what the test is for")]

mod network_common;
mod python_common;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::Command,
};

use haq::network::{Executable, Graph, NetworkError};
use network_common::{npz, reference};
use python_common::python_with;
use tch::{Device, Kind, Tensor};

/// The package's release that the data is of.
const PACKAGE: &str = "onnx==1.23.2";

/// What is refused, and in how many cases: volumes, sequences of tensors, texts and gradients.
const REFUSED: [(&str, usize); 8] = [
    ("AveragePool: an input of 5 dimensions", 3),
    ("Conv: an input of 5 dimensions", 7),
    ("MaxPool: an input of 5 dimensions", 3),
    ("SequenceConstruct", 4),
    ("SequenceEmpty", 1),
    ("SplitToSequence", 3),
    ("ai.onnx.preview.training.Gradient", 2),
    ("data type string is not supported", 6),
];

enum Outcome {
    Passed,
    /// Refused, for what.
    Unsupported(String),
    Failed(String),
}

#[test]
fn every_case_is_right_or_refused_by_name() {
    let Some(folder) = unpacked() else { return };
    let mut outcomes: BTreeMap<String, Outcome> = BTreeMap::new();
    for path in cases(&folder) {
        let name = path.strip_prefix(&folder).unwrap().with_extension("").display().to_string();
        let outcome = catch_unwind(AssertUnwindSafe(|| outcome(&path)));
        let panicked = |_| Outcome::Failed("a panic".into());
        outcomes.insert(name, outcome.unwrap_or_else(panicked));
    }
    let (mut n_passed, mut refused, mut failed) = (0, BTreeMap::<&str, Vec<&str>>::new(), vec![]);
    for (name, outcome) in &outcomes {
        match outcome {
            Outcome::Passed => n_passed += 1,
            Outcome::Unsupported(what) => refused.entry(what).or_default().push(name),
            Outcome::Failed(reason) => failed.push(format!("{name}: {reason}")),
        }
    }
    println!("{n_passed} passed of {}", outcomes.len());
    for (what, names) in &refused {
        println!("unsupported {what}: {}", names.join(", "));
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    assert_eq!(outcomes.len(), 149, "cases in {PACKAGE}");
    let counts: Vec<(&str, usize)> = refused.iter().map(|(&w, names)| (w, names.len())).collect();
    assert_eq!(counts, REFUSED);
}

/// The folder of the cases. Says so and returns none where the package cannot be installed.
fn unpacked() -> Option<PathBuf> {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = base.join(format!("backend-{PACKAGE}"));
    if folder.join("done").exists() {
        return Some(folder);
    }
    let python = python_with("onnx-venv", &[PACKAGE, "numpy"])?;
    let run = |command: &mut Command| command.status().is_ok_and(|status| status.success());
    let script = reference("unpack_onnx_backend.py");
    assert!(run(Command::new(&python).arg(script).arg(&folder)), "the cases are unpacked");
    std::fs::write(folder.join("done"), "").expect("the folder can be written to");
    Some(folder)
}

fn cases(folder: &Path) -> Vec<PathBuf> {
    let entries = |path: &Path| {
        let entries = std::fs::read_dir(path).expect("the folder can be read");
        entries.map(|entry| entry.expect("an entry can be read").path()).collect::<Vec<_>>()
    };
    let kinds = entries(folder).into_iter().filter(|path| path.is_dir());
    kinds.flat_map(|kind| entries(&kind)).collect()
}

fn outcome(path: &Path) -> Outcome {
    let mut arrays = npz(path);
    let model = Vec::<u8>::try_from(&arrays["model"]).unwrap();
    let mut take = |prefix: &str| -> Vec<Tensor> {
        (0..).map_while(|index| arrays.remove(&format!("{prefix}{index}"))).collect()
    };
    let (inputs, expected) = (take("x"), take("y"));
    let graph = match Graph::from_bytes(model, None) {
        Ok(graph) => graph,
        Err(error) => return refused(&error),
    };
    let inputs: Vec<&Tensor> = inputs.iter().collect();
    let executable = match inputs.iter().any(|input| input.kind() == Kind::Double) {
        true => Executable::in_double(&graph),
        false => Executable::new(&graph, Device::Cpu),
    };
    let found = match executable.and_then(|network| network.run_all(&inputs)) {
        Ok(found) => found,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    if found.len() != expected.len() {
        return Outcome::Failed(format!("{} outputs of {}", found.len(), expected.len()));
    }
    let differs = found.iter().zip(&expected).find_map(|(found, expected)| {
        if found.size() != expected.size() {
            return Some(format!("shape {:?}, expected {:?}", found.size(), expected.size()));
        }
        let (found, expected) = (found.to_kind(Kind::Double), expected.to_kind(Kind::Double));
        let off = || (found.shallow_clone() - &expected).abs().max().double_value(&[]);
        (!found.allclose(&expected, 1e-3, 1e-6, true)).then(|| format!("off by {}", off()))
    });
    differs.map_or(Outcome::Passed, Outcome::Failed)
}

/// Refusals name an operation, or a form of it; anything else is a failure.
fn refused(error: &NetworkError) -> Outcome {
    match error {
        NetworkError::UnsupportedOp { op, .. } => Outcome::Unsupported(op.clone()),
        NetworkError::Unsupported { op, what, .. } => Outcome::Unsupported(format!("{op}: {what}")),
        NetworkError::Tensor { reason, .. } if reason.starts_with("data type") => {
            Outcome::Unsupported(reason.clone())
        }
        error => Outcome::Failed(error.to_string()),
    }
}
