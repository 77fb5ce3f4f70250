//! What every request passes before anything answers it: host, origin, rate, caller.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::service::{
    access::{COOKIE, Caller, LOCAL},
    pages,
    problem::Problem,
    state::{App, Peer},
};

/// Requests of each client within a time.
#[derive(Debug)]
pub struct Rates(DefaultKeyedRateLimiter<String>);

impl Rates {
    /// - `per_s`: requests a second in the long run
    /// - `burst`: requests at once
    pub fn new(per_s: u32, burst: u32) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self(RateLimiter::keyed(
            Quota::per_second(at_least_one(per_s)).allow_burst(at_least_one(burst)),
        ))
    }

    fn check(&self, client: String) -> Result<(), Problem> {
        if self.0.check_key(&client).is_ok() {
            return Ok(());
        }
        let told = "too many requests from one client; wait a moment";
        Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, told).retry_after(1))
    }

    /// Forgets clients that have been quiet.
    pub fn forget_quiet(&self) {
        self.0.retain_recent();
    }
}

/// Lets a request through to its handler, with its [`Caller`], or answers why not.
pub async fn guard(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let wants_page = wants_page(request.uri().path());
    let peer = request.extensions().get::<Peer>().copied();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    match admit(&app, peer, &method, &path, request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        // A browser is shown where to give its token.
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED && wants_page => {
            pages::to_login(request.uri())
        }
        Err(problem) if wants_page => pages::problem_page(&problem),
        Err(problem) => problem.into_response(),
    }
}

async fn admit(
    app: &App,
    peer: Option<Peer>,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<Caller, Problem> {
    check_host(app, headers)?;
    let is_safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if !is_safe {
        check_origin(headers)?;
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        let told = "bodies are taken as they are, not compressed";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, told));
    }
    let machine = || peer.map_or_else(String::new, |Peer(address)| client(address.ip()));
    if is_open(path) {
        app.rates.check(machine())?;
        return Ok(Caller {
            name: String::new(),
            scope: crate::store::Scope::Read,
            by_cookie: false,
        });
    }
    // Behind a proxy all come from one machine: who has a token is told by that.
    let caller = match app.access.caller(&app.store, headers).await {
        Ok(caller) if caller.name == LOCAL => app.rates.check(machine()).map(|()| caller)?,
        Ok(caller) => app.rates.check(format!("token {}", caller.name)).map(|()| caller)?,
        Err(problem) => {
            app.rates.check(machine())?;
            return Err(problem);
        }
    };
    if !is_safe {
        caller.may_write()?;
    }
    Ok(caller)
}

/// One machine: of an IPv6 address its network, for a machine has as many as it likes.
fn client(address: IpAddr) -> String {
    match address {
        IpAddr::V6(address) => format!("{:?}", &address.segments()[..4]),
        IpAddr::V4(address) => address.to_string(),
    }
}

/// Answered to anybody: that the service lives, and the way in.
fn is_open(path: &str) -> bool {
    matches!(path, "/api/v1/health" | "/api/v1/ready" | "/login" | "/logout")
        || path.starts_with("/assets/")
}

/// Whether a person looks at what is answered there.
pub fn wants_page(path: &str) -> bool {
    !path.starts_with("/api/") && path != "/metrics"
}

/// A name that somebody else's page leads here (DNS rebinding) is not one of ours.
fn check_host(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else {
        return Err(Problem::bad_request("the request names no host"));
    };
    if app.serves_host(host) {
        return Ok(());
    }
    let told = format!("{host:?} is not a name of this service; allowed_hosts lists further ones");
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, told))
}

/// A page of another origin must not change anything, whoever looks at it.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let refused = || {
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "requests from pages of another origin are refused",
        ))
    };
    match text(HeaderName::from_static("sec-fetch-site")) {
        Some("same-origin" | "none") => return Ok(()),
        Some(_) => return refused(),
        None => {}
    }
    let Some(origin) = text(header::ORIGIN) else {
        // Not a browser, or a very old one: then a cookie is no proof.
        return if text(header::COOKIE).is_some_and(|cookie| cookie.contains(COOKIE)) {
            refused()
        } else {
            Ok(())
        };
    };
    let host = text(header::HOST).unwrap_or_default();
    let same = origin.split_once("://").is_some_and(|(_, authority)| authority == host);
    if same { Ok(()) } else { refused() }
}

/// Headers that every answer bears.
pub async fn protect(request: Request, next: Next) -> Response {
    let is_docs = request.uri().path().starts_with("/docs");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    // The page of the API's description styles itself from its script.
    let policy = if is_docs { DOCS_POLICY } else { POLICY };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; frame-ancestors 'none'";
