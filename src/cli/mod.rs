//! The terminal: one subcommand a file, results on stdout, progress and logs on stderr.

mod args;
mod blobs;
mod completions;
mod contest;
mod db;
mod evaluate;
mod exit;
mod export;
mod finetune;
mod fleet;
mod hw;
mod import;
mod job;
mod model;
mod output;
mod pareto;
mod plan_text;
mod plot_file;
mod progress;
mod quantize;
mod queue;
mod remote;
mod report;
mod resume;
mod run_files;
mod runs;
mod search;
mod sensitivity;
mod serve;
mod session;
mod simulate;
mod token;
mod verify;
mod worker;
mod workload;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::args::{Cli, Command};

/// Runs the program with the process's own arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors.
            let code = if error.use_stderr() { exit::USAGE } else { exit::DONE };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    output::set_up_logging(&cli.global);
    let result = match &cli.command {
        Command::Search(args) => search::run(&cli.global, args),
        Command::Resume(args) => resume::run(&cli.global, args),
        Command::Runs(command) => runs::run(&cli.global, command),
        Command::Pareto(args) => pareto::run(&cli.global, args),
        Command::Report(args) => report::run(&cli.global, args),
        Command::Simulate(args) => simulate::run(&cli.global, args),
        Command::Evaluate(args) => evaluate::run(&cli.global, args),
        Command::Quantize(args) => quantize::run(&cli.global, args),
        Command::Sensitivity(args) => sensitivity::run(&cli.global, args),
        Command::Finetune(args) => finetune::run(&cli.global, args),
        Command::Export(args) => export::run(&cli.global, args),
        Command::Import(args) => import::run(&cli.global, args),
        Command::Verify(args) => verify::run(&cli.global, args),
        Command::Model(command) => model::run(&cli.global, command),
        Command::Hw(command) => hw::run(&cli.global, command),
        Command::Db(command) => db::run(&cli.global, command),
        Command::Serve(args) => serve::run(&cli.global, args),
        Command::Fleet(args) => fleet::run(&cli.global, args),
        Command::Worker(args) => worker::run(&cli.global, args),
        Command::Token(command) => token::run(&cli.global, command),
        Command::Job(args) => job::run(&cli.global, args),
        Command::Completions(args) => completions::run(args),
    };
    ExitCode::from(exit::code_of(result))
}
