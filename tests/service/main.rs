//! The real service on a free port, with a database of its own: what is asked, what it answers,
//! and what is left when it is killed.

mod api;
mod common;
#[path = "../disk_common/mod.rs"]
mod disk_common;
mod events;
mod guard;
mod jobs;
mod storage;
