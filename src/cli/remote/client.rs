//! HTTP to a service, as far as the terminal needs it.

use std::{fs::File, io, path::Path, time::Duration};

use anyhow::Context as _;
use serde_json::Value;
use ureq::{Agent, Body, RequestBuilder, SendBody, http::Response};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long an answer may take; a submission is planned before it is answered.
const ANSWER: Duration = Duration::from_secs(120);

/// Largest answer, bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// One service.
pub struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

/// Why the service did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{url}: {source}")]
    Connection { url: String, source: Box<ureq::Error> },
    #[error("the service at {url} answers {status}: {detail}")]
    Refused { url: String, status: u16, detail: String },
    #[error("{url}: the answer is not JSON: {reason}")]
    Answer { url: String, reason: String },
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
}

impl ClientError {
    /// Whether asking again later may help.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connection { .. } => true,
            Self::Refused { status, .. } => matches!(status, 429 | 502 | 503 | 504),
            _ => false,
        }
    }
}

impl Client {
    pub fn new(server: &str, token: Option<String>) -> anyhow::Result<Self> {
        let base = server.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            anyhow::bail!("--server {server}: an address begins with http:// or https://");
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .user_agent(concat!("haq/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: config.into(), base: format!("{base}/api/v1"), token })
    }

    pub fn get(&self, path: &str) -> Result<Value, ClientError> {
        let url = format!("{}/{path}", self.base);
        let answer = self.with_token(self.agent.get(&url)).call();
        read(url, answer)
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        let url = format!("{}/{path}", self.base);
        let text = body.to_string();
        let request = self.with_token(self.agent.post(&url));
        let answer = request.header("content-type", "application/json").send(text.as_bytes());
        read(url, answer)
    }

    pub fn put(&self, path: &str, body: &[u8]) -> Result<Value, ClientError> {
        let url = format!("{}/{path}", self.base);
        let answer = self.with_token(self.agent.put(&url)).send(body);
        read(url, answer)
    }

    /// Sends a file to `models` or `data`; gives the name it then has there.
    pub fn upload(&self, to: &str, file: &Path) -> anyhow::Result<String> {
        let shown = file.display().to_string();
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{shown}: the name is not plain text"))?;
        let url = format!("{}/{to}", self.base);
        let opened = || -> io::Result<(File, u64)> {
            let opened = File::open(file)?;
            let bytes = opened.metadata()?.len();
            Ok((opened, bytes))
        };
        let (opened, bytes) =
            opened().map_err(|source| ClientError::File { path: shown, source })?;
        let request = self.with_token(self.agent.post(&url)).query("name", name);
        let answer = request
            .header("content-type", "application/octet-stream")
            .header("content-length", bytes.to_string())
            .send(SendBody::from_owned_reader(opened));
        let answer = read(url, answer)?;
        let id = answer["id"].as_str().context("the service named no file")?;
        Ok(id.to_owned())
    }

    fn with_token<T>(&self, request: RequestBuilder<T>) -> RequestBuilder<T> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }
}

fn read(url: String, answer: Result<Response<Body>, ureq::Error>) -> Result<Value, ClientError> {
    let connection =
        |source| ClientError::Connection { url: url.clone(), source: Box::new(source) };
    let mut answer = answer.map_err(connection)?;
    let status = answer.status();
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    let body = body.map_err(connection)?;
    if status.is_success() {
        if body.is_empty() {
            return Ok(Value::Null);
        }
        let parsed = serde_json::from_slice(&body);
        return parsed
            .map_err(|error| ClientError::Answer { url: url.clone(), reason: error.to_string() });
    }
    let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("it says no more").to_owned();
    Err(ClientError::Refused { url, status: status.as_u16(), detail })
}
