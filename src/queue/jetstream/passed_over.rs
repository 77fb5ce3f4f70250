//! Messages that are kept, and that no consumer hands out any more.
//!
//! A server of a cluster may be killed between knowing that a message was handed out and telling the
//! others, or between an acknowledgement and removing what it is about: whoever leads then counts
//! a message as done that nobody has.

use async_nats::jetstream::consumer;

use super::{
    JetStreamQueue,
    messages::Stored,
    server::{Server, Trouble},
    streams::{self, ANSWERS, TASKS},
};
use crate::queue::Task;

impl JetStreamQueue {
    /// Whether a task or its answer is in the queue; what was passed over is put there anew.
    pub(super) async fn look_for(&self, task: &Task) -> Result<bool, Trouble> {
        let (server, fleet) = (&self.server, &self.server.fleet);
        // A task ends only after its answer is kept: looked for in this order, one is found.
        let waits = server.last(&fleet.stream(TASKS), &fleet.task(task)?).await?;
        let answer = fleet.beside(ANSWERS, &task.search, &task.id)?;
        if let Some(answer) = server.last(&fleet.stream(ANSWERS), &answer).await? {
            let name = streams::answers_consumer(server, &task.search, self.lease).await?;
            if is_passed_over(server, ANSWERS, &name, &answer).await? {
                put_anew(server, ANSWERS, answer).await?;
            }
            return Ok(true);
        }
        let Some(waits) = waits else { return Ok(false) };
        let name = streams::tasks_consumer(server, &task.device_class, self.lease).await?;
        if is_passed_over(server, TASKS, &name, &waits).await?
            && !self.is_dead(waits.sequence).await?
        {
            put_anew(server, TASKS, waits).await?;
        }
        Ok(true)
    }
}

/// Whether a consumer came to a message and waits for nobody's word on it.
async fn is_passed_over(
    server: &Server,
    what: &str,
    consumer: &str,
    message: &Stored,
) -> Result<bool, Trouble> {
    let consumer::Info { delivered, ack_floor, num_ack_pending, .. } =
        streams::consumer_info(server, what, consumer).await?;
    let last_done = if num_ack_pending == 0 { delivered } else { ack_floor };
    Ok(message.sequence <= last_done.stream_sequence)
}

/// Should it fail on the way, the message is lost, which is noticed at the next look.
async fn put_anew(server: &Server, what: &'static str, message: Stored) -> Result<(), Trouble> {
    tracing::warn!(
        server = server.address,
        subject = message.subject,
        "the queue kept this and handed it out to nobody; it is put there anew"
    );
    server.delete(&server.fleet.stream(what), message.sequence).await?;
    server.keep(what, message.subject, message.payload, None).await?;
    Ok(())
}
