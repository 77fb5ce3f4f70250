//! An ONNX model that is about to become a file, or a file and its data beside it.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

use prost::Message as _;

use super::proto::{ModelProto, StringStringEntryProto, TensorProto, tensor_proto::DataLocation};
use crate::network::error::NetworkError;

/// A message cannot be longer than 2 GiB; what comes near it is split.
const MOST_INLINE_BYTES: usize = 1_900_000_000;
/// Smaller tensors stay in the model file.
const LEAST_OUTSIDE_BYTES: usize = 1024;
/// Where tensors begin in the data file: at whole pages, so that it can be mapped.
const ALIGNMENT: usize = 4096;

/// What the tensors of a model take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stored {
    /// Codes of weights.
    pub code_bytes: u64,
    /// Scales, zero points and offsets of weights.
    pub scaling_bytes: u64,
}

/// A model ready to be written.
#[derive(Debug, Clone)]
pub struct OnnxFile {
    pub(super) model: ModelProto,
    pub(super) stored: Stored,
}

impl OnnxFile {
    pub fn to_bytes(&self) -> Vec<u8> {
        self.model.encode_to_vec()
    }

    /// What its rounded weights take.
    pub fn stored(&self) -> Stored {
        self.stored
    }

    /// Writes the file; above 1.9 GB the tensors go to a second one, `NAME.data` beside it.
    ///
    /// # Errors
    /// [`NetworkError::Io`] naming the file that cannot be written.
    pub fn save(self, path: &Path) -> Result<(), NetworkError> {
        self.save_with(path, MOST_INLINE_BYTES)
    }

    fn save_with(mut self, path: &Path, most_inline_bytes: usize) -> Result<(), NetworkError> {
        if self.tensors().map(inline_bytes).sum::<usize>() > most_inline_bytes {
            self.move_tensors_out(path)?;
        }
        std::fs::write(path, self.to_bytes()).map_err(|source| io_error(path, source))
    }

    fn tensors(&self) -> impl Iterator<Item = &TensorProto> {
        self.model.graph.iter().flat_map(|graph| &graph.initializer)
    }

    fn move_tensors_out(&mut self, path: &Path) -> Result<(), NetworkError> {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let location = format!("{name}.data");
        let data = path.with_file_name(&location);
        let error = |source| io_error(&data, source);
        let mut file = BufWriter::new(File::create(&data).map_err(error)?);
        let mut offset = 0usize;
        let tensors = self.model.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
        for tensor in tensors.filter(|tensor| inline_bytes(tensor) >= LEAST_OUTSIDE_BYTES) {
            let bytes = tensor.raw_data.take().unwrap_or_default();
            let start = offset.next_multiple_of(ALIGNMENT);
            file.write_all(&vec![0; start - offset]).map_err(error)?;
            file.write_all(&bytes).map_err(error)?;
            offset = start + bytes.len();
            let entry = |key: &str, value: String| StringStringEntryProto {
                key: Some(key.into()),
                value: Some(value),
            };
            tensor.external_data = vec![
                entry("location", location.clone()),
                entry("offset", start.to_string()),
                entry("length", bytes.len().to_string()),
            ];
            tensor.data_location = Some(DataLocation::External.into());
        }
        file.flush().map_err(error)
    }
}

fn inline_bytes(tensor: &TensorProto) -> usize {
    tensor.raw_data.as_ref().map_or(0, |bytes| bytes.len())
}

fn io_error(path: &Path, source: std::io::Error) -> NetworkError {
    NetworkError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::network::{Array, Graph, Op};

    fn are_read_back(graph: &Graph, path: &Path) -> bool {
        let again = Graph::load(path).unwrap();
        let value = |tensor| again.constant(again.tensor_named(graph.tensor_name(tensor))?);
        graph.constants().all(|(tensor, array)| value(tensor) == Some(array))
    }

    #[test]
    fn tensors_beside_the_file_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.onnx");
        let (mut graph, x) = Graph::sketch(&[0, 600]);
        let long = graph.hold("long", Array::f32(vec![600], vec![0.5; 600]));
        let longer = graph
            .hold("longer", Array::f32(vec![600], (0..600).map(|n| n as f32).collect::<Vec<_>>()));
        let short = graph.hold("short", Array::f32(vec![1], [2.0]));
        let sum = graph.draw(Op::Add, &[x, long]);
        let product = graph.draw(Op::Mul, &[sum, short]);
        graph.draw(Op::Add, &[product, longer]);
        let file = graph.to_onnx_file(Default::default(), &Default::default()).unwrap();
        file.clone().save_with(&path, 4000).unwrap();
        let data = std::fs::metadata(folder.path().join("net.onnx.data")).unwrap();
        assert_eq!(data.len(), 4096 + 2400);
        assert!(are_read_back(&graph, &path));
        file.save_with(&path, 5000).unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() > 4800);
        assert!(are_read_back(&graph, &path));
    }
}
