//! A temporary folder to run `haq` in.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder can be made"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// `haq` with these arguments, run here, with nothing of the caller's environment.
    pub fn haq(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("haq").expect("the program was built");
        command.current_dir(self.path()).args(arguments).env_remove("HAQ_DB").env("NO_COLOR", "1");
        command
    }

    /// What `haq ARGUMENTS --json` prints, which has to end well.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.haq(arguments).arg("--json").assert().success().get_output().clone();
        serde_json::from_slice(&output.stdout).expect("one JSON object is printed")
    }

    /// The message and exit code of a command that has to fail.
    pub fn failure(&self, arguments: &[&str]) -> (String, i32) {
        let output = self.haq(arguments).assert().failure().get_output().clone();
        let message = String::from_utf8(output.stderr).expect("messages are text");
        assert!(!message.contains("panicked"), "{message}");
        (message, output.status.code().expect("the program ended by itself"))
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("the folder is writable");
        path
    }
}

/// A small search of the embedded network: enough episodes for the agent to leave its warm-up.
pub const SMALL_SEARCH: &[&str] = &[
    "search", "--hw", "bismo-edge", "--budget", "latency=0.5", "--episodes", "30",
    "--calibration", "64", "--search-images", "64", "--images", "64", "--seed", "7", "--quiet",
];

/// Policy, quality and cost of every episode: what has to be equal for equal seeds.
pub fn episodes(folder: &Folder, run: i64) -> Vec<Value> {
    let shown = folder.json(&["runs", "show", &run.to_string()]);
    let episodes = shown["episodes"].as_array().expect("a run has episodes").clone();
    episodes
        .into_iter()
        .map(|mut episode| {
            episode.as_object_mut().expect("an episode is an object").remove("wall_s");
            episode
        })
        .collect()
}
