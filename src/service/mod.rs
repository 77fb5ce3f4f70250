//! Searches as a service: handed in over HTTP, run in processes of their own, watched live.
//!
//! [`Service`] is opened from [`Settings`] and runs; `router` shows every route; `workers` runs
//! what is queued; `problem` alone knows status codes.

#![allow(unused_qualifications, reason = "utoipa's macros write some")]

mod access;
mod drawings;
mod events;
mod files;
mod fleet;
mod guard;
mod helper;
mod metrics;
mod pages;
mod problem;
mod profiles;
mod results;
mod router;
mod searches;
mod serve;
mod settings;
mod state;
mod submissions;
mod uploads;
mod wire;
mod workers;

pub use access::new_secret;
pub use fleet::{Fleet, Reach};
pub use serve::{ServeError, Service};
pub use settings::{Origin, Resolved, Settings, SettingsError};
