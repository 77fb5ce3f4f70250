//! What an operator can set, and where each value came from.

mod error;
mod keys;
mod layers;

use std::{net::SocketAddr, path::PathBuf, thread};

use serde::{Deserialize, Serialize};

pub use self::{
    error::SettingsError,
    layers::{Origin, Resolved},
};

/// The configuration of `haq serve`. Relative paths start at the working directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address and port to listen on; any but loopback asks clients for a token.
    pub listen: SocketAddr,
    /// Folder for uploads and exports; created where it does not exist.
    pub state_folder: PathBuf,
    /// Folders whose networks a search may name, beside what was uploaded.
    pub model_folders: Vec<PathBuf>,
    /// Folders whose images a search may name, beside what was uploaded.
    pub data_folders: Vec<PathBuf>,
    /// Searches that run at the same time, at least 1.
    pub searches: usize,
    /// Worker threads of each search, at least 1; its share of the cores where nothing is said.
    pub threads: usize,
    /// Where networks are evaluated: `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// Queue whose workers judge the policies of searches, see `docs/fleet.md`; empty: the searches
    /// themselves do. Keys and tokens for it are left to the variables `HAQ_QUEUE_…`.
    pub queue: String,
    /// Where networks and images go for those workers, `s3://BUCKET/PREFIX` or a folder; empty: with
    /// the queue. Keys for a bucket are left to the variables `AWS_…`.
    pub blobs: String,
    /// How long running searches may take to stop once the service is told to.
    pub grace_s: u64,
    /// Tries after which a search that kills its process is set aside, at least 1.
    pub crash_limit: u32,
    /// Largest file that can be uploaded.
    pub upload_bytes_max: u64,
    /// Largest body of any other request.
    pub body_bytes_max: u64,
    /// How long a request may take; uploads and event streams take what they need.
    pub request_timeout_s: u64,
    /// Requests a client may send in the long run.
    pub requests_per_s: u32,
    /// Requests a client may send at once after a pause.
    pub requests_burst: u32,
    /// Whether loopback asks for a token too, as behind a proxy that others reach it through;
    /// other addresses always do, and so does a service with `allowed_hosts`.
    pub token_required: bool,
    /// Host names beside the own address that browsers may use for the service.
    pub allowed_hosts: Vec<String>,
    /// Events kept of each search for clients that come back later.
    pub events_kept: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            state_folder: "haq-serve".into(),
            model_folders: Vec::new(),
            data_folders: Vec::new(),
            searches: 1,
            threads: threads_of_each(1),
            device: "cpu".into(),
            queue: String::new(),
            blobs: String::new(),
            grace_s: 20,
            crash_limit: 3,
            upload_bytes_max: 2 << 30,
            body_bytes_max: 1 << 20,
            request_timeout_s: 30,
            requests_per_s: 50,
            requests_burst: 200,
            token_required: false,
            allowed_hosts: Vec::new(),
            events_kept: 100_000,
        }
    }
}

/// The cores of this machine, shared out to so many searches.
fn threads_of_each(searches: usize) -> usize {
    let n_cores = thread::available_parallelism().map_or(1, |n| n.get());
    (n_cores / searches.max(1)).max(1)
}
