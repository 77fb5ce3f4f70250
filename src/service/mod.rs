//! `haq serve`; so far its [`Settings`], put together from defaults, a file, the environment and flags.

mod settings;

pub use settings::{Origin, Resolved, Settings, SettingsError};
