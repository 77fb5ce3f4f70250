//! A service in a temporary folder, and how tests talk to it.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::{Agent, http};

/// Long enough for a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A small search of the embedded network, as options of a submission.
pub fn small_search(seed: u64) -> Value {
    json!({
        "profile": "bismo-edge", "budget": ["latency=0.5"], "episodes": 30, "seed": seed,
        "calibration": 64, "search_images": 64, "images": 64,
    })
}

/// The same as options of `haq search`.
pub fn small_search_arguments(seed: &str) -> Vec<&str> {
    let mut arguments = vec!["search", "--hw", "bismo-edge", "--budget", "latency=0.5"];
    arguments.extend(["--episodes", "30", "--calibration", "64", "--search-images", "64"]);
    arguments.extend(["--images", "64", "--quiet", "--seed", seed]);
    arguments
}

pub struct Server {
    child: Child,
    pub url: String,
    pub folder: TempDir,
    agent: Agent,
    arguments: Vec<String>,
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The answer, which has to have this status.
    pub fn expect(self, status: u16) -> Value {
        let body = String::from_utf8_lossy(&self.body).into_owned();
        assert_eq!(self.status, status, "{}", body.chars().take(500).collect::<String>());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }
}

impl Server {
    pub fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self::start_in(folder, arguments)
    }

    pub fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let (child, url) = launch(folder.path(), &arguments);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .allow_non_standard_methods(true)
            .build();
        Self { child, url, folder, agent: config.into(), arguments }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("the service runs");
        self.child.wait().expect("a killed process ends");
    }

    /// Sends a signal, and gives the code it ends with.
    pub fn terminate(&mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(&id).status().expect("kill is there").success());
        self.child.wait().expect("a terminated process ends").code()
    }

    /// Starts again what was killed or ended.
    pub fn restart(&mut self) {
        (self.child, self.url) = launch(self.folder.path(), &self.arguments);
    }

    /// `haq` in the same folder, on the same database.
    pub fn haq(&self, arguments: &[&str]) -> Command {
        haq(self.path(), arguments)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], &[])
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let body = body.to_string();
        self.send("POST", path, &[("content-type", "application/json")], body.as_bytes())
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let address =
            if path.starts_with('/') { format!("{}{path}", self.url) } else { path.to_owned() };
        let mut request = http::Request::builder().method(method).uri(address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("the request is well formed");
        let mut answer =
            self.agent.run(request).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let body = answer.body_mut().with_config().limit(1 << 28).read_to_vec();
        Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: body.expect("the body can be read"),
        }
    }

    /// Hands in a search, and gives its number.
    pub fn submit(&self, submission: &Value) -> i64 {
        self.post("/api/v1/searches", submission).expect(201)["id"].as_i64().unwrap()
    }

    pub fn search(&self, id: i64) -> Value {
        self.get(&format!("/api/v1/searches/{id}")).expect(200)
    }

    /// Waits until the search is in this state; it must not fail before.
    pub fn wait_for(&self, id: i64, state: &str) -> Value {
        self.wait_until(id, |found| {
            assert!(found["state"] == state || found["state"] != "failed", "{found}");
            found["state"] == state
        })
    }

    pub fn wait_until(&self, id: i64, mut holds: impl FnMut(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let found = self.search(id);
            if holds(&found) {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "search {id} stays {}", found["state"]);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a run that was not handed in has so many episodes.
    pub fn wait_until_listed(&self, id: i64, n_episodes: u64) {
        let began = Instant::now();
        while self.get(&format!("/api/v1/searches/{id}")).status != 200 {
            assert!(began.elapsed() < PATIENCE, "there is no search {id}");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.wait_until(id, |found| found["episodes"].as_u64() >= Some(n_episodes));
    }

    /// What is equal for equal seeds: policy, quality and cost of every episode.
    pub fn episodes(&self, id: i64) -> Vec<Value> {
        let found = self.get(&format!("/api/v1/searches/{id}/episodes?limit=1000")).expect(200);
        let mut episodes = found["episodes"].as_array().unwrap().clone();
        for episode in &mut episodes {
            episode.as_object_mut().unwrap().remove("wall_s");
        }
        episodes
    }

    /// Reads a stream of events until `ends` says so: name, number and data of each.
    pub fn events(
        &self,
        path: &str,
        after: Option<i64>,
        mut ends: impl FnMut(&(String, i64, Value)) -> bool,
    ) -> Vec<(String, i64, Value)> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(after) = after {
            request = request.header("last-event-id", after.to_string());
        }
        let mut answer = request.call().expect("the stream opens");
        assert_eq!(answer.status().as_u16(), 200);
        let reader = BufReader::new(answer.body_mut().as_reader());
        let (mut events, mut name, mut id, mut data) = (Vec::new(), String::new(), 0, Value::Null);
        for line in reader.lines() {
            let line = line.expect("the stream can be read");
            match line.split_once(':') {
                Some(("event", rest)) => name = rest.trim().to_owned(),
                Some(("id", rest)) => id = rest.trim().parse().unwrap(),
                Some(("data", rest)) => data = serde_json::from_str(rest).unwrap(),
                _ if line.is_empty() && !name.is_empty() => {
                    let event = (std::mem::take(&mut name), id, data.take());
                    let is_last = ends(&event);
                    events.push(event);
                    if is_last {
                        return events;
                    }
                }
                _ => {}
            }
        }
        panic!("the stream ended after {} events", events.len());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `haq` in a folder with nothing of the caller's environment.
pub fn haq(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_haq"));
    command.current_dir(folder).args(arguments).env("NO_COLOR", "1");
    for variable in ["HAQ_DB", "HAQ_SERVER", "HAQ_TOKEN"] {
        command.env_remove(variable);
    }
    command
}

#[allow(clippy::zombie_processes, reason = "a `Server` waits for it when it is dropped")]
fn launch(folder: &Path, arguments: &[String]) -> (Child, String) {
    // Whole, so that tests can tell its processes from those of others.
    let database = folder.join("haq.db").display().to_string();
    let mut command = haq(folder, &["serve", "--listen", "127.0.0.1:0", "--threads", "1"]);
    if !arguments.iter().any(|argument| argument == "--db") {
        command.args(["--db", &database]);
    }
    let mut child = command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built");
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut said = String::new();
    loop {
        let mut line = String::new();
        if stderr.read_line(&mut line).expect("stderr is text") == 0 {
            let status = child.wait().expect("it ended");
            panic!("the service ended with {status}: {said}");
        }
        if let Some((_, url)) = line.split_once("haq serves at ") {
            let url = url.trim().to_owned();
            // What it says later must not fill the pipe.
            std::thread::spawn(move || {
                let _ = stderr.read_to_end(&mut Vec::new());
            });
            return (child, url);
        }
        said += &line;
    }
}
