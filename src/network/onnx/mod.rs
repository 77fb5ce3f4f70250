//! The ONNX file format: the only place that knows it.
//!
//! [`import`] reads a file into a [`Graph`](super::Graph), one node at a time in an order
//! where each comes after what it reads. `ops` says what each ONNX operation becomes;
//! whatever follows from constants alone is computed on the way. [`export`] writes a graph.

mod coded;
mod export;
mod external;
mod file;
mod import;
mod lowered;
mod merge;
mod node;
mod ops;
mod order;
mod proto;
mod roundings;
mod tensor;
mod write;

pub use export::OnnxForm;
pub use file::{OnnxFile, Stored};
