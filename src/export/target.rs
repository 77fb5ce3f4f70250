//! What runtimes and compilers can run of a quantized network.

use std::{fmt, str::FromStr};

use super::deployment::{bits_of, input_grid};
use crate::network::{Coding, Graph, Grid, Node, OnnxForm, Op, QuantizableLayer, TensorId};

/// Where a network is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Tensorrt,
    Onnxruntime,
    Finn,
}

/// What was changed for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The layers that it is about.
    pub layers: Vec<String>,
    pub what: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{target} cannot run this network:\n  {}", problems.join("\n  "))]
    Target { target: Target, problems: Vec<String> },
    #[error("--target {target} takes --format {formats}, not {found}")]
    Format { target: Target, formats: &'static str, found: String },
    #[error("layer {layer}: {what} cannot be written as {format}; {remedy}")]
    Layer { layer: String, what: String, format: &'static str, remedy: &'static str },
    #[error(transparent)]
    Network(#[from] crate::network::NetworkError),
}

/// Refuses a network whose layers are not all in codes: one with a codebook.
pub(super) fn check_coded(graph: &Graph, format: &'static str) -> Result<(), ExportError> {
    let layers = graph.quantizable_layers();
    match layers.iter().find(|layer| graph.coding(layer.weight).is_none()) {
        None => Ok(()),
        Some(layer) => Err(ExportError::Layer {
            layer: layer.name.clone(),
            what: "weights that are no multiples of a scale".into(),
            format,
            remedy: "choose a method other than codebook",
        }),
    }
}

impl Target {
    pub const ALL: [Target; 3] = [Target::Tensorrt, Target::Onnxruntime, Target::Finn];

    pub fn name(self) -> &'static str {
        match self {
            Target::Tensorrt => "tensorrt",
            Target::Onnxruntime => "onnxruntime",
            Target::Finn => "finn",
        }
    }

    /// How many steps wide the sums of a layer have to be for its bias to be in 32-bit codes.
    pub(super) fn least_spread_of_coded_biases(self) -> f64 {
        match self {
            // Its optimiser rounds biases to these codes, however coarse: so all ways of running
            // the file agree.
            Target::Onnxruntime => 0.0,
            // Biases stay floats there.
            Target::Tensorrt | Target::Finn => f64::INFINITY,
        }
    }

    fn is_written_as(self, form: OnnxForm) -> bool {
        match self {
            Target::Finn => form == OnnxForm::Qonnx,
            Target::Tensorrt | Target::Onnxruntime => matches!(form, OnnxForm::Qdq { .. }),
        }
    }

    /// Changes what the target runs in another form, and refuses what it runs in none.
    pub(super) fn fit(self, graph: &mut Graph, form: OnnxForm) -> Result<Vec<Change>, ExportError> {
        if !self.is_written_as(form) {
            let (formats, found) = match self {
                Target::Finn => ("qonnx", "onnx"),
                _ => ("onnx", "qonnx"),
            };
            return Err(ExportError::Format { target: self, formats, found: found.into() });
        }
        if self == Target::Onnxruntime {
            return Ok(Vec::new());
        }
        let layers = graph.quantizable_layers();
        let problems: Vec<String> =
            layers.iter().flat_map(|layer| problems(graph, layer)).collect();
        if !problems.is_empty() {
            return Err(ExportError::Target { target: self, problems });
        }
        let mut changes = Vec::new();
        for (tensor, grid) in roundings(graph) {
            let wanted = match self {
                Target::Finn if grid.zero_point == 0 && grid.low == 0 => grid,
                Target::Finn => symmetric(grid, bits_of(grid)),
                _ => symmetric(grid, 8),
            };
            if wanted != grid {
                let readers = layers.iter().filter(|layer| layer.input == tensor);
                let what = format!("activations: {} instead of {}", words(wanted), words(grid));
                let names = readers.map(|layer| layer.name.clone());
                match changes.iter_mut().find(|change: &&mut Change| change.what == what) {
                    Some(change) => change.layers.extend(names),
                    None => changes.push(Change { layers: names.collect(), what }),
                }
                graph.set_op(tensor, Op::FakeQuantize(wanted));
            }
        }
        if self == Target::Tensorrt {
            changes.extend(widen_weights(graph, &layers));
        }
        Ok(changes)
    }
}

/// Every tensor that is rounded to a grid.
fn roundings(graph: &Graph) -> Vec<(TensorId, Grid)> {
    let grid = |node: &Node| match node.op {
        Op::FakeQuantize(grid) => Some((node.output, grid)),
        _ => None,
    };
    graph.nodes().iter().filter_map(grid).collect()
}

/// What no form of a layer can be built from.
fn problems(graph: &Graph, layer: &QuantizableLayer) -> Vec<String> {
    let mut problems = Vec::new();
    let reads = graph.producer(layer.input).map(|index| &graph.nodes()[index].op);
    match reads {
        Some(Op::DynamicQuantize { .. }) => {
            problems.push("its input's range is found at run time; choose a static method")
        }
        Some(Op::Binarize { .. }) => {
            problems.push("its input has 1 signed bit; give it 2 (--activation-bits 2-8)")
        }
        _ => {}
    }
    if let Some(coding) = graph.coding(layer.weight) {
        if !coding.offsets.is_empty() {
            problems.push("its weights are moved by an offset; choose a method without");
        }
        let codes = graph.constant(layer.weight).and_then(|weight| coding.codes_of(weight));
        let width = u32::from(coding.bits).max(2);
        if codes.is_some_and(|codes| !codes.are_signed(width)) {
            problems.push("its weights need zero points; choose a symmetric method");
        }
    }
    problems.into_iter().map(|what| format!("{}: {what}", layer.name)).collect()
}

/// The signed grid of so many bits around 0 that covers what a grid covers.
fn symmetric(grid: Grid, bits: u32) -> Grid {
    let half = (1i32 << (bits - 1)).max(2);
    let level = |code: i32| (code - grid.zero_point) as f32 * grid.scale;
    let reach = level(grid.high).max(-level(grid.low));
    let already = grid.zero_point == 0 && (grid.low, grid.high) == (-half, half - 1);
    if already {
        return grid;
    }
    Grid { scale: reach / (half - 1) as f32, zero_point: 0, low: -half, high: half - 1 }
}

fn words(grid: Grid) -> String {
    let sign = match (grid.low < 0, grid.zero_point) {
        (true, _) => "signed",
        (false, 0) => "unsigned",
        (false, _) => "with a zero point",
    };
    format!("{} bits {sign}", bits_of(grid))
}

/// Weights narrower than 8 bits keep their levels in 8-bit codes.
fn widen_weights(graph: &mut Graph, layers: &[QuantizableLayer]) -> Option<Change> {
    let mut widened = Vec::new();
    for layer in layers {
        let (Some(coding), Some(weight)) =
            (graph.coding(layer.weight).cloned(), graph.constant(layer.weight).cloned())
        else {
            continue;
        };
        // Narrow weights are run beside float activations only.
        let is_float = input_grid(graph, layer.input).is_none();
        if coding.bits < 8 && !(is_float && coding.bits <= 4) {
            graph.set_rounded(layer.weight, weight, Coding { bits: 8, ..coding });
            widened.push(layer.name.clone());
        }
    }
    let what = "weights: 8 bits a code instead of fewer; the levels stay".to_owned();
    (!widened.is_empty()).then_some(Change { layers: widened, what })
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|target| target.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("{text:?} is no target; there are {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_grids_cover_what_the_others_did() {
        let grid = |scale, zero_point, high| Grid { scale, zero_point, low: 0, high };
        for (name, from, bits, scale, low) in [
            ("unsigned", grid(0.5, 0, 15), 8, 7.5 / 127.0, -128),
            ("affine", grid(0.5, 4, 15), 8, 5.5 / 127.0, -128),
            ("mostly negative", grid(0.5, 12, 15), 4, 6.0 / 7.0, -8),
            ("one bit", grid(3.0, 0, 1), 1, 3.0, -2),
        ] {
            let found = symmetric(from, bits);
            assert_eq!((found.scale, found.zero_point, found.low), (scale, 0, low), "{name}");
            assert_eq!(symmetric(found, bits), found, "{name}");
        }
    }
}
