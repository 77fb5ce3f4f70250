//! The `haq` program: parse, dispatch, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    haq::network::keep_freed_memory();
    haq::network::use_one_thread_per_operation();
    haq::cli::main()
}
