//! Bitwidths for every layer of a trained network, searched for one device.
//!
//! In reading order: [`domain`] has the nouns; [`network`], [`data`] and [`quantization`] turn
//! bits into measured quality; [`search`] proposes policies with the agent and costs them with
//! the simulator; [`store`] keeps every episode; [`runner`] joins search and store;
//! [`report`] and [`export`] show what was found; [`cli`] is the terminal, [`service`] the
//! server.

pub mod cli;
pub mod data;
pub mod domain;
pub mod export;
pub mod network;
pub mod quantization;
pub mod report;
pub mod runner;
pub mod search;
pub mod service;
pub mod store;
