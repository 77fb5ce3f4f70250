//! What streams, consumers and subjects are called.

use super::QueueError;
use crate::queue::Task;

/// Prefix of all names of one fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fleet(String);

const FLEET_LONGEST: usize = 32;
const WORD_LONGEST: usize = 128;

impl Fleet {
    pub fn new(name: &str) -> Result<Self, QueueError> {
        check("fleet", name, FLEET_LONGEST)?;
        Ok(Self(name.to_owned()))
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    /// The stream of tasks, `answers`, `failures` and so on.
    pub fn stream(&self, what: &str) -> String {
        format!("{}-{what}", self.0)
    }

    /// All subjects of a stream: so many words follow its name.
    pub fn subjects(&self, what: &str, n_words: usize) -> String {
        format!("{}.{what}{}", self.0, ".*".repeat(n_words))
    }

    pub fn tasks_of_class(&self, device_class: &str) -> Result<String, QueueError> {
        Ok(format!("{}.tasks.{}.*.*", self.0, word("device class", device_class)?))
    }

    pub fn task(&self, task: &Task) -> Result<String, QueueError> {
        Ok(format!(
            "{}.tasks.{}.{}.{}",
            self.0,
            word("device class", &task.device_class)?,
            word("search", &task.search)?,
            word("task", &task.id)?
        ))
    }

    pub fn worker(&self, name: &str) -> Result<String, QueueError> {
        Ok(format!("{}.workers.{}", self.0, word("worker", name)?))
    }

    /// What is kept of a task beside itself: `answers` or `failures`.
    pub fn beside(&self, what: &str, search: &str, task: &str) -> Result<String, QueueError> {
        Ok(format!("{}.{what}.{}.{}", self.0, word("search", search)?, word("task", task)?))
    }

    pub fn of_search(&self, what: &str, search: &str) -> Result<String, QueueError> {
        Ok(match what {
            "tasks" => format!("{}.tasks.*.{}.*", self.0, word("search", search)?),
            _ => format!("{}.{what}.{}.*", self.0, word("search", search)?),
        })
    }
}

fn word<'a>(what: &'static str, name: &'a str) -> Result<&'a str, QueueError> {
    check(what, name, WORD_LONGEST).map(|()| name)
}

/// Only what may stand in a subject and in the name of a consumer.
fn check(what: &'static str, name: &str, longest: usize) -> Result<(), QueueError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > longest || !name.chars().all(is_plain) {
        return Err(QueueError::Name { what, name: name.to_owned(), longest });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_reach_other_subjects() {
        let fleet = Fleet::new("lab").unwrap();
        let task = Task {
            id: "1a2b".into(),
            search: "run-12".into(),
            device_class: "cpu".into(),
            payload: serde_json::Value::Null,
        };
        assert_eq!(fleet.task(&task).unwrap(), "lab.tasks.cpu.run-12.1a2b");
        for bad in ["", "*", ">", "a.b", "a b", "a\r\nPUB", &"a".repeat(200)] {
            let bad_search = Task { search: bad.into(), ..task.clone() };
            assert!(fleet.task(&bad_search).is_err(), "{bad:?}");
            assert!(fleet.of_search("answers", bad).is_err(), "{bad:?}");
            assert!(Fleet::new(bad).is_err(), "{bad:?}");
        }
    }
}
