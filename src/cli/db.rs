//! `haq db backup|check|vacuum`.

use serde::Serialize;
use serde_json::json;

use crate::{
    cli::{
        args::{DbBackupArgs, DbCommand, Global},
        exit::Ending,
        output,
        session::open_store,
    },
    domain::{CostKind, show_cost},
    store::{BlockingStore, DatabaseCheck, StoreError},
};

pub fn run(global: &Global, command: &DbCommand) -> anyhow::Result<Ending> {
    match command {
        DbCommand::Backup(args) => backup(global, args)?,
        DbCommand::Check => check(global)?,
        DbCommand::Vacuum => vacuum(global)?,
    }
    Ok(Ending::Done)
}

fn backup(global: &Global, args: &DbBackupArgs) -> anyhow::Result<()> {
    let store = BlockingStore::open_as_found(&global.db)?;
    let made = store.back_up(&args.target, args.force)?;
    if global.json {
        return print_object(&made);
    }
    let (size, wall_s) = (show_bytes(made.size_bytes), made.wall_s);
    output::print(&format!("{}: {size} in {wall_s:.2} s", made.path.display()))
}

/// # Errors
/// When the database is damaged, after what was found has been printed.
fn check(global: &Global) -> anyhow::Result<()> {
    let path = &global.db;
    let found = BlockingStore::check(path)?;
    if global.json {
        print_object(&json!({
            "path": path,
            "is_sound": found.is_sound(),
            "problems": found.problems,
            "schema_version": found.schema_version,
            "schema_latest": found.schema_latest,
            "runs": found.runs,
            "episodes": found.episodes,
        }))?;
    } else {
        output::print(&format!("{}: {}", path.display(), describe(&found)))?;
    }
    match found.problems.as_slice() {
        [] => Ok(()),
        [only] => Err(StoreError::Corrupt { path: path.clone(), detail: only.clone() }.into()),
        [first, others @ ..] => {
            let detail = format!("{first}, and {} more", others.len());
            Err(StoreError::Corrupt { path: path.clone(), detail }.into())
        }
    }
}

fn describe(found: &DatabaseCheck) -> String {
    let mut text = if found.is_sound() { "sound".to_owned() } else { "damaged".to_owned() };
    if let Some(version) = found.schema_version {
        text += &format!("\n  schema {version}");
        if version < found.schema_latest {
            text += &format!("; the next search upgrades it to {}", found.schema_latest);
        }
    }
    for (name, count) in [("runs", found.runs), ("episodes", found.episodes)] {
        if let Some(count) = count {
            text += &format!("\n  {name} {count}");
        }
    }
    for problem in &found.problems {
        text += &format!("\n  {problem}");
    }
    text
}

fn vacuum(global: &Global) -> anyhow::Result<()> {
    if !global.db.exists() {
        return Err(StoreError::Missing { path: global.db.clone() }.into());
    }
    let store = open_store(global)?;
    let done = store.vacuum()?;
    if done.log_bytes > 0 {
        output::note(
            global,
            format!(
                "another process still reads what was there: {} stay in the log until it is done",
                show_bytes(done.log_bytes)
            ),
        );
    }
    if global.json {
        return print_object(&done);
    }
    output::print(&format!(
        "{}: {} before, {} after, in {:.2} s",
        store.path().display(),
        show_bytes(done.before_bytes),
        show_bytes(done.after_bytes),
        done.wall_s
    ))
}

fn show_bytes(size_bytes: u64) -> String {
    show_cost(CostKind::Size, size_bytes as f64)
}

/// One object with the version of what is printed in front.
fn print_object(fields: &impl Serialize) -> anyhow::Result<()> {
    let mut object = json!({"schema": output::SCHEMA});
    if let (Some(object), serde_json::Value::Object(fields)) =
        (object.as_object_mut(), serde_json::to_value(fields)?)
    {
        object.extend(fields);
    }
    output::print_json(&object)
}
