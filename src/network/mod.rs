//! A network as a graph: ONNX in, shape inference, folding, execution. Knows nothing of quantization.

mod array;
mod attributes;
mod coding;
mod cuda;
mod device;
mod error;
mod execute;
mod fold;
mod graph;
mod joined;
mod layers;
mod memory;
mod narrow;
mod onnx;
mod ops;
mod rewrite;
mod shapes;
mod tensor_file;
mod threads;
mod weights;

pub use array::{Array, ArrayData, ElementType};
pub use attributes::{
    Border, Comparison, Coordinates, Cut, Grid, Interpolation, Logic, NearestRounding, Reduction,
    ResizedLength, Unary, Window,
};
pub use coding::{Codes, Coding};
pub use cuda::load_cuda;
pub use device::{ComputeDevice, LIBTORCH_VERSION};
pub use error::NetworkError;
pub use execute::{Arithmetic, Executable, Replacement, compute};
pub use fold::FoldedNorm;
pub use graph::{Graph, GraphInput, InputDim, Node, TensorId};
pub use layers::{QuantizableKind, QuantizableLayer};
pub use memory::keep_freed_memory;
pub use onnx::{OnnxFile, OnnxForm, Stored};
pub use ops::Op;
pub use shapes::Shapes;
pub use tensor_file::TensorFile;
pub use threads::{use_one_thread_per_operation, use_threads};
