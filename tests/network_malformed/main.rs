//! Broken model files: a named error every time, never a panic.

mod damage;
mod defects;
mod models;
#[path = "../network_common/mod.rs"]
mod network_common;
mod onnx;
mod tensors;
