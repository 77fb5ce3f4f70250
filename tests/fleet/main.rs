//! Searches whose policies are judged by worker processes: the real program, on the table of a
//! database and on a NATS server.

mod arrivals;
mod blobs;
mod faults;
mod folder;
#[path = "../nats_common/mod.rs"]
mod nats_common;
#[path = "../s3_common/mod.rs"]
mod s3_common;
mod same;
