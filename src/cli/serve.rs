//! `haq serve`.

use std::{env, path::Path};

use serde_json::{Map, Value, json};

use crate::{
    cli::{
        args::{Global, ServeArgs},
        exit::{Ending, UsageError},
        output,
    },
    service::{Resolved, Settings},
};

pub fn run(global: &Global, args: &ServeArgs) -> anyhow::Result<Ending> {
    let resolved = resolve(args)?;
    if args.print_config {
        print_config(global, &resolved)?;
        return Ok(Ending::Done);
    }
    anyhow::bail!("haq serve does not serve yet; --print-config says what it would do")
}

fn resolve(args: &ServeArgs) -> Result<Resolved, UsageError> {
    let usual = Path::new(Settings::USUAL_FILE);
    let file = args.config.as_deref().or_else(|| usual.exists().then_some(usual));
    // What is not Unicode is refused by the name it then has, not passed over.
    let environment = env::vars_os().map(|(name, value)| {
        (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
    });
    Settings::resolve(file, environment, args.table())
        .map_err(|error| UsageError(error.to_string()))
}

fn print_config(global: &Global, resolved: &Resolved) -> anyhow::Result<()> {
    if !global.json {
        return output::print(&resolved.to_toml());
    }
    let origins: Map<String, Value> = resolved
        .origins
        .iter()
        .map(|(key, origin)| ((*key).to_owned(), origin.to_string().into()))
        .collect();
    output::print_json(&json!({
        "schema": output::SCHEMA,
        "settings": resolved.settings,
        "origins": origins,
    }))
}
