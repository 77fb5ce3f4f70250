pub mod domain;
pub mod network;
