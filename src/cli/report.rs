//! `haq report`.

use std::path::PathBuf;

use serde_json::json;

use crate::{
    cli::{
        args::{Global, ReportArgs},
        exit::Ending,
        output,
        session::read_store,
    },
    report, runner,
};

pub fn run(global: &Global, args: &ReportArgs) -> anyhow::Result<Ending> {
    let store = read_store(global)?;
    let view = runner::view(&store, args.run)?;
    let path = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("run-{}.html", args.run)));
    report::write_page(&view, &path)?;
    if global.json {
        output::print_json(&json!({"schema": output::SCHEMA, "run": args.run, "file": path}))?;
    } else {
        output::print(&path.display().to_string())?;
    }
    Ok(Ending::Done)
}
