//! What can be typed about a queue of evaluations, and after `haq worker`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};

use super::MachineArgs;

/// How to reach a queue of evaluations.
#[derive(Debug, Clone, Args)]
pub struct QueueArgs {
    /// Queue from which workers take policies to judge: nats://HOST[:4222][/FLEET], or the database
    /// file of searches on this machine
    #[arg(long, env = "HAQ_QUEUE", value_name = "URL|FILE")]
    queue: Option<String>,
    /// Credentials file for the NATS server, as nsc writes it
    #[arg(long, env = "HAQ_QUEUE_CREDENTIALS", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub queue_credentials: Option<PathBuf>,
    /// File with the seed of an nkey for the NATS server
    #[arg(long, env = "HAQ_QUEUE_NKEY", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub queue_nkey: Option<PathBuf>,
    /// Token for the NATS server
    #[arg(long, env = "HAQ_QUEUE_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub queue_token: Option<String>,
    /// PEM file of the certificate that signed the NATS server's
    #[arg(long, env = "HAQ_QUEUE_ROOT", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub queue_root: Option<PathBuf>,
    /// Servers of a NATS cluster that keep each message, where a fleet begins
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub queue_replicas: u8,
    /// Where networks and images go, the same for a search and its workers: s3://BUCKET/PREFIX, or a
    /// folder that all of them see; where absent the NATS server keeps them, or a folder beside the
    /// database. For a bucket AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, of a store
    /// other than Amazon's, AWS_ENDPOINT_URL say how to reach it, AWS_ALLOW_HTTP=true that it has no
    /// TLS, AWS_CA_BUNDLE (a PEM file) who signed its certificate
    #[arg(long, env = "HAQ_BLOBS", value_name = "URL|FOLDER", value_hint = ValueHint::DirPath)]
    blobs: Option<String>,
}

impl QueueArgs {
    /// What the variables of the environment say, for the queue at `place`.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn of_environment(place: &str) -> Result<Self, clap::Error> {
        #[derive(Parser)]
        #[command(no_binary_name = true)]
        struct Variables {
            #[command(flatten)]
            queue: QueueArgs,
        }
        Ok(Variables::try_parse_from(["--queue", place])?.queue)
    }

    /// Where the queue is, if there is one: a variable of the environment may be empty.
    pub fn place(&self) -> Option<&str> {
        self.queue.as_deref().filter(|place| !place.is_empty())
    }

    /// Where blobs are, if not with the queue.
    pub fn blobs(&self) -> Option<&str> {
        self.blobs.as_deref().filter(|place| !place.is_empty())
    }
}

/// # Errors
/// When a queue could not name it.
fn device_class(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if text.is_empty() || !text.chars().all(is_plain) {
        return Err(
            "a class of devices is a word of letters, digits, hyphens and underscores".into()
        );
    }
    Ok(text.to_owned())
}

/// What only a search says of a fleet.
#[derive(Debug, Clone, Args)]
pub struct FleetArgs {
    #[command(flatten)]
    pub queue: QueueArgs,
    /// With --queue: kind of device that judges, as haq worker names it; this machine's own --device
    /// where absent
    #[arg(long, value_name = "CLASS", value_parser = device_class)]
    pub device_class: Option<String>,
    /// With --queue: how long a worker may take for one policy
    #[arg(long, default_value_t = 3600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub time_limit_s: u64,
}

#[derive(Debug, Clone, Args)]
pub struct WorkerArgs {
    #[command(flatten)]
    pub queue: QueueArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Take work for this class of devices though this one is of another, or haq of another version:
    /// its figures then stand beside unlike ones, which differ in their last digits
    #[arg(long, value_name = "CLASS", value_parser = device_class)]
    pub device_class: Option<String>,
    /// What the fleet calls this worker; host and process where absent
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Folder for networks and images; workers of one machine may share it. ~/.cache/haq where absent
    #[arg(long, env = "HAQ_CACHE", value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub cache: Option<PathBuf>,
    /// How much that folder may hold
    #[arg(long, default_value_t = 20_000, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..))]
    pub cache_mb: u64,
    /// End when no task came for so long
    #[arg(long, value_name = "SECONDS")]
    pub idle_s: Option<u64>,
}

/// What is done about a fleet.
#[derive(Debug, Clone, Args)]
pub struct FleetStateArgs {
    #[command(flatten)]
    pub queue: QueueArgs,
    #[command(subcommand)]
    pub action: Option<FleetAction>,
}

#[derive(Debug, Clone, Subcommand)]
pub enum FleetAction {
    #[command(flatten)]
    Letters(LetterAction),
    /// Delete networks and images that no search has sent for long; one that still needs them sends
    /// them again
    Clean(CleanArgs),
}

/// What is done about dead letters.
#[derive(Debug, Clone, Subcommand)]
pub enum LetterAction {
    /// Hand out again what was set aside after too many tries
    Retry(DeadLetterArgs),
    /// Forget what was set aside
    Drop(DeadLetterArgs),
}

#[derive(Debug, Clone, Args)]
pub struct DeadLetterArgs {
    /// Beginnings of the tasks' names, as haq fleet shows them; all where none is named
    #[arg(value_name = "TASK")]
    pub tasks: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub struct CleanArgs {
    /// Keep what was sent within so many days; what is in use is sent anew once a week. 0 deletes
    /// everything
    #[arg(long, default_value_t = 30, value_name = "N")]
    pub older_than_days: u16,
}
