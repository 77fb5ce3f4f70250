//! Requests to the server that outlast losses: of the connection, and of what the server kept.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::{
    Client, Message, Request, RequestErrorKind,
    connection::State,
    jetstream::{self, Context, ErrorCode},
};
use bytes::Bytes;
use tokio::sync::watch;

use super::{Connection, QueueError, connection, names::Fleet, streams};

/// How long an answer may take before it is asked for again.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// Between two tries.
const RETRY: Duration = Duration::from_millis(100);

/// How often a loss that goes on is told in the log.
const REMINDER: Duration = Duration::from_secs(30);

/// Why a request did not do what it should.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No answer: to be tried again.
    Lost(String),
    /// A stream or consumer is not there: to be made, and tried again.
    Missing,
    /// Trying again is of no use.
    Final(QueueError),
}

impl From<QueueError> for Trouble {
    fn from(error: QueueError) -> Self {
        Self::Final(error)
    }
}

/// A server, and what is known of it.
pub(super) struct Server {
    pub client: Client,
    pub context: Context,
    pub fleet: Fleet,
    pub address: String,
    pub replicas: usize,
    connections: watch::Receiver<u64>,
    /// The connection over which all streams were seen last.
    streams_seen_on: AtomicU64,
    /// Names of consumers that were made, by what they are for.
    consumers: Mutex<HashMap<String, String>>,
}

impl Server {
    /// # Errors
    /// Whatever keeps the queue from working at all.
    pub async fn connect(options: &Connection) -> Result<Self, QueueError> {
        let connected = connection::connect(options).await?;
        let mut context = jetstream::new(connected.client.clone());
        context.set_timeout(ANSWER_PATIENCE);
        let server = Self {
            client: connected.client,
            context,
            fleet: connected.fleet,
            address: connected.address,
            replicas: options.replicas.max(1),
            connections: connected.connections,
            streams_seen_on: AtomicU64::new(0),
            consumers: Mutex::default(),
        };
        let asked = Instant::now();
        loop {
            match server.make_streams().await {
                Ok(()) => return Ok(server),
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Missing) => {
                    return Err(QueueError::NoJetStream { address: server.address });
                }
                // The servers of a cluster may be about to agree.
                Err(Trouble::Lost(_)) if asked.elapsed() < connection::CONNECT_PATIENCE => {
                    tokio::time::sleep(RETRY).await;
                }
                Err(Trouble::Lost(reason)) => {
                    return Err(QueueError::Unreachable { address: server.address, reason });
                }
            }
        }
    }

    /// What to do about an error that the server gives.
    pub fn trouble(&self, what: &'static str, error: &jetstream::Error) -> Trouble {
        match error.error_code() {
            ErrorCode::STREAM_NOT_FOUND => Trouble::Missing,
            // A cluster lost a server a moment ago, and agrees on what becomes of its work.
            ErrorCode::CLUSTER_NOT_ACTIVE
            | ErrorCode::CLUSTER_NOT_ASSIGNED
            | ErrorCode::CLUSTER_NOT_AVAILABLE
            | ErrorCode::CLUSTER_NOT_LEADER
            | ErrorCode::CONSUMER_OFFLINE
            | ErrorCode::STREAM_OFFLINE => Trouble::Lost(error.to_string()),
            _ => Trouble::Final(self.refused(what, error)),
        }
    }

    pub fn refused(&self, what: &'static str, reason: impl ToString) -> QueueError {
        QueueError::Refused { address: self.address.clone(), what, reason: reason.to_string() }
    }

    /// Tries until the server answers; what is missing there is made again.
    pub async fn insist<T, F>(&self, attempt: impl Fn() -> F + Send) -> Result<T, QueueError>
    where
        F: Future<Output = Result<T, Trouble>> + Send,
    {
        let mut loss = Loss::default();
        loop {
            match attempt().await {
                Ok(done) => {
                    loss.is_over(self);
                    return Ok(done);
                }
                Err(trouble) => self.mend(trouble, &mut loss).await?,
            }
        }
    }

    /// What has to happen before a next try: a connection, streams, and new looks at consumers.
    pub async fn mend(&self, trouble: Trouble, loss: &mut Loss) -> Result<(), QueueError> {
        match trouble {
            Trouble::Final(error) => return Err(error),
            Trouble::Missing => {}
            Trouble::Lost(reason) => {
                loss.goes_on(self, &reason);
                tokio::time::sleep(RETRY).await;
            }
        }
        while self.client.connection_state() != State::Connected {
            loss.goes_on(self, "not connected");
            tokio::time::sleep(RETRY).await;
        }
        self.consumers().clear();
        match self.make_streams().await {
            Ok(()) => return Ok(()),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Missing) => loss.goes_on(self, "it has no JetStream"),
            Err(Trouble::Lost(reason)) => loss.goes_on(self, &reason),
        }
        tokio::time::sleep(RETRY).await;
        Ok(())
    }

    async fn make_streams(&self) -> Result<(), Trouble> {
        let connection = *self.connections.borrow();
        streams::make(self).await?;
        self.streams_seen_on.store(connection, Ordering::Relaxed);
        Ok(())
    }

    /// Behind a new connection there may be a server that knows nothing, and says nothing of
    /// streams that it does not have.
    pub fn look_at_connection(&self) -> Result<(), Trouble> {
        let seen = self.streams_seen_on.load(Ordering::Relaxed);
        if seen == *self.connections.borrow() { Ok(()) } else { Err(Trouble::Missing) }
    }

    /// One message, and the one that answers it.
    pub async fn ask(
        &self,
        subject: String,
        payload: impl Into<Bytes>,
    ) -> Result<Message, Trouble> {
        let request = Request::new().payload(payload.into()).timeout(Some(ANSWER_PATIENCE));
        self.request(subject, request).await
    }

    /// The same where the answer is a message of a stream, which comes under its own subject: the
    /// client would not know whom to give it.
    pub async fn ask_for_message(
        &self,
        subject: String,
        payload: impl Into<Bytes>,
        patience: Duration,
    ) -> Result<Message, Trouble> {
        let request = Request::new().payload(payload.into()).timeout(Some(patience));
        self.request(subject, request.inbox(self.client.new_inbox())).await
    }

    async fn request(&self, subject: String, request: Request) -> Result<Message, Trouble> {
        self.look_at_connection()?;
        let mut connections = self.connections.clone();
        connections.mark_unchanged();
        let answer = tokio::select! {
            answer = self.client.send_request(subject, request) => answer,
            // What was asked over the old connection is answered by nobody.
            _ = connections.changed() => return Err(Trouble::Lost("it was connected to anew".into())),
        };
        answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => Trouble::Missing,
            RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                Trouble::Final(self.refused("take a request", error))
            }
            _ => Trouble::Lost(error.to_string()),
        })
    }

    /// The name of a consumer that was made for `purpose`; makes it where it was not.
    pub async fn consumer(
        &self,
        purpose: &str,
        make: impl Future<Output = Result<String, Trouble>> + Send,
    ) -> Result<String, Trouble> {
        if let Some(name) = self.consumers().get(purpose) {
            return Ok(name.clone());
        }
        let name = make.await?;
        self.consumers().insert(purpose.to_owned(), name.clone());
        Ok(name)
    }

    fn consumers(&self) -> MutexGuard<'_, HashMap<String, String>> {
        // Nothing panics while the map is being changed, so it is whole.
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A time without answers, told in the log now and then.
#[derive(Debug, Default)]
pub(super) struct Loss {
    since: Option<Instant>,
    told: Option<Instant>,
}

impl Loss {
    fn goes_on(&mut self, server: &Server, reason: &str) {
        self.since.get_or_insert_with(Instant::now);
        if self.told.is_none_or(|told| told.elapsed() > REMINDER) {
            self.told = Some(Instant::now());
            tracing::warn!(server = server.address, reason, "the queue does not answer; trying on");
        }
    }

    pub fn is_over(&self, server: &Server) {
        if let Some(since) = self.since {
            let lost_s = since.elapsed().as_secs_f64();
            tracing::info!(server = server.address, lost_s, "the queue answers again");
        }
    }
}
