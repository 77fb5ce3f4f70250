//! A NATS server of a test's own, which can be killed and come back with its disk or without.

#![allow(dead_code, reason = "not every test uses all of it")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::{
    io::Read,
    net::{TcpListener, TcpStream},
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const PROGRAM_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/bin"];

/// From 32768 on, Linux gives ports to outgoing connections.
const BELOW_THE_SYSTEMS: Range<u16> = 15_000..32_000;

/// Killed when dropped.
pub struct NatsServer {
    folder: tempfile::TempDir,
    host: String,
    port: u16,
    options: Vec<String>,
    process: Child,
}

impl NatsServer {
    /// A server with JetStream on a free port of this machine. None, with a word why, where no
    /// `nats-server` is installed; in CI that fails.
    pub fn start() -> Option<Self> {
        Self::start_with(&["-js"])
    }

    /// The same with other options.
    pub fn start_with(options: &[&str]) -> Option<Self> {
        Self::start_at("127.0.0.1", options)
    }

    /// The same at another address of this machine.
    pub fn start_at(host: &str, options: &[&str]) -> Option<Self> {
        let program = program()?;
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let mut log = String::new();
        // Somebody may take the port between asking for one and using it.
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let port = free_port();
            if let Some(process) = launch(&program, folder.path(), (host, port), &options) {
                return Some(Self { folder, host: host.to_owned(), port, options, process });
            }
            log = std::fs::read_to_string(folder.path().join("server.log")).unwrap_or_default();
        }
        panic!("nats-server does not start: {log}");
    }

    pub fn url(&self) -> String {
        format!("nats://{}:{}", self.host, self.port)
    }

    /// Address of one fleet on this server.
    pub fn fleet(&self, name: &str) -> String {
        format!("{}/{name}", self.url())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// As `kill -9` does: nothing is written any more.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Kills it, unless it is dead already, and starts it on what it had written.
    pub fn restart_same_disk(&mut self) {
        self.kill();
        let program = program().expect("it was there before");
        let started = Instant::now();
        loop {
            let place = (self.host.as_str(), self.port);
            match launch(&program, self.folder.path(), place, &self.options) {
                Some(process) => break self.process = process,
                None => {
                    assert!(started.elapsed() < Duration::from_secs(30), "it does not come back")
                }
            }
        }
    }

    /// Kills it, and starts one at the same address that knows nothing.
    pub fn restart_empty(&mut self) {
        self.kill();
        self.folder = tempfile::tempdir().unwrap();
        self.restart_same_disk();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(PROGRAM_FOLDERS.map(PathBuf::from));
    let found = folders.map(|folder| folder.join("nats-server")).find(|file| file.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI needs nats-server; .ci/run installs it");
        eprintln!("skipped: no nats-server is installed");
    }
    found
}

/// Nobody uses it at the moment, and no connection gets it from the system while its server is away.
pub fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut candidates = std::iter::repeat_with(|| rand::random_range(BELOW_THE_SYSTEMS));
    candidates.find(is_free).expect("it goes on for ever")
}

/// None where it ended at once, as it does when another has the port.
fn launch(
    program: &Path,
    folder: &Path,
    (host, port): (&str, u16),
    options: &[String],
) -> Option<Child> {
    let log = std::fs::File::create(folder.join("server.log")).unwrap();
    let mut process = Command::new(program)
        .args(["-a", host, "-p", &port.to_string(), "-sd"])
        .arg(folder)
        .args(options)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        if process.try_wait().unwrap().is_some() {
            return None;
        }
        if greets(host, port) {
            return Some(process);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = process.kill();
    let _ = process.wait();
    None
}

/// Whether a NATS server sends its first word there.
fn greets(host: &str, port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((host, port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let mut word = [0; 4];
    stream.read_exact(&mut word).is_ok() && word == *b"INFO"
}
