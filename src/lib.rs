pub mod onnx {
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}
pub mod data;
pub mod domain;
pub mod network;
pub mod store;
pub mod report;
