//! A store that speaks as S3 does, of a test's own: the moto package's.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::{
    fs::File,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

#[path = "../python_common/mod.rs"]
mod python_common;

const PACKAGES: [&str; 3] = ["moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5"];

/// Killed when dropped.
pub struct S3Server {
    folder: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl S3Server {
    /// With one bucket, `lab`. None, with a word why, where it cannot be installed.
    pub fn start() -> Option<Self> {
        let python = python_common::python_with("s3-venv", &PACKAGES)?;
        // Somebody may take the port between asking for one and using it.
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let log = File::create(folder.path().join("server.log")).unwrap();
            let mut process = Command::new(&python)
                .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap();
            let started = Instant::now();
            while process.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    let server = Self { folder, port, process };
                    server.make_bucket("lab");
                    return Some(server);
                }
                assert!(started.elapsed() < Duration::from_secs(120), "it does not answer");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        panic!("moto does not start");
    }

    fn make_bucket(&self, name: &str) {
        ureq::put(format!("{}/{name}", self.url())).send_empty().unwrap();
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What the environment has to say.
    pub fn variables(&self) -> Vec<(String, String)> {
        let variables = [
            ("AWS_ENDPOINT_URL", self.url().as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "ann"),
            ("AWS_SECRET_ACCESS_KEY", "p@ss"),
            ("AWS_REGION", "eu-central-1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        variables.into()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
