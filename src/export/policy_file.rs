//! The policy as a JSON file: what a search found, readable by `--policy` and by other tools.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::domain::{BitwidthPolicy, BudgetRequest, Cost, LayerBits, Quality};

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
                .map(|(name, &bits)| PolicyLayer { name: (*name).to_owned(), bits })
                .collect(),
        }
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
