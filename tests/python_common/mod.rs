//! A Python of our own with the packages that a test compares with.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Makes a virtual environment, once, and installs packages. Says so and returns none where that
/// cannot be done; where `CI` is set it has to be.
///
/// - `name`: of the environment's folder
pub fn python_with(name: &str, packages: &[&str]) -> Option<PathBuf> {
    // Tests inside the library are not told of this folder.
    let folder = option_env!("CARGO_TARGET_TMPDIR");
    let folder = folder.unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tmp"));
    let venv = Path::new(folder).join(name);
    let python = venv.join("bin").join("python");
    let done = venv.join("installed");
    let wanted = packages.join(" ");
    if std::fs::read_to_string(&done).is_ok_and(|found| found == wanted) {
        return Some(python);
    }
    let run = |command: &mut Command| command.status().is_ok_and(|status| status.success());
    let is_installed = run(Command::new("python3").args(["-m", "venv"]).arg(&venv))
        && run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages));
    if !is_installed {
        assert!(std::env::var_os("CI").is_none(), "python3 could not install {wanted}");
        eprintln!("skipped: python3 could not install {wanted}");
        return None;
    }
    std::fs::write(&done, wanted).expect("the folder can be written to");
    Some(python)
}
