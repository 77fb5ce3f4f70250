//! The network a search is about: read, folded, and known by the digest of its bytes.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::{
    data::{Card, DataError},
    network::{FoldedNorm, Graph, NetworkError, QuantizableLayer},
};

/// The embedded digits network and its card; `scripts/train_digits_net.py` makes both.
const EMBEDDED_ONNX: &[u8] = include_bytes!("../../assets/digits_net.onnx");
const EMBEDDED_CARD: &[u8] = include_bytes!("../../assets/digits_net.json");

/// A network ready to be quantized.
#[derive(Debug, Clone)]
pub struct Model {
    /// File name, or `embedded`.
    pub name: String,
    /// SHA-256 of the file, hexadecimal.
    pub digest: String,
    /// Batch norm folded.
    pub graph: Graph,
    pub layers: Vec<QuantizableLayer>,
    /// The batch norms that were folded into layers.
    pub norms: Vec<FoldedNorm>,
    /// What the card beside the file says of its input.
    pub card: Option<Card>,
}

/// Why a model could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("{path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{path}: {source}")]
    Network { path: String, source: NetworkError },
    #[error(transparent)]
    Card(#[from] DataError),
}

impl Model {
    /// Reads a file, or the embedded network where none is given.
    ///
    /// # Errors
    /// Names the file and, inside it, the node or tensor that is wrong.
    pub fn load(path: Option<&Path>) -> Result<Self, ModelError> {
        let Some(path) = path else { return Self::embedded() };
        let shown = path.display().to_string();
        let bytes = std::fs::read(path)
            .map_err(|source| ModelError::Read { path: shown.clone(), source })?;
        let name = path.file_name().map_or(shown.clone(), |n| n.to_string_lossy().into_owned());
        let card = Card::beside(path)?;
        Self::from_bytes(name, bytes, path.parent(), card)
    }

    fn embedded() -> Result<Self, ModelError> {
        let card = Card::parse("the embedded card", EMBEDDED_CARD)?;
        Self::from_bytes("embedded".into(), EMBEDDED_ONNX.to_vec(), None, Some(card))
    }

    fn from_bytes(
        name: String,
        bytes: Vec<u8>,
        folder: Option<&Path>,
        card: Option<Card>,
    ) -> Result<Self, ModelError> {
        let digest = hexadecimal(&Sha256::digest(&bytes));
        let named = |source| ModelError::Network { path: name.clone(), source };
        let graph = Graph::from_bytes(bytes, folder).map_err(named)?;
        let graph = graph.with_open_batch().unwrap_or(graph);
        let (graph, norms) = graph.folded_with_norms().map_err(named)?;
        let layers = graph.quantizable_layers();
        Ok(Self { name, digest, graph, layers, norms, card })
    }

    /// The bytes of the card beside a model file, or of the embedded network's; none where there
    /// is no card.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn card_bytes(path: Option<&Path>) -> Result<Option<Vec<u8>>, ModelError> {
        let Some(path) = path else { return Ok(Some(EMBEDDED_CARD.to_vec())) };
        let path = path.with_extension("json");
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ModelError::Read { path: path.display().to_string(), source }),
        }
    }

    pub fn layer_names(&self) -> Vec<&str> {
        self.layers.iter().map(|layer| layer.name.as_str()).collect()
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
