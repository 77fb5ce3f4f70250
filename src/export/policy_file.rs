//! The policy as a JSON file: what a search found, readable by `--policy` and by other tools.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    domain::{BitwidthPolicy, BudgetRequest, Cost, LayerBits, Quality},
    network::{Graph, Grid, Op, QuantizableLayer},
};

/// Version of the file's form.
const SCHEMA: u32 = 1;

/// A bitwidth policy with its origin.
///
/// Only `schema` and `layers` are needed to read one back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyFile {
    pub schema: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// SHA-256 of the model file, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<PolicyMetrics>,
    pub layers: Vec<PolicyLayer>,
}

/// What the policy reached; costs are modelled, quality is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyMetrics {
    pub modelled_cost: Cost,
    pub quality_search: Quality,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality_test: Option<Quality>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyLayer {
    pub name: String,
    #[serde(flatten)]
    pub bits: LayerBits,
    /// What the weights are rounded to, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<TensorLevels>,
    /// What the tensor it reads is rounded to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<TensorLevels>,
}

/// The levels of a tensor: `scale * (code - zero_point) + offset`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TensorLevels {
    /// Its name in the float network.
    pub tensor: String,
    /// The axis along which scales differ; none for one scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axis: Option<usize>,
    pub scale: Vec<f32>,
    /// The smallest and the largest code.
    pub codes: [i32; 2],
    #[serde(default, skip_serializing_if = "is_zero")]
    pub zero_point: i32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offset: Vec<f32>,
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}

impl TensorLevels {
    fn of_weight(graph: &Graph, layer: &QuantizableLayer) -> Option<Self> {
        let (coding, weight) = (graph.coding(layer.weight)?, graph.constant(layer.weight)?);
        let codes = coding.codes_of(weight)?;
        let low = codes.ranges.iter().map(|range| range.0).min()?;
        let high = codes.ranges.iter().map(|range| range.1).max()?;
        Some(Self {
            tensor: graph.tensor_name(layer.weight).to_owned(),
            axis: (coding.scales.len() > 1).then_some(coding.axis),
            scale: coding.scales.to_vec(),
            codes: [low, high],
            zero_point: 0,
            offset: coding.offsets.to_vec(),
        })
    }

    fn of_input(graph: &Graph, layer: &QuantizableLayer) -> Option<Self> {
        let node = &graph.nodes()[graph.producer(layer.input)?];
        let Op::FakeQuantize(Grid { scale, zero_point, low, high }) = node.op else { return None };
        Some(Self {
            tensor: graph.tensor_name(node.input(0)?).to_owned(),
            axis: None,
            scale: vec![scale],
            codes: [low, high],
            zero_point,
            offset: Vec::new(),
        })
    }
}

/// Why a policy file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("{path}: {source}; a policy file is JSON as a search writes it")]
    Json { path: String, source: serde_json::Error },
    #[error("{path}: schema {found} is newer than this program reads ({SCHEMA})")]
    Schema { path: String, found: u32 },
    #[error("{path}: the policy has {policy} layers and the network {network}")]
    LayerCount { path: String, policy: usize, network: usize },
    #[error("{path}: the policy has no layer {name:?}; is it for another network?")]
    MissingLayer { path: String, name: String },
}

impl PolicyFile {
    /// The name under which an ONNX file keeps the policy it was made with.
    pub const METADATA: &str = "haq.policy";

    pub fn new(names: &[&str], policy: &BitwidthPolicy) -> Self {
        let layers = names.iter().zip(policy.layers());
        Self {
            schema: SCHEMA,
            run: None,
            model: None,
            model_digest: None,
            profile: None,
            budgets: Vec::new(),
            metrics: None,
            layers: layers
                .map(|(name, &bits)| PolicyLayer {
                    name: (*name).to_owned(),
                    bits,
                    weight: None,
                    activation: None,
                })
                .collect(),
        }
    }

    /// The same with the levels that each layer has in a quantized network.
    #[must_use]
    pub fn with_levels(mut self, quantized: &Graph) -> Self {
        let layers = quantized.quantizable_layers();
        for own in &mut self.layers {
            let Some(layer) = layers.iter().find(|layer| layer.name == own.name) else { continue };
            own.weight = TensorLevels::of_weight(quantized, layer);
            own.activation = TensorLevels::of_input(quantized, layer);
        }
        self
    }

    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), PolicyFileError> {
        std::fs::write(path, self.text() + "\n").map_err(|source| io_error(path, source))
    }

    /// As it is written to a file, without the last line's end.
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("a policy has no unprintable key")
    }

    /// # Errors
    /// When the file cannot be read, is no policy, or is of a newer form.
    pub fn load(path: &Path) -> Result<Self, PolicyFileError> {
        let text = std::fs::read_to_string(path).map_err(|source| io_error(path, source))?;
        let shown = path.display().to_string();
        let file: Self = serde_json::from_str(&text)
            .map_err(|source| PolicyFileError::Json { path: shown.clone(), source })?;
        if file.schema > SCHEMA {
            return Err(PolicyFileError::Schema { path: shown, found: file.schema });
        }
        Ok(file)
    }

    /// The policy in the order of a network's layers, matched by name.
    ///
    /// # Errors
    /// When the layers are not the network's.
    pub fn policy_for(
        &self,
        path: &Path,
        names: &[&str],
    ) -> Result<BitwidthPolicy, PolicyFileError> {
        let shown = || path.display().to_string();
        if self.layers.len() != names.len() {
            let (policy, network) = (self.layers.len(), names.len());
            return Err(PolicyFileError::LayerCount { path: shown(), policy, network });
        }
        let find = |name: &&str| {
            let layer = self.layers.iter().find(|layer| layer.name == **name);
            layer.map(|layer| layer.bits).ok_or_else(|| PolicyFileError::MissingLayer {
                path: shown(),
                name: (*name).to_owned(),
            })
        };
        names.iter().map(find).collect::<Result<_, _>>().map(BitwidthPolicy::new)
    }
}

fn io_error(path: &Path, source: std::io::Error) -> PolicyFileError {
    PolicyFileError::Io { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Bits;

    #[test]
    fn a_policy_comes_back_in_the_networks_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.json");
        let bits = |w, a| LayerBits::new(Bits::new(w).unwrap(), Bits::new(a).unwrap());
        let policy = BitwidthPolicy::new(vec![bits(8, 8), bits(3, 5)]);
        PolicyFile::new(&["a", "b"], &policy).save(&path).unwrap();
        let file = PolicyFile::load(&path).unwrap();
        assert_eq!(file.policy_for(&path, &["a", "b"]).unwrap(), policy);
        assert_eq!(file.policy_for(&path, &["b", "a"]).unwrap().key(), "3/5 8/8");
    }

    #[test]
    fn wrong_files_are_named_with_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.json");
        for (text, expected) in [
            ("{", "a policy file is JSON"),
            (r#"{"schema":9,"layers":[]}"#, "schema 9 is newer"),
            (r#"{"schema":1,"layers":[]}"#, "has 0 layers and the network 1"),
            (
                r#"{"schema":1,"layers":[{"name":"z","weight_bits":4,"activation_bits":4}]}"#,
                "no layer \"a\"",
            ),
            (
                r#"{"schema":1,"layers":[{"name":"a","weight_bits":40,"activation_bits":4}]}"#,
                "a width is 1 to 16",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let result = PolicyFile::load(&path).and_then(|file| file.policy_for(&path, &["a"]));
            let message = result.unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("policy.json"), "{message}");
        }
    }
}
