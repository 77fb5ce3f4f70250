//! Defaults, a file, the environment, flags: the later ones win, key by key.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::{Table, Value};

use super::{
    Settings, SettingsError,
    keys::{self, KEYS},
    threads_of_each,
};

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    /// The variable, as `HAQ_SERVE_LISTEN`.
    Environment(String),
    /// The flag, as `--listen`.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Environment(name) | Origin::Flag(name) => f.write_str(name),
        }
    }
}

/// The configuration that holds, and where each of its values was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub settings: Settings,
    /// Every key, those with their default too.
    pub origins: BTreeMap<&'static str, Origin>,
}

const VARIABLE_PREFIX: &str = "HAQ_SERVE_";

impl Settings {
    /// The file that is read where none is named, if it is in the working directory.
    pub const USUAL_FILE: &str = "haq-serve.toml";

    /// - `file`: TOML, its keys those of [`Settings`]
    /// - `environment`: variables; those that do not start with `HAQ_SERVE_` are passed over
    /// - `flags`: key → value, as in a file
    ///
    /// # Errors
    /// An unknown key or a value out of range, with where it was set.
    pub fn resolve(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: Table,
    ) -> Result<Resolved, SettingsError> {
        let mut layers = Layers::default();
        if let Some(path) = file {
            for (key, value) in read_file(path)? {
                layers.set(&key, Origin::File(path.to_owned()), |_| value)?;
            }
        }
        for (name, text) in environment {
            if let Some(key) = name.strip_prefix(VARIABLE_PREFIX) {
                let key = key.to_ascii_lowercase();
                layers.set(&key, Origin::Environment(name), |needs| needs.read(&text))?;
            }
        }
        for (key, value) in flags {
            let flag = format!("--{}", key.replace('_', "-"));
            layers.set(&key, Origin::Flag(flag), |_| value)?;
        }
        Ok(layers.resolved())
    }
}

#[derive(Default)]
struct Layers {
    values: Table,
    origins: BTreeMap<&'static str, Origin>,
}

impl Layers {
    fn set(
        &mut self,
        key: &str,
        origin: Origin,
        value: impl FnOnce(keys::Needs) -> Value,
    ) -> Result<(), SettingsError> {
        let Some((key, needs)) = keys::find(key) else {
            return Err(SettingsError::Unknown { key: key.to_owned(), origin });
        };
        let value = value(needs);
        if !needs.allows(&value) {
            let (found, needs) = (value.to_string(), needs.describe());
            return Err(SettingsError::Value { key, origin, found, needs });
        }
        self.values.insert(key.to_owned(), value);
        self.origins.insert(key, origin);
        Ok(())
    }

    fn resolved(mut self) -> Resolved {
        let mut settings =
            Settings::deserialize(self.values).expect("each value was checked against its key");
        if !self.origins.contains_key("threads") {
            settings.threads = threads_of_each(settings.searches);
        }
        for (key, _) in KEYS {
            self.origins.entry(key).or_insert(Origin::Default);
        }
        Resolved { settings, origins: self.origins }
    }
}

fn read_file(path: &Path) -> Result<Table, SettingsError> {
    let text = fs::read_to_string(path)
        .map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        SettingsError::NotToml { path: path.to_owned(), line, reason: error.message().to_owned() }
    })
}

impl Resolved {
    /// A configuration file that says the same, each line with where its value was set.
    pub fn to_toml(&self) -> String {
        let values = Table::try_from(&self.settings).expect("paths were read from text");
        let mut text = String::new();
        for (key, _) in KEYS {
            // A comment must not end before its line does.
            let origin = self.origins[key].to_string().replace(char::is_control, "?");
            text += &format!("{key} = {} # {origin}\n", values[*key]);
        }
        text
    }
}

#[cfg(test)]
mod tests;
