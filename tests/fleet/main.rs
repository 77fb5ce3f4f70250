//! Searches whose policies are judged by worker processes: the real program, on the table of a
//! database and on a NATS server.

mod access;
mod arrivals;
mod blobs;
mod certificates;
mod cut_off;
#[path = "../disk_common/mod.rs"]
mod disk_common;
mod faults;
mod folder;
mod full_disk;
mod large;
mod namespace;
#[path = "../nats_common/mod.rs"]
mod nats_common;
#[path = "../network_malformed/onnx.rs"]
mod onnx;
#[path = "../s3_common/mod.rs"]
mod s3_common;
mod same;
