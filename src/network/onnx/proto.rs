//! The messages of an ONNX file, generated from `assets/onnx/onnx.proto`.

#![allow(clippy::all, unused_qualifications)]

include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
