//! The database as its users meet it: real files in a temporary folder.

mod common;
mod episodes;
mod files;
mod maintenance;
mod measurements;
mod readme;
mod runs;
mod searches;
mod sharing;
mod tunings;
