//! A written file in ONNX Runtime beside the network as it is evaluated here.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    data::Images,
    domain::Quality,
    network::{Array, ArrayData, Graph},
    quantization::{EvaluationSettings, Evaluator, QuantizationError},
    runner::RunnerError,
};

const SCRIPT: &str = include_str!("verify_onnx.py");
/// What the script ends with where a package is missing.
const MISSING: i32 = 3;

/// How a file does in ONNX Runtime.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verified {
    /// Of ONNX Runtime.
    pub version: String,
    pub images: usize,
    /// Of the network here.
    pub quality: Quality,
    /// Without the runtime's optimisations.
    pub plain: Difference,
    /// With all of them; none where the runtime's optimiser refuses the file.
    pub optimised: Option<Difference>,
    /// Why it does.
    pub refused: Option<String>,
    /// Seconds that the network took here.
    pub wall_s: f64,
}

/// How far outputs lie from those of the network here.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Images whose largest output is the same.
    pub same_class: usize,
    /// Share of images whose largest output is the same.
    pub agreement: f64,
    /// Over all outputs, in units of their largest magnitude.
    pub largest_difference: f64,
    /// Root of the mean square, in the same units.
    pub typical_difference: f64,
    /// How far the two classes lie apart here, in the same units, in the image where that is
    /// most; 0 where all agree.
    pub widest_tie: f64,
    pub wall_s: f64,
}

#[derive(Deserialize)]
struct Report {
    version: String,
    ways: BTreeMap<String, Way>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Way {
    Ran { file: PathBuf, wall_s: f64 },
    Refused { error: String },
}

/// Runs a file in ONNX Runtime and `graph` here, on the same images.
///
/// - `graph`: what the file holds, its inputs joined to one where there are several
/// - `python`: the program that has ONNX Runtime
///
/// # Errors
/// [`RunnerError::Verify`] where Python or ONNX Runtime is missing, or refuses the file.
pub fn verify(
    file: &Path,
    graph: &Graph,
    images: &Images,
    settings: EvaluationSettings,
    python: &Path,
) -> Result<Verified, RunnerError> {
    let tensor = images.to_tensor();
    let evaluator = Evaluator::new(graph, &tensor, images.labels(), settings)?;
    let (quality, wall_s) = (evaluator.float().quality, evaluator.float().wall_s);
    let own = evaluator.outputs()?;
    let rows = Array::from_tensor(&tensor).map_err(QuantizationError::from)?;
    let inputs = graph.split_inputs(&rows).map_err(QuantizationError::from)?;
    let folder = tempfile::tempdir().map_err(|source| verify_error(source.to_string()))?;
    write_inputs(folder.path(), &inputs).map_err(|source| verify_error(source.to_string()))?;
    let report = run_script(file, folder.path(), python)?;
    let difference = |name: &str| -> Result<Result<Difference, String>, RunnerError> {
        let way = report.ways.get(name).ok_or_else(|| verify_error("it gave no outputs".into()))?;
        let (file, wall_s) = match way {
            Way::Ran { file, wall_s } => (file, *wall_s),
            Way::Refused { error } => return Ok(Err(error.clone())),
        };
        let bytes = std::fs::read(file).map_err(|source| verify_error(source.to_string()))?;
        let (numbers, _) = bytes.as_chunks();
        let theirs: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        difference(&own, &theirs, wall_s).map(Ok)
    };
    let refuses = |error| verify_error(format!("ONNX Runtime refuses {}: {error}", file.display()));
    let plain = difference("plain")?.map_err(refuses)?;
    let (optimised, refused) = match difference("optimised")? {
        Ok(difference) => (Some(difference), None),
        Err(error) => (None, Some(error)),
    };
    Ok(Verified {
        images: images.len(),
        quality,
        plain,
        optimised,
        refused,
        version: report.version,
        wall_s,
    })
}

/// - `own`: `[n, outputs]`
fn difference(own: &Array, theirs: &[f32], wall_s: f64) -> Result<Difference, RunnerError> {
    let numbers = own.as_f32().unwrap_or_default();
    if theirs.len() != numbers.len() {
        let (found, expected) = (theirs.len(), numbers.len());
        return Err(verify_error(format!("it gave {found} numbers; here there are {expected}")));
    }
    let n = own.shape().first().copied().unwrap_or(0);
    let width = (numbers.len() / n.max(1)).max(1);
    let largest = numbers.iter().fold(0f32, |most, x| most.max(x.abs()));
    let (mut same_class, mut widest_tie) = (0, 0f32);
    for (ours, theirs) in numbers.chunks(width).zip(theirs.chunks(width)) {
        let (class, other) = (first_largest(ours), first_largest(theirs));
        same_class += usize::from(class == other);
        widest_tie = widest_tie.max(ours[class] - ours[other]);
    }
    let unit = f64::from(largest).max(f64::MIN_POSITIVE);
    let apart = numbers.iter().zip(theirs).map(|(a, b)| f64::from((a - b).abs()));
    let squares: f64 = apart.clone().map(|x| x * x).sum();
    // A number that is none counts as far away.
    let far = apart.fold(0f64, |most, x| if x.is_nan() { f64::INFINITY } else { most.max(x) });
    Ok(Difference {
        same_class,
        agreement: same_class as f64 / n.max(1) as f64,
        largest_difference: far / unit,
        typical_difference: (squares / numbers.len().max(1) as f64).sqrt() / unit,
        widest_tie: f64::from(widest_tie) / unit,
        wall_s,
    })
}

fn first_largest(row: &[f32]) -> usize {
    let better = |best: usize, at: usize| if row[at] > row[best] { at } else { best };
    (0..row.len()).fold(0, better)
}

fn write_inputs(folder: &Path, inputs: &[(String, Array)]) -> std::io::Result<()> {
    let mut list = Vec::new();
    for (index, (name, array)) in inputs.iter().enumerate() {
        let (kind, bytes): (_, Vec<u8>) = match array.data() {
            ArrayData::F32(data) => ("<f4", data.iter().flat_map(|x| x.to_le_bytes()).collect()),
            ArrayData::I64(data) => ("<i8", data.iter().flat_map(|x| x.to_le_bytes()).collect()),
            ArrayData::Bool(data) => ("?", data.iter().map(|&x| x.into()).collect()),
        };
        let file = format!("input{index}.bin");
        std::fs::write(folder.join(&file), bytes)?;
        list.push(json!({"name": name, "type": kind, "shape": array.shape(), "file": file}));
    }
    std::fs::write(folder.join("inputs.json"), json!(list).to_string())?;
    std::fs::write(folder.join("verify_onnx.py"), SCRIPT)
}

fn run_script(file: &Path, folder: &Path, python: &Path) -> Result<Report, RunnerError> {
    let script = folder.join("verify_onnx.py");
    let output = Command::new(python).arg(script).arg(file).arg(folder).output();
    let python = python.display();
    let output = output.map_err(|error| {
        verify_error(format!("{python} cannot be run ({error}); name one: --python PROGRAM"))
    })?;
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.code() {
        Some(0) => serde_json::from_slice(&output.stdout)
            .map_err(|error| verify_error(format!("its report cannot be read: {error}"))),
        Some(MISSING) => Err(verify_error(format!(
            "{python} has no ONNX Runtime ({}); pip install onnxruntime, or name another: --python PROGRAM",
            said(&output)
        ))),
        _ => {
            let text = said(&output);
            let last = text.lines().last().unwrap_or("it said nothing").to_owned();
            Err(verify_error(format!("ONNX Runtime refuses {}: {last}", file.display())))
        }
    }
}

fn verify_error(reason: String) -> RunnerError {
    RunnerError::Verify { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_count_classes_and_share_the_range() {
        let own = Array::f32(vec![2, 2], [1.0, -4.0, 0.0, 2.0]);
        let found = difference(&own, &[1.0, -4.0, 3.0, 2.0], 0.5).unwrap();
        let expected = Difference {
            same_class: 1,
            agreement: 0.5,
            largest_difference: 0.75,
            typical_difference: 0.375,
            widest_tie: 0.5,
            wall_s: 0.5,
        };
        assert_eq!(found, expected);
        let found = difference(&own, &[f32::NAN, -4.0, 0.0, 2.0], 0.5).unwrap();
        assert_eq!(found.largest_difference, f64::INFINITY);
        assert!(difference(&own, &[1.0], 0.5).is_err());
    }
}
