pub mod onnx {
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}
pub mod domain;
pub mod network;
pub mod report;
