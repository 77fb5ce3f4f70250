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

    /// Notes tasks as handed out; those that were not before.
    ///
    /// - `trials`: what they are about, one each
    pub fn open(&mut self, tasks: &[Task], trials: &[Trial]) -> Vec<Task> {
        let mut new = Vec::new();
        for (task, trial) in tasks.iter().zip(trials) {
            let is_answered = self.found.iter().any(|found| found.task == task.id);
            if is_answered || self.open.contains_key(&task.id) {
                continue;
            }
            let policy = trial.policy.key();
            self.open.insert(task.id.clone(), Open { task: task.clone(), policy, n_unusable: 0 });
            new.push(task.clone());
        }
        new
    }

    /// Notes the answer to an open task.
    pub fn answer(&mut self, task: String, judged: Judged, receipt: R) {
        self.open.remove(&task);
        self.found.push_back(Found { task, judged, receipt });
    }

    /// The wanted answer to one of these tasks, and the task's place; none while it is not there.
    pub fn found(&mut self, tasks: &[Task], wanted: Wanted) -> Option<(usize, Judged)> {
        let tasks = match wanted {
            Wanted::First => &tasks[..1],
            Wanted::Any => tasks,
        };
        let place = |found: &Found<R>| tasks.iter().position(|task| task.id == found.task);
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

    fn asked(n: usize) -> (Vec<Task>, Vec<Trial>) {
        let task = |index| Task {
            id: format!("task-{index}"),
            search: "s".into(),
            device_class: "cpu".into(),
            payload: serde_json::Value::Null,
        };
        let policy = BitwidthPolicy::uniform(2, LayerBits::EIGHT);
        ((0..n).map(task).collect(), vec![Trial { policy, rival: None }; n])
    }

    fn answer(desk: &mut Desk<usize>, index: usize) {
        let judged = Judged::on_all_images(Quality::default());
        desk.answer(format!("task-{index}"), judged, index);
    }

    #[test]
    fn a_task_is_handed_out_once_and_answers_are_given_in_their_order() {
        let mut desk = Desk::new();
        let (tasks, trials) = asked(4);
        assert_eq!(desk.open(&tasks[..3], &trials).len(), 3);
        assert_eq!(desk.open(&tasks, &trials), tasks[3..]);
        let found = |desk: &mut Desk<usize>, wanted| Some(desk.found(&tasks, wanted)?.0);
        assert_eq!(found(&mut desk, Wanted::Any), None);
        answer(&mut desk, 2);
        answer(&mut desk, 3);
        assert_eq!(desk.open(&tasks, &trials), [], "answered and not asked for yet");
        assert_eq!(found(&mut desk, Wanted::First), None);
        assert_eq!(found(&mut desk, Wanted::Any), Some(2));
        // Only what the search has heard of may leave the queue.
        assert_eq!(desk.receipts, [2]);
        answer(&mut desk, 0);
        assert_eq!(found(&mut desk, Wanted::First), Some(0));
        assert_eq!(found(&mut desk, Wanted::Any), Some(3));
        assert_eq!(found(&mut desk, Wanted::Any), None);
        assert_eq!(desk.receipts, [2, 0, 3]);
    }
}
