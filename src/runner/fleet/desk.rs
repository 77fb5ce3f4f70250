//! What a search has handed out, and what came back.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Instant,
};

use crate::{
    queue::Task,
    search::{Judged, Trial},
};

/// Tasks from when they are handed out until the search has heard of them.
pub struct Desk<R> {
    /// Without an answer, by name.
    pub open: HashMap<String, Open>,
    /// Answered and not asked for yet, in order of arrival.
    found: VecDeque<Found<R>>,
    /// Answers that were met: task, attempt and worker.
    pub seen: HashSet<(String, u32, String)>,
    /// Of answers whose episodes are on their way into the database.
    pub receipts: Vec<R>,
    /// When it was last looked whether the queue still has what is open.
    pub looked: Instant,
}

/// A task without an answer.
#[derive(Clone)]
pub struct Open {
    pub task: Task,
    pub policy: String,
    /// Answers to it that were of no use.
    pub n_unusable: u32,
}

/// Which answer a search waits for.
#[derive(Debug, Clone, Copy)]
pub enum Wanted {
    /// To the first of its tasks.
    First,
    /// To whichever of them comes first.
    Any,
}

struct Found<R> {
    task: String,
    judged: Judged,
    receipt: R,
}

impl<R> Desk<R> {
    pub fn new() -> Self {
        Self {
            open: HashMap::new(),
            found: VecDeque::new(),
            seen: HashSet::new(),
            receipts: Vec::new(),
            looked: Instant::now(),
        }
    }

    /// Whether a task is handed out, or answered and not asked for yet.
    pub fn knows(&self, id: &str) -> bool {
        self.open.contains_key(id) || self.found.iter().any(|found| found.task == id)
    }

    /// Notes a task as handed out.
    pub fn open(&mut self, task: &Task, trial: &Trial) {
        let open = Open { task: task.clone(), policy: trial.policy.key(), n_unusable: 0 };
        self.open.insert(task.id.clone(), open);
    }

    /// Notes the answer to an open task.
    pub fn answer(&mut self, task: String, judged: Judged, receipt: R) {
        self.open.remove(&task);
        self.found.push_back(Found { task, judged, receipt });
    }

    /// The wanted answer to one of these tasks, and the task's place; none while it is not there.
    pub fn found(&mut self, ids: &[String], wanted: Wanted) -> Option<(usize, Judged)> {
        let ids = match wanted {
            Wanted::First => &ids[..1],
            Wanted::Any => ids,
        };
        let place = |found: &Found<R>| ids.iter().position(|id| *id == found.task);
        let (at, index) =
            self.found.iter().enumerate().find_map(|(at, found)| Some((at, place(found)?)))?;
        let Found { judged, receipt, .. } = self.found.remove(at)?;
        self.receipts.push(receipt);
        Some((index, judged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BitwidthPolicy, LayerBits, Quality};

    fn open(desk: &mut Desk<usize>, id: &str) {
        let policy = BitwidthPolicy::uniform(2, LayerBits::EIGHT);
        let task = Task {
            id: id.to_owned(),
            search: "s".into(),
            device_class: "cpu".into(),
            payload: serde_json::Value::Null,
        };
        desk.open(&task, &Trial { policy, rival: None });
    }

    fn answer(desk: &mut Desk<usize>, index: usize) {
        let judged = Judged::on_all_images(Quality::default());
        desk.answer(index.to_string(), judged, index);
    }

    #[test]
    fn a_task_is_known_until_it_was_asked_for_and_answers_are_given_in_their_order() {
        let mut desk = Desk::new();
        let ids = ["0", "1", "2", "3"].map(str::to_owned);
        ids[..3].iter().for_each(|id| open(&mut desk, id));
        assert_eq!(ids.each_ref().map(|id| desk.knows(id)), [true, true, true, false]);
        let found = |desk: &mut Desk<usize>, wanted| Some(desk.found(&ids, wanted)?.0);
        assert_eq!(found(&mut desk, Wanted::Any), None);
        answer(&mut desk, 2);
        answer(&mut desk, 1);
        assert!(desk.knows("2"), "answered and not asked for yet");
        assert_eq!(found(&mut desk, Wanted::First), None);
        assert_eq!(found(&mut desk, Wanted::Any), Some(2));
        assert!(!desk.knows("2"));
        // Only what the search has heard of may leave the queue.
        assert_eq!(desk.receipts, [2]);
        answer(&mut desk, 0);
        assert_eq!(found(&mut desk, Wanted::First), Some(0));
        assert_eq!(found(&mut desk, Wanted::Any), Some(1));
        assert_eq!(found(&mut desk, Wanted::Any), None);
        assert_eq!(desk.receipts, [2, 0, 1]);
    }
}
