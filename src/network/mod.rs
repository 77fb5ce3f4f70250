//! A network as a graph: ONNX in, shape inference, folding, execution. Knows nothing of quantization.

mod array;
mod graph;
mod ops;

pub use array::{Array, ArrayData};
pub use graph::{Graph, Node, QuantizableKind, QuantizableLayer, TensorId};
pub use ops::{Cut, Grid, Op, Window};
