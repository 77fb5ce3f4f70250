//! Searches whose policies are judged by worker processes: the real program, on the table of a
//! database and on a NATS server.

mod arrivals;
mod faults;
mod folder;
#[path = "../nats_common/mod.rs"]
mod nats_common;
mod same;
