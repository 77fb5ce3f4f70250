//! Requests to a bucket, over the HTTP client that this program has already.

use std::{fs, io, net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use object_store::{
    ClientConfigKey, ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    },
};
use ureq::{
    Agent, AsSendBody, Body, Timeout,
    config::AutoHeaderValue,
    http::{Request, Response},
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

use crate::queue::PART_BYTES;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long one request may take with all that it moves: a part at a megabit a second.
const EXCHANGE: Duration = Duration::from_secs(90);

/// Largest answer: a part that is longer than it may be, or a page of a list.
const ANSWER_BYTES_MAX: u64 = 2 * PART_BYTES;

/// Makes clients for one store.
#[derive(Debug)]
pub(super) struct Connector {
    /// None for those that browsers trust.
    roots: Option<RootCerts>,
}

impl Connector {
    /// - `roots_file`: PEM
    ///
    /// # Errors
    /// In words, when it holds no certificates.
    pub fn new(roots_file: Option<&str>) -> Result<Self, String> {
        let Some(path) = roots_file else { return Ok(Self { roots: None }) };
        let text = fs::read(path).map_err(|error| format!("AWS_CA_BUNDLE: {path}: {error}"))?;
        let certificate = |item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        };
        let roots: Vec<Certificate> = parse_pem(&text).filter_map(certificate).collect();
        match roots.is_empty() {
            true => Err(format!("AWS_CA_BUNDLE: {path} has no certificate in it (PEM)")),
            false => Ok(Self { roots: Some(RootCerts::new_with_certs(&roots)) }),
        }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allows_http = options.get_config_value(&ClientConfigKey::AllowHttp);
        let mut tls = TlsConfig::builder();
        if let Some(roots) = &self.roots {
            tls = tls.root_certs(roots.clone());
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(allows_http.as_deref() != Some("true"))
            // A signature is for one address.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .accept_encoding(AutoHeaderValue::None)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(EXCHANGE))
            .tls_config(tls.build())
            .build();
        Ok(HttpClient::new(Exchange { agent: config.into() }))
    }
}

#[derive(Debug)]
struct Exchange {
    agent: Agent,
}

impl HttpService for Exchange {
    fn call<'s, 'f>(
        &'s self,
        request: HttpRequest,
    ) -> BoxFuture<'f, Result<HttpResponse, HttpError>>
    where
        's: 'f,
        Self: 'f,
    {
        let agent = self.agent.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let request = Request::from_parts(head, body.collect().await?.to_bytes());
            let answer = tokio::task::spawn_blocking(move || exchange(&agent, request)).await;
            answer.unwrap_or_else(|error| Err(HttpError::new(HttpErrorKind::Unknown, error)))
        })
    }
}

fn exchange(agent: &Agent, request: Request<Bytes>) -> Result<HttpResponse, HttpError> {
    let (head, body) = request.into_parts();
    let answer = match body.is_empty() {
        true => run(agent, Request::from_parts(head, ())),
        false => run(agent, Request::from_parts(head, &body[..])),
    };
    let (head, mut body) = answer.map_err(told)?.into_parts();
    let bytes = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(told)?;
    Ok(Response::from_parts(head, bytes.into()))
}

/// Through the proxy that the environment names, if any; but a machine asks for its own role itself.
fn run(agent: &Agent, request: Request<impl AsSendBody>) -> Result<Response<Body>, ureq::Error> {
    match request.uri().host().is_some_and(is_own_machine) {
        true => agent.run(agent.configure_request(request).proxy(None).build()),
        false => agent.run(request),
    }
}

/// Whether these are the addresses at which clouds tell their machines who they are.
fn is_own_machine(host: &str) -> bool {
    host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_link_local())
}

/// Which failures a next try may not have.
fn told(error: ureq::Error) -> HttpError {
    let kind = match &error {
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => HttpErrorKind::Connect,
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::Io(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => HttpErrorKind::Connect,
            io::ErrorKind::TimedOut => HttpErrorKind::Timeout,
            _ => HttpErrorKind::Interrupted,
        },
        ureq::Error::BodyExceedsLimit(_) => HttpErrorKind::Decode,
        ureq::Error::RequireHttpsOnly(_) => {
            let reason = "its address is not https://; set AWS_ALLOW_HTTP=true if that is meant";
            return HttpError::new(HttpErrorKind::Unknown, io::Error::other(reason));
        }
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}
