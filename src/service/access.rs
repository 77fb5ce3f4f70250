//! Who asks: tokens, and what they allow.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, StatusCode, header};
use rand::{TryRng as _, rngs::SysRng};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{
    domain::hexadecimal,
    service::problem::Problem,
    store::{Scope, Store, StoreError, TokenRecord},
};

/// Name of those who need no token.
pub const LOCAL: &str = "local";

/// Cookie of a browser that logged in.
pub const COOKIE: &str = "haq_session";

/// How long a browser stays logged in.
pub const SESSION: Duration = Duration::from_secs(12 * 3600);

/// How long tokens are remembered before the database is asked again: a revoked one is refused
/// after that at the latest.
const TOKENS_FRESH: Duration = Duration::from_secs(2);

/// Sessions that are kept at most; the oldest goes.
const N_SESSIONS: usize = 10_000;

/// Whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Of the token; searches bear it.
    pub name: String,
    pub scope: Scope,
    /// Whether a cookie says so, which a browser sends along whoever made the page.
    pub by_cookie: bool,
}

/// Tokens and sessions of one service.
#[derive(Debug)]
pub struct Access {
    /// Whether nobody is let in without a token.
    token_required: bool,
    known: tokio::sync::Mutex<Option<(Instant, Vec<TokenRecord>)>>,
    /// By the SHA-256 of the cookie's value.
    sessions: Mutex<HashMap<[u8; 32], Session>>,
}

#[derive(Debug, Clone)]
struct Session {
    token_digest: Vec<u8>,
    began: Instant,
}

impl Access {
    pub fn new(token_required: bool) -> Self {
        Self { token_required, known: tokio::sync::Mutex::default(), sessions: Mutex::default() }
    }

    pub fn token_required(&self) -> bool {
        self.token_required
    }

    /// # Errors
    /// 401 without a token that is needed, or with one that is not known.
    pub async fn caller(&self, store: &Store, headers: &HeaderMap) -> Result<Caller, Problem> {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let token = value.to_str().ok().and_then(|value| {
                let (scheme, token) = value.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
            });
            let refused = || unauthorized("the Authorization header holds no token that is known");
            let record = match token {
                Some(token) => self.record_of(store, &digest(token)).await?,
                None => None,
            };
            let TokenRecord { name, scope, .. } = record.ok_or_else(refused)?;
            return Ok(Caller { name, scope, by_cookie: false });
        }
        if let Some(session) = cookie(headers).and_then(|value| self.session(value))
            && let Some(TokenRecord { name, scope, .. }) =
                self.record_of(store, &session.token_digest).await?
        {
            return Ok(Caller { name, scope, by_cookie: true });
        }
        if self.token_required {
            return Err(unauthorized("a token is needed: Authorization: Bearer TOKEN"));
        }
        Ok(Caller { name: LOCAL.into(), scope: Scope::Write, by_cookie: false })
    }

    /// Begins a session for who has this token; gives the cookie's value.
    ///
    /// # Errors
    /// 401 where no such token is known.
    pub async fn log_in(&self, store: &Store, token: &str) -> Result<String, Problem> {
        let record = self.record_of(store, &digest(token)).await?;
        let record = record.ok_or_else(|| unauthorized("no such token is known"))?;
        let value = new_secret("session");
        let session = Session { token_digest: record.digest, began: Instant::now() };
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.began.elapsed() < SESSION);
        if sessions.len() >= N_SESSIONS
            && let Some(oldest) =
                sessions.iter().min_by_key(|(_, session)| session.began).map(|(key, _)| *key)
        {
            sessions.remove(&oldest);
        }
        sessions.insert(Sha256::digest(value.as_bytes()).into(), session);
        Ok(value)
    }

    pub fn log_out(&self, headers: &HeaderMap) {
        if let Some(value) = cookie(headers) {
            let key: [u8; 32] = Sha256::digest(value.as_bytes()).into();
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        }
    }

    fn session(&self, value: &str) -> Option<Session> {
        let key: [u8; 32] = Sha256::digest(value.as_bytes()).into();
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(&key).filter(|session| session.began.elapsed() < SESSION).cloned()
    }

    /// The token with this SHA-256, unless it was revoked.
    async fn record_of(
        &self,
        store: &Store,
        digest: &[u8],
    ) -> Result<Option<TokenRecord>, StoreError> {
        let mut known = self.known.lock().await;
        if known.as_ref().is_none_or(|(read, _)| read.elapsed() > TOKENS_FRESH) {
            *known = Some((Instant::now(), store.tokens().await?));
        }
        let (_, tokens) = known.as_ref().expect("they were just read");
        // All are compared, each in constant time: how long it takes tells nothing.
        let mut found = None;
        for token in tokens.iter().filter(|token| token.revoked_at.is_none()) {
            if bool::from(token.digest.ct_eq(digest)) {
                found = Some(token.clone());
            }
        }
        Ok(found)
    }
}

impl Caller {
    /// # Errors
    /// 403 where the token is for reading only.
    pub fn may_write(&self) -> Result<(), Problem> {
        if self.scope >= Scope::Write {
            return Ok(());
        }
        let told = format!("token {} is for reading; this needs one with --scope write", self.name);
        Err(Problem::new(StatusCode::FORBIDDEN, told))
    }
}

/// 256 random bits as text: of a token, which people recognise by how it begins, or a session.
pub fn new_secret(kind: &str) -> String {
    let mut bytes = [0_u8; 32];
    SysRng.try_fill_bytes(&mut bytes).expect("the system gives random numbers");
    format!("haq-{kind}-{}", hexadecimal(&bytes))
}

fn digest(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| name.trim() == COOKIE).map(|(_, value)| value.trim())
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail)
}
