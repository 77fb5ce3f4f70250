//! The keys of a configuration: what each needs, how its text in the environment is read, and
//! which known key a mistyped one was meant to be.

use std::net::SocketAddr;

use toml::Value;

use crate::queue::BlobPlace;

/// What a key's value has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Address,
    Folder,
    Folders,
    Device,
    Queue,
    Blobs,
    Hosts,
    Switch,
    /// From the first to the second, both included.
    Number(i64, i64),
}

use Needs::{Address, Blobs, Device, Folder, Folders, Hosts, Number, Queue, Switch};

/// Sizes, times and counts beyond these are typing mistakes.
const BYTES_MAX: i64 = 1 << 50;
const SECONDS_MAX: i64 = 86_400;
const COUNT_MAX: i64 = 1_000_000_000;

/// In the order of [`super::Settings`].
pub const KEYS: &[(&str, Needs)] = &[
    ("listen", Address),
    ("state_folder", Folder),
    ("model_folders", Folders),
    ("data_folders", Folders),
    ("searches", Number(1, 256)),
    ("threads", Number(1, 1024)),
    ("device", Device),
    ("queue", Queue),
    ("blobs", Blobs),
    ("grace_s", Number(0, SECONDS_MAX)),
    ("crash_limit", Number(1, 1000)),
    ("upload_bytes_max", Number(1, BYTES_MAX)),
    ("body_bytes_max", Number(1024, BYTES_MAX)),
    ("request_timeout_s", Number(1, SECONDS_MAX)),
    ("requests_per_s", Number(1, 1_000_000)),
    ("requests_burst", Number(1, 1_000_000)),
    ("token_required", Switch),
    ("allowed_hosts", Hosts),
    ("events_kept", Number(1, COUNT_MAX)),
];

/// The key as it is known here, and what it needs.
pub fn find(key: &str) -> Option<(&'static str, Needs)> {
    KEYS.iter().copied().find(|(known, _)| *known == key)
}

impl Needs {
    /// Completes "it needs to be …".
    pub fn describe(self) -> String {
        match self {
            Address => "an address with its port, such as 127.0.0.1:8080 or [::1]:8080".into(),
            Folder => "the path of a folder, as text".into(),
            Folders => "a list of folders, each its path as text".into(),
            Device => "cpu, cuda or cuda:N".into(),
            Queue => {
                "nats://HOST[:4222][/FLEET], a database file, or empty; without a password, which is \
                 for HAQ_QUEUE_CREDENTIALS, HAQ_QUEUE_NKEY or HAQ_QUEUE_TOKEN"
                    .into()
            }
            Blobs => {
                "s3://BUCKET/PREFIX, file:///FOLDER, a folder, or empty; keys of a bucket are for \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                    .into()
            }
            Hosts => "a list of host names such as haq.example.org, without scheme and path".into(),
            Switch => "true or false".into(),
            Number(low, high) => format!("a whole number from {low} to {high}"),
        }
    }

    pub fn allows(self, value: &Value) -> bool {
        match (self, value) {
            (Address, Value::String(text)) => text.parse::<SocketAddr>().is_ok(),
            (Folder, Value::String(text)) => !text.is_empty(),
            (Device, Value::String(text)) => is_device(text),
            // What is printed and logged holds no secret.
            (Queue, Value::String(text)) => !text.contains('@') && !text.contains(char::is_control),
            (Blobs, Value::String(text)) => text.is_empty() || BlobPlace::parse(text).is_ok(),
            (Folders, Value::Array(list)) => list.iter().all(|item| Folder.allows(item)),
            (Hosts, Value::Array(list)) => {
                list.iter().all(|item| item.as_str().is_some_and(is_host))
            }
            (Switch, Value::Boolean(_)) => true,
            (Number(low, high), Value::Integer(number)) => (low..=high).contains(number),
            _ => false,
        }
    }

    /// The value that a variable of the environment means; text that is no number stays text,
    /// which [`Self::allows`] refuses.
    pub fn read(self, text: &str) -> Value {
        let list = |separator| {
            let items = text.split(separator).map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        };
        match self {
            Folders => list(':'),
            // A host may have a port.
            Hosts => list(','),
            Switch => text.trim().parse().map_or_else(|_| text.into(), Value::Boolean),
            Number(..) => text.trim().parse().map_or_else(|_| text.into(), Value::Integer),
            Address | Folder | Device | Queue | Blobs => text.trim().into(),
        }
    }
}

fn is_device(text: &str) -> bool {
    let index = text.strip_prefix("cuda:");
    matches!(text, "cpu" | "cuda") || index.is_some_and(|index| index.parse::<u8>().is_ok())
}

fn is_host(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    !text.is_empty() && text.chars().all(allowed)
}

/// The known key that needs the fewest changes to become, where they are few.
pub fn nearest(key: &str) -> Option<&'static str> {
    let (n_changes, nearest) = KEYS.iter().map(|(known, _)| (changes(key, known), *known)).min()?;
    (n_changes <= nearest.len().div_ceil(3)).then_some(nearest)
}

/// Letters to insert, remove or replace (Levenshtein, 1966), row by row of the usual table.
fn changes(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (above_first, letter) in (1..).zip(from.chars()) {
        let mut diagonal = std::mem::replace(&mut row[0], above_first);
        for (column, other) in (1..).zip(to.chars()) {
            let replaced = diagonal + usize::from(letter != other);
            diagonal = row[column];
            row[column] = replaced.min(diagonal + 1).min(row[column - 1] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_finds_the_one_that_was_meant() {
        for (typed, meant) in [
            ("serches", Some("searches")),
            ("state-folder", Some("state_folder")),
            ("Listen", Some("listen")),
            ("grace", Some("grace_s")),
            ("request_per_s", Some("requests_per_s")),
            ("password", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed), meant, "{typed}");
        }
    }

    #[test]
    fn changes_are_counted_both_ways() {
        for (from, to, n_changes) in
            [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2), ("ä", "a", 1)]
        {
            assert_eq!(changes(from, to), n_changes, "{from} → {to}");
            assert_eq!(changes(to, from), n_changes, "{to} → {from}");
        }
    }
}
