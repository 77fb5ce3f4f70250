//! Workers as messages that the server forgets by itself.

use super::{JetStreamQueue, QueueError, streams::WORKERS, tasks::written};
use crate::queue::{WorkerCard, WorkerRegistry};

impl WorkerRegistry for JetStreamQueue {
    type Error = QueueError;

    async fn report(&self, card: &WorkerCard) -> Result<(), QueueError> {
        let (subject, text) = (self.server.fleet.worker(&card.name)?, written(card));
        self.server.insist(|| self.server.replace("card", subject.clone(), text.clone())).await
    }

    async fn leave(&self, name: &str) -> Result<(), QueueError> {
        let (stream, subject) =
            (self.server.fleet.stream(WORKERS), self.server.fleet.worker(name)?);
        self.server.insist(|| self.server.purge(&stream, &subject)).await
    }

    async fn workers(&self) -> Result<Vec<WorkerCard>, QueueError> {
        let messages = self.server.insist(|| self.server.all(WORKERS)).await?;
        let card = |payload: &[u8]| serde_json::from_slice::<WorkerCard>(payload).ok();
        let mut cards: Vec<_> =
            messages.iter().filter_map(|message| card(&message.payload)).collect();
        cards.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(cards)
    }
}
