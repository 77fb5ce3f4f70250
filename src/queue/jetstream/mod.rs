//! Queues of evaluations on a NATS server with JetStream, for workers on many machines.
//!
//! Read `streams` first: what is kept where. `tasks` is the queue's contract on top of it, `server`
//! makes requests that outlast losses, `messages` those about what streams keep, `dead_letters`
//! knows what was handed out too often, `passed_over` what nobody is handed any more.

mod blobs;
#[cfg(test)]
mod cluster_tests;
mod connection;
mod dead_letters;
mod error;
mod leases;
mod messages;
mod names;
mod passed_over;
mod server;
mod streams;
mod tasks;
#[cfg(test)]
mod tests;
mod workers;

use std::{fmt, sync::Arc, time::Duration};

pub use connection::Connection;
pub use error::QueueError;
pub use leases::{JetStreamReceipt, JetStreamTicket};
use server::Server;

use super::TASK_LEASE;

/// The evaluations of one fleet. Clones share the connection.
///
/// A server that is lost later is waited for: calls then take as long as that, and say so in the
/// log. Dropping the future of a call leaves open whether it was done; a task that was on its way
/// to a dropped [`EvalQueue::lease`](super::EvalQueue::lease) comes again once its lease has ended.
#[derive(Clone)]
pub struct JetStreamQueue {
    server: Arc<Server>,
    lease: Duration,
}

impl JetStreamQueue {
    /// Connects, and makes the fleet's streams where there are none.
    ///
    /// # Errors
    /// When no server answers within five seconds, refuses the login, or has no JetStream.
    pub async fn connect(options: &Connection) -> Result<Self, QueueError> {
        let server = Arc::new(Server::connect(options).await?);
        Ok(Self { server, lease: TASK_LEASE })
    }

    /// Leases end after this silence instead of [`TASK_LEASE`]. All that use one fleet have to
    /// agree: what was made first stays.
    pub fn with_lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// Where the server is, without secrets.
    pub fn address(&self) -> &str {
        &self.server.address
    }

    pub fn fleet(&self) -> &str {
        self.server.fleet.name()
    }
}

impl fmt::Debug for JetStreamQueue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("JetStreamQueue")
            .field("address", &self.server.address)
            .field("fleet", &self.fleet())
            .field("lease", &self.lease)
            .finish()
    }
}
