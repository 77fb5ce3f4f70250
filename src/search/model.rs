//! The network a search is about: read, folded, and known by the digest of its bytes.

use std::{collections::HashMap, path::Path};

use sha2::{Digest as _, Sha256};

use crate::{
    data::{Card, DataError},
    domain::{Bits, BitwidthPolicy, LayerBits, hexadecimal},
    network::{FoldedNorm, Graph, GraphInput, NetworkError, QuantizableLayer, TensorFile},
    search::space::with_shared_tensors,
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
    /// What the file holds where it is quantized already.
    pub stored: Option<StoredNetwork>,
}

/// A network that a file holds in quantized form. [`Model::graph`] is the same without roundings
/// of activations, on the levels of its weights.
#[derive(Debug, Clone)]
pub struct StoredNetwork {
    /// As the file has it, roundings included.
    pub graph: Graph,
    /// The bits of its codes; 8 for what the file keeps in float.
    pub policy: BitwidthPolicy,
}

impl StoredNetwork {
    /// None where nothing is in codes.
    ///
    /// - `layers`: of the folded network
    fn of(graph: &Graph, layers: &[QuantizableLayer]) -> Option<Self> {
        let own = graph.quantizable_layers();
        let stored: HashMap<&str, [Option<u8>; 2]> =
            own.iter().map(|layer| (layer.name.as_str(), graph.stored_bits(layer))).collect();
        stored.values().flatten().any(Option::is_some).then(|| {
            let known = |bits: Option<u8>| bits.and_then(Bits::new).unwrap_or(Bits::EIGHT);
            let layers_bits = layers.iter().map(|layer| {
                let bits = stored.get(layer.name.as_str()).copied().unwrap_or_default();
                let [weight, activation] = bits.map(|bits| known(bits).min(Bits::EIGHT));
                LayerBits::new(weight, activation)
            });
            let policy = BitwidthPolicy::new(layers_bits.collect());
            Self { graph: graph.clone(), policy: with_shared_tensors(layers, policy) }
        })
    }
}

/// Why a model could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("{path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{path}: {source}")]
    Network { path: String, source: NetworkError },
    #[error("{path}: {reason}")]
    Weights { path: String, reason: String },
    #[error("{path}: {reason}")]
    Inputs { path: String, reason: String },
    #[error(transparent)]
    Card(#[from] DataError),
}

/// What is done to a network while it is read.
#[derive(Clone, Copy, Default)]
pub struct ModelOptions<'a> {
    /// A .safetensors file whose arrays replace the network's constants of the same names.
    pub weights: Option<&'a Path>,
    /// Given the names of the network's inputs and their declarations, the shape of one sample of
    /// each: they are then joined to one. None leaves the inputs as they are.
    pub sample_shapes: Option<&'a SampleShapes<'a>>,
}

/// From the inputs' names and declarations to one shape each.
pub type SampleShapes<'a> =
    dyn Fn(&[(&str, &GraphInput)]) -> Result<Option<Vec<Vec<usize>>>, ModelError> + 'a;

impl Model {
    /// Reads a file, or the embedded network where none is given.
    ///
    /// # Errors
    /// Names the file and, inside it, the node or tensor that is wrong.
    pub fn load(path: Option<&Path>) -> Result<Self, ModelError> {
        Self::load_with(path, &ModelOptions::default())
    }

    /// The same, with other weights or joined inputs.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load_with(path: Option<&Path>, options: &ModelOptions<'_>) -> Result<Self, ModelError> {
        let Some(path) = path else {
            let card = Card::parse("the embedded card", EMBEDDED_CARD)?;
            let bytes = EMBEDDED_ONNX.to_vec();
            return Self::build("embedded".into(), bytes, None, None, Some(card), options);
        };
        let shown = path.display().to_string();
        let bytes = read(path)?;
        let name = path.file_name().map_or(shown, |n| n.to_string_lossy().into_owned());
        let card = Card::beside(path)?;
        let weights = match options.weights {
            Some(path) => Some((path.display().to_string(), read(path)?)),
            None => None,
        };
        Self::build(name, bytes, path.parent(), weights, card, options)
    }

    /// The same from the bytes of a file that has all its tensors in itself, and of the file with its
    /// other weights.
    ///
    /// - `sample_shapes`: those of one sample of each input, where the inputs are to be joined
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_bytes(
        name: String,
        onnx: Vec<u8>,
        weights: Option<Vec<u8>>,
        sample_shapes: Option<Vec<Vec<usize>>>,
    ) -> Result<Self, ModelError> {
        let shapes = |_: &[(&str, &GraphInput)]| Ok(sample_shapes.clone());
        let options = ModelOptions { weights: None, sample_shapes: Some(&shapes) };
        let weights = weights.map(|bytes| (format!("other weights of {name}"), bytes));
        Self::build(name, onnx, None, weights, None, &options)
    }

    /// - `weights`: what errors call them, and their bytes
    fn build(
        name: String,
        bytes: Vec<u8>,
        folder: Option<&Path>,
        weights: Option<(String, Vec<u8>)>,
        card: Option<Card>,
        options: &ModelOptions<'_>,
    ) -> Result<Self, ModelError> {
        let mut digest = Sha256::new();
        digest.update(&bytes);
        let named = |source| ModelError::Network { path: name.clone(), source };
        let mut graph = Graph::from_bytes(bytes, folder).map_err(named)?;
        if let [first, others @ ..] = graph.outputs()
            && !others.is_empty()
        {
            let (first, others) = (graph.tensor_name(*first), others.len());
            tracing::warn!(
                "{name} is judged by the first of its outputs, {first}; {others} more are left out"
            );
            graph = graph.with_first_output();
        }
        if let Some((path, bytes)) = weights {
            digest.update(&bytes);
            let file = TensorFile::parse(&bytes)
                .map_err(|reason| ModelError::Weights { path: path.clone(), reason })?;
            drop(bytes);
            graph =
                graph.with_weights(&file).map_err(|source| ModelError::Network { path, source })?;
        }
        let graph = graph.with_open_batch().unwrap_or(graph);
        let graph = match options.sample_shapes {
            Some(shapes) => {
                let inputs = graph.inputs().iter();
                let inputs: Vec<_> =
                    inputs.map(|input| (graph.tensor_name(input.tensor), input)).collect();
                match shapes(&inputs)? {
                    Some(shapes) => graph.with_joined_inputs(&shapes).map_err(named)?,
                    None => graph,
                }
            }
            None => graph,
        };
        let as_stored = graph.clone();
        let graph = graph.without_roundings();
        let (graph, norms) = graph.folded_with_norms().map_err(named)?;
        let layers = graph.quantizable_layers();
        let stored = StoredNetwork::of(&as_stored, &layers);
        let digest = hexadecimal(&digest.finalize());
        Ok(Self { name, digest, graph, layers, norms, card, stored })
    }

    /// The bytes of a model file, or of the embedded network.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn file_bytes(path: Option<&Path>) -> Result<Vec<u8>, ModelError> {
        path.map_or_else(|| Ok(EMBEDDED_ONNX.to_vec()), read)
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

fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    let shown = || path.display().to_string();
    std::fs::read(path).map_err(|source| ModelError::Read { path: shown(), source })
}
