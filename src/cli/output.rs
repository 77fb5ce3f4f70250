//! Printing: results to stdout, everything else to stderr.

use std::io::{IsTerminal as _, Write as _};

use comfy_table::{CellAlignment, ContentArrangement, Table, TableStyle};
use serde::Serialize;

use crate::{
    cli::args::{Global, LogFormat},
    report::Look,
};

/// Version of every JSON object printed.
pub const SCHEMA: u32 = 1;

/// Starts logging to stderr. An unreadable level falls back to warnings, and says so.
pub fn set_up_logging(global: &Global) {
    use tracing_subscriber::EnvFilter;
    let (filter, problem) = match EnvFilter::try_new(&global.log) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("warn"), Some(error)),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match global.log_format {
        LogFormat::Text => builder.with_ansi(colours_allowed(&std::io::stderr())).init(),
        LogFormat::Json => builder.json().init(),
    }
    if let Some(error) = problem {
        tracing::warn!(level = %global.log, %error, "the log level is not one; warnings are shown");
    }
}

/// Whether colours may be used: on a terminal, and not where `NO_COLOR` is set.
pub fn colours_allowed(stream: &impl std::io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn colour_stdout() -> bool {
    colours_allowed(&std::io::stdout())
}

/// Prints a text and a line end to stdout.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.trim_end_matches('\n').as_bytes())?;
    stdout.write_all(b"\n")?;
    Ok(())
}

/// Prints one JSON object, indented on a terminal and on one line elsewhere.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let text = if std::io::stdout().is_terminal() {
        serde_json::to_string_pretty(value)?
    } else {
        serde_json::to_string(value)?
    };
    print(&text)
}

/// A table without lines, as wide as the terminal; the named columns are numbers.
pub fn plain_table(header: &[&str], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.to_vec());
    for &column in numbers {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// How the tables of a report are printed here.
pub fn look() -> Look {
    let width = console_width();
    Look { colour: colour_stdout(), width }
}

/// Columns of the terminal; none where stdout is no terminal.
fn console_width() -> Option<u16> {
    std::io::stdout().is_terminal().then(|| Table::new().width()).flatten()
}

/// A line on stderr, whatever `--quiet` says.
pub fn print_line_to_stderr(text: &str) {
    // A closed stderr is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A note to the user on stderr, unless `--quiet`.
pub fn note(global: &Global, text: impl std::fmt::Display) {
    if !global.quiet {
        print_line_to_stderr(&text.to_string());
    }
}

/// The error with its causes, each once, on stderr.
pub fn print_error(error: &anyhow::Error) {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Transparent wrappers repeat what they wrap.
        if !text.ends_with(&cause) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&cause);
        }
    }
    print_line_to_stderr(&format!("haq: {text}"));
}
