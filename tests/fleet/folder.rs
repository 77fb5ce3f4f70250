//! A folder with searches and workers in it.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// Long enough for several rounds, and each policy quick.
pub const SEARCH: &[&str] = &[
    "search",
    "--hw",
    "bismo-edge",
    "--budget",
    "latency=0.5",
    "--calibration",
    "64",
    "--search-images",
    "256",
    "--images",
    "64",
    "--seed",
    "7",
    "--episodes",
    "24",
    "--round",
    "6",
    "--threads",
    "1",
];

pub struct Folder {
    folder: tempfile::TempDir,
    /// Of every command's environment.
    variables: Vec<(String, String)>,
}

impl Folder {
    pub fn new() -> Self {
        Self::with(Vec::new())
    }

    /// - `variables`: of every command's environment
    pub fn with(variables: Vec<(String, String)>) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), variables }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `haq` with these arguments, here, with nothing of the caller's environment.
    pub fn haq(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_haq"));
        command.current_dir(self.path()).args(arguments).env("NO_COLOR", "1");
        for name in ["HAQ_DB", "HAQ_QUEUE", "HAQ_BLOBS", "HAQ_LOG", "HAQ_CACHE"] {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().cloned());
        command
    }

    /// The one JSON object that a command prints, which has to end well; and what it said beside.
    pub fn json(&self, arguments: &[&str]) -> (Value, String) {
        let output = self.haq(arguments).arg("--json").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}");
        (serde_json::from_slice(&output.stdout).unwrap(), said)
    }

    /// Policy, quality and cost of every episode: all that does not hang on the clock, nor on who
    /// judged.
    pub fn episodes(&self, run: i64) -> Vec<Value> {
        let (shown, _) = self.json(&["runs", "show", &run.to_string()]);
        let episodes = shown["episodes"].as_array().unwrap().clone();
        let timeless = |mut episode: Value| {
            for name in ["wall_s", "judged_by"] {
                episode.as_object_mut().unwrap().remove(name);
            }
            episode
        };
        episodes.into_iter().map(timeless).collect()
    }

    /// How many episodes a run has, 0 before there is one.
    pub fn n_episodes(&self, run: &str) -> u64 {
        let output = self.haq(&["runs", "show", run, "--json"]).output().unwrap();
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        shown["episodes"].as_array().map_or(0, |episodes| episodes.len() as u64)
    }

    /// `haq serve` on a free port.
    pub fn service(&self, arguments: &[&str]) -> Service {
        let mut command = self.haq(&["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command.args(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let url = first.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.unwrap_or_else(|| panic!("{first}")).to_owned();
        // A pipe that nobody reads would hold the service up.
        std::thread::spawn(move || lines.for_each(drop));
        Service { child, url }
    }

    pub fn worker(&self, queue: &str, name: &str) -> Worker {
        self.start_worker(self.haq(&[]), queue, name, &[])
    }

    /// - `haq`: the program, as this worker is to be started
    pub fn start_worker(
        &self,
        mut haq: Command,
        queue: &str,
        name: &str,
        options: &[&str],
    ) -> Worker {
        let cache = Self::cache(name);
        haq.args(["worker", "--queue", queue, "--name", name, "--cache", &cache]);
        haq.args(["--threads", "1"]).args(options);
        Worker { child: Some(haq.stderr(Stdio::piped()).spawn().unwrap()) }
    }

    /// Where a worker of this name keeps what it fetches, in this folder.
    pub fn cache(name: &str) -> String {
        format!("cache-{name}")
    }

    /// A search in the background.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.haq(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// What `haq fleet` shows of a queue; null where it cannot.
    pub fn fleet(&self, queue: &str) -> Value {
        let output = self.haq(&["fleet", "--queue", queue, "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }
}

/// A worker process; killed when dropped.
pub struct Worker {
    child: Option<Child>,
}

impl Worker {
    /// As `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to end after the task in work; what it said at last.
    pub fn end(mut self) -> String {
        let child = self.child.take().unwrap();
        terminate(&child);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        said
    }
}

/// What a worker that ended said that it did.
#[derive(Debug, PartialEq)]
pub struct Worked {
    pub n_answered: u64,
    pub n_late: u64,
    pub n_given_back: u64,
    /// With one decimal.
    pub moved_mb: f64,
}

impl Worked {
    pub fn parse(said: &str) -> Self {
        let last = said.lines().find(|line| line.contains(" answered ")).unwrap();
        let words = last.split([' ', ',', ';']);
        let mut numbers = words.skip_while(|word| *word != "answered");
        let mut next = || numbers.find_map(|word| word.parse::<f64>().ok()).unwrap();
        let [n_answered, n_late, n_given_back] = [next() as u64, next() as u64, next() as u64];
        Self { n_answered, n_late, n_given_back, moved_mb: next() }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A service; told to end when dropped.
pub struct Service {
    child: Child,
    pub url: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        terminate(&self.child);
        let _ = self.child.wait();
    }
}

/// As `kill` does without a number.
pub fn terminate(child: &Child) {
    let status = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(status.success());
}

/// Asks again and again; a test that waits for longer than a minute has failed.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(120), "{what} does not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}
