//! Messages of streams: kept, read back and deleted.

use std::error::Error as _;

use async_nats::{
    StatusCode,
    jetstream::{self, ErrorCode, context::PublishErrorKind, message::PublishMessage},
};
use bytes::Bytes;
use serde::Deserialize;

use super::{
    QueueError,
    server::{Server, Trouble},
};

/// A message as a stream keeps it.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub sequence: u64,
    pub subject: String,
    pub payload: Bytes,
}

impl Server {
    /// Keeps a message unless there is one on its subject, or was one with this id within the
    /// duplicate window. False where so.
    pub async fn keep(
        &self,
        what: &'static str,
        subject: String,
        payload: Bytes,
        id: Option<&str>,
    ) -> Result<bool, Trouble> {
        let message = PublishMessage::build().expected_last_subject_sequence(0);
        let message = match id {
            Some(id) => message.message_id(id),
            None => message,
        };
        self.publish(what, subject, payload, message).await
    }

    /// Keeps a message, in place of an earlier one where its stream keeps one a subject.
    pub async fn replace(
        &self,
        what: &'static str,
        subject: String,
        payload: Bytes,
    ) -> Result<(), Trouble> {
        self.publish(what, subject, payload, PublishMessage::build()).await.map(|_| ())
    }

    async fn publish(
        &self,
        what: &'static str,
        subject: String,
        payload: Bytes,
        message: PublishMessage,
    ) -> Result<bool, Trouble> {
        self.look_at_connection()?;
        let size_bytes = payload.len();
        let published = match self.context.send_publish(subject, message.payload(payload)).await {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        match published {
            Ok(acknowledgement) => Ok(!acknowledgement.duplicate),
            Err(error) => Err(match error.kind() {
                PublishErrorKind::WrongLastSequence => return Ok(false),
                PublishErrorKind::StreamNotFound => Trouble::Missing,
                PublishErrorKind::TimedOut
                | PublishErrorKind::BrokenPipe
                | PublishErrorKind::MaxAckPending => Trouble::Lost(error.to_string()),
                PublishErrorKind::MaxPayloadExceeded => Trouble::Final(QueueError::TooLarge {
                    address: self.address.clone(),
                    what,
                    size_bytes,
                    limit_bytes: self.client.server_info().max_payload,
                }),
                _ => match error.source().and_then(|source| source.downcast_ref()) {
                    Some(said) => self.trouble("keep a message", said),
                    None => Trouble::Final(self.refused("keep a message", error)),
                },
            }),
        }
    }

    /// The newest message on a subject.
    pub async fn last(&self, stream: &str, subject: &str) -> Result<Option<Stored>, Trouble> {
        self.get(format!("$JS.API.DIRECT.GET.{stream}.{subject}"), Bytes::new()).await
    }

    pub async fn message(&self, stream: &str, sequence: u64) -> Result<Option<Stored>, Trouble> {
        let request = serde_json::json!({ "seq": sequence }).to_string();
        self.get(format!("$JS.API.DIRECT.GET.{stream}"), request).await
    }

    /// All messages of a stream that has few.
    pub async fn all(&self, what: &str) -> Result<Vec<Stored>, Trouble> {
        let (stream, mut sequence, mut found) = (self.fleet.stream(what), 1, Vec::new());
        loop {
            let request = serde_json::json!({ "seq": sequence, "next_by_subj": ">" }).to_string();
            let next = self.get(format!("$JS.API.DIRECT.GET.{stream}"), request).await?;
            let Some(message) = next else { return Ok(found) };
            sequence = message.sequence + 1;
            found.push(message);
        }
    }

    async fn get(
        &self,
        subject: String,
        request: impl Into<Bytes>,
    ) -> Result<Option<Stored>, Trouble> {
        let message = self.ask(subject, request).await?;
        match message.status {
            None | Some(StatusCode::OK) => {}
            Some(StatusCode::NOT_FOUND) => return Ok(None),
            Some(status) => {
                let said = message.description.unwrap_or_default();
                return Err(Trouble::Lost(format!("{status} {said}")));
            }
        }
        let headers = message.headers.unwrap_or_default();
        let text = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        let sequence = text("Nats-Sequence").and_then(|text| text.parse().ok());
        let (Some(sequence), Some(subject)) = (sequence, text("Nats-Subject")) else {
            return Err(self
                .refused("tell a message's place", "its answer has no such header")
                .into());
        };
        Ok(Some(Stored { sequence, subject, payload: message.payload }))
    }

    /// Deletes one message; one that is gone already is no error.
    pub async fn delete(&self, stream: &str, sequence: u64) -> Result<(), Trouble> {
        let request = serde_json::json!({ "seq": sequence, "no_erase": true }).to_string();
        self.command("delete a message", format!("STREAM.MSG.DELETE.{stream}"), request).await
    }

    /// Deletes all messages whose subjects match.
    pub async fn purge(&self, stream: &str, subject: &str) -> Result<(), Trouble> {
        let request = serde_json::json!({ "filter": subject }).to_string();
        self.command("delete messages", format!("STREAM.PURGE.{stream}"), request).await
    }

    async fn command(
        &self,
        what: &'static str,
        command: String,
        request: String,
    ) -> Result<(), Trouble> {
        let answer = self.ask(format!("$JS.API.{command}"), request).await?;
        let done: Done =
            serde_json::from_slice(&answer.payload).map_err(|error| self.refused(what, error))?;
        match done.error {
            None => Ok(()),
            Some(error) if NO_MESSAGE.contains(&error.error_code()) => Ok(()),
            Some(error) => Err(self.trouble(what, &error)),
        }
    }
}

/// What the server says of a command.
#[derive(Deserialize)]
struct Done {
    error: Option<jetstream::Error>,
}

/// What the server says of a message that is gone.
const NO_MESSAGE: [ErrorCode; 3] = [
    ErrorCode::NO_MESSAGE_FOUND,
    ErrorCode::SEQUENCE_NOT_FOUND,
    ErrorCode::STREAM_MESSAGE_DELETE_FAILED,
];
