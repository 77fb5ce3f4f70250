//! `haq completions SHELL`.

use std::io::Write as _;

use clap::CommandFactory as _;

use crate::cli::{
    args::{Cli, CompletionsArgs},
    exit::Ending,
};

pub fn run(args: &CompletionsArgs) -> anyhow::Result<Ending> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "haq", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(Ending::Done)
}
