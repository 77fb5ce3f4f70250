//! The real program in a temporary folder: what is typed, what comes out, how it ends.

mod common;
mod contest;
mod db;
mod explanation;
mod export;
mod finetune;
mod haq;
mod inspect;
mod integer;
mod quantize;
mod resume;
mod search;
mod serve;
mod simulate_more;
mod usage;
