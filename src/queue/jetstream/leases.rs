//! What a worker and a coordinator hold: a task for a time, and an answer until it is taken.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_nats::{Message, StatusCode, jetstream};
use bytes::Bytes;
use futures_util::StreamExt;

use super::server::{Server, Trouble};
use crate::queue::Task;

/// Longest wait for a message that is left to the server: what became of it is then asked for
/// anew.
const PULL_SLICE: Duration = Duration::from_secs(5);

/// How much longer than asked for an answer may take.
const GRACE: Duration = Duration::from_secs(2);

/// Names a lease: a message, and which handing out of it.
#[derive(Debug, Clone)]
pub struct JetStreamTicket {
    pub(super) task: Arc<Task>,
    pub(super) delivery: Delivery,
    lease: Duration,
    /// When the server gives the task to another, unless told that its holder is alive.
    until: Arc<Mutex<Instant>>,
}

/// Names an answer.
#[derive(Debug, Clone)]
pub struct JetStreamReceipt {
    pub(super) acknowledge: String,
}

/// A message that was handed out.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    /// Subject on which the server hears what became of it.
    pub acknowledge: String,
    pub consumer: String,
    pub sequence: u64,
    pub attempt: u32,
    pub payload: Bytes,
}

impl JetStreamTicket {
    pub(super) fn new(task: Task, delivery: Delivery, lease: Duration, asked: Instant) -> Self {
        let until = Arc::new(Mutex::new(asked + lease));
        Self { task: Arc::new(task), delivery, lease, until }
    }

    /// Whether the task may be another's by now.
    pub(super) fn is_lost(&self) -> bool {
        Instant::now() >= *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn extended(&self, asked: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = asked + self.lease;
    }
}

fn next_subject(stream: &str, consumer: &str) -> String {
    format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}")
}

fn pull_request(batch: usize, patience: Duration) -> String {
    if patience.is_zero() {
        return serde_json::json!({ "batch": batch, "no_wait": true }).to_string();
    }
    let expires_ns = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
    serde_json::json!({ "batch": batch, "expires": expires_ns }).to_string()
}

/// What a message of the server means to one who pulls.
enum Pulled {
    Message(Delivery),
    /// There is none now, or not within the time that was asked for.
    Nothing,
}

fn pulled(server: &Server, message: Message) -> Result<Pulled, Trouble> {
    match message.status {
        None | Some(StatusCode::OK) => {}
        Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => return Ok(Pulled::Nothing),
        Some(status) => {
            let said = message.description.unwrap_or_default();
            return Err(match said.as_str() {
                "Consumer Deleted" => Trouble::Missing,
                said => Trouble::Lost(format!("{status} {said}")),
            });
        }
    }
    let acknowledge = message.reply.as_ref().map(ToString::to_string).unwrap_or_default();
    let message = jetstream::Message { message, context: server.context.clone() };
    let place =
        message.info().map_err(|error| server.refused("say which message it sent", error))?;
    Ok(Pulled::Message(Delivery {
        acknowledge,
        consumer: place.consumer.to_owned(),
        sequence: place.stream_sequence,
        attempt: u32::try_from(place.delivered).unwrap_or(u32::MAX),
        payload: message.message.payload.clone(),
    }))
}

/// The next message of a consumer, waiting at most `patience` and at most [`PULL_SLICE`].
pub(super) async fn pull_one(
    server: &Server,
    stream: &str,
    consumer: &str,
    patience: Duration,
) -> Result<Option<Delivery>, Trouble> {
    let patience = patience.min(PULL_SLICE);
    let request = pull_request(1, patience);
    let subject = next_subject(stream, consumer);
    let message = server.ask_for_message(subject, request, patience + GRACE).await?;
    match pulled(server, message)? {
        Pulled::Message(delivery) => Ok(Some(delivery)),
        Pulled::Nothing => Ok(None),
    }
}

/// As many messages of a consumer as there are now, at most `n_max`.
pub(super) async fn pull_many(
    server: &Server,
    stream: &str,
    consumer: &str,
    n_max: usize,
) -> Result<Vec<Delivery>, Trouble> {
    let lost = |error: &dyn std::fmt::Display| Trouble::Lost(error.to_string());
    let inbox = server.client.new_inbox();
    let mut answers = server.client.subscribe(inbox.clone()).await.map_err(|error| lost(&error))?;
    let request = pull_request(n_max, Duration::ZERO);
    server
        .client
        .publish_with_reply(next_subject(stream, consumer), inbox, request.into())
        .await
        .map_err(|error| lost(&error))?;
    let mut found = Vec::new();
    while found.len() < n_max {
        match tokio::time::timeout(GRACE, answers.next()).await {
            Ok(Some(message)) => match pulled(server, message)? {
                Pulled::Message(delivery) => found.push(delivery),
                Pulled::Nothing => break,
            },
            // What was sent meanwhile comes again once its time is over.
            Ok(None) | Err(_) => break,
        }
    }
    Ok(found)
}

/// Tells the server what became of a message, and waits until it knows. A message that the server
/// knows nothing of any more is no error.
pub(super) async fn settle(
    server: &Server,
    acknowledge: &str,
    verdict: &'static str,
) -> Result<(), Trouble> {
    match server.ask(acknowledge.to_owned(), verdict).await {
        Ok(_) | Err(Trouble::Missing) => Ok(()),
        Err(trouble) => Err(trouble),
    }
}
