//! `haq serve`.

use std::{env, path::Path};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::{
    cli::{
        args::{Global, ServeArgs},
        exit::{self, Ending, UsageError},
        output,
        session::wait_for_signal,
    },
    service::{Resolved, Service, Settings},
};

pub fn run(global: &Global, args: &ServeArgs) -> anyhow::Result<Ending> {
    let resolved = resolve(args)?;
    if args.print_config {
        print_config(global, &resolved)?;
        return Ok(Ending::Done);
    }
    let program = env::current_exe().context("the path of this program")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let settings = resolved.settings;
        let service = Service::open(settings, global.db.clone(), program).await?;
        output::note(global, format!("haq serves at http://{}", service.address()?));
        service.run(asked_to_stop()).await?;
        anyhow::Ok(())
    })?;
    Ok(Ending::Done)
}

/// Returns at the first Ctrl-C or termination signal; a second one ends the process.
async fn asked_to_stop() {
    if wait_for_signal().await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::spawn(async {
        if wait_for_signal().await.is_ok() {
            std::process::exit(exit::INTERRUPTED.into());
        }
    });
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
