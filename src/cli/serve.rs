//! `haq serve`.

use std::{env, path::Path, sync::Arc};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use serde_json::{Map, Value, json};

use crate::{
    cli::{
        args::{Global, QueueArgs, ServeArgs},
        exit::{self, Ending, UsageError},
        output,
        queue::Queue,
        session::wait_for_signal,
    },
    runner::fleet::FleetKeeper,
    service::{Fleet, Resolved, Service, Settings},
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
        let fleet = fleet(&settings)?;
        let service = Service::open(settings, global.db.clone(), program, fleet).await?;
        output::note(global, format!("haq serves at http://{}", service.address()?));
        service.run(asked_to_stop()).await?;
        anyhow::Ok(())
    })?;
    Ok(Ending::Done)
}

/// The fleet of the setting `queue`; what else its queue wants to know is in the environment, as it
/// is for the searches.
fn fleet(settings: &Settings) -> anyhow::Result<Option<Fleet>> {
    if settings.queue.is_empty() {
        return Ok(None);
    }
    let args = QueueArgs::of_environment(&settings.queue)?;
    let place = settings.queue.clone();
    Ok(Some(Fleet::new(Box::new(move || {
        let (place, args) = (place.clone(), args.clone());
        async move {
            let queue = Queue::open(&place, &args).await.map_err(|error| format!("{error:#}"))?;
            Ok(match queue {
                Queue::Local { queue, .. } => Arc::new(queue) as Arc<dyn FleetKeeper>,
                Queue::JetStream(queue) => Arc::new(queue),
            })
        }
        .boxed()
    }))))
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
