//! Which process works on a run, and whether it is still there.

use std::{fs, process, sync::LazyLock};

/// A process, as another one can recognise it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub host: String,
    /// Boot and process namespace within which `process_id` means something; empty where
    /// the system does not tell.
    pub process_space: String,
    pub process_id: u32,
    /// When the process started, in ticks since boot: ids are used again.
    pub start_ticks: i64,
}

impl Owner {
    /// Read from the system once: a process stays what it is.
    pub fn this_process() -> &'static Self {
        static THIS: LazyLock<Owner> = LazyLock::new(Owner::read_this_process);
        &THIS
    }

    fn read_this_process() -> Self {
        let read = |path| fs::read_to_string(path).map(|text| text.trim().to_owned()).ok();
        let namespace = fs::read_link("/proc/self/ns/pid").ok();
        Self {
            host: read("/proc/sys/kernel/hostname")
                .or_else(|| std::env::var("HOSTNAME").ok())
                .unwrap_or_else(|| "an unnamed host".into()),
            process_space: match (read("/proc/sys/kernel/random/boot_id"), namespace) {
                (Some(boot), Some(namespace)) => format!("{boot} {}", namespace.display()),
                _ => String::new(),
            },
            process_id: process::id(),
            start_ticks: start_ticks("self").unwrap_or(0),
        }
    }

    /// Whether `other`'s process id can be looked up from here.
    pub fn shares_process_space(&self, other: &Owner) -> bool {
        !self.process_space.is_empty() && self.process_space == other.process_space
    }

    /// Whether the process has certainly ended; false also when that cannot be known.
    pub fn is_gone(&self, here: &Owner) -> bool {
        self.shares_process_space(here)
            && start_ticks(&self.process_id.to_string()) != Some(self.start_ticks)
    }
}

/// Start of a live process by `/proc/<process>/stat`, fields 3 (state) and 22 of proc(5).
/// A zombie has ended: it only waits for its parent to notice.
fn start_ticks(process: &str) -> Option<i64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may itself hold spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_gone_once_killed_even_before_its_parent_looks() {
        let here = Owner::this_process();
        assert!(!here.is_gone(here));
        let mut child = process::Command::new("sleep").arg("60").spawn().unwrap();
        let ticks = start_ticks(&child.id().to_string()).unwrap();
        let owner = Owner { process_id: child.id(), start_ticks: ticks, ..here.clone() };
        assert!(!owner.is_gone(here));
        child.kill().unwrap();
        // The signal takes a moment to arrive; waiting for the child would reap it.
        while start_ticks(&child.id().to_string()).is_some() {
            std::thread::yield_now();
        }
        assert!(owner.is_gone(here));
        child.wait().unwrap();
        assert!(owner.is_gone(here));
    }

    #[test]
    fn an_id_that_was_given_to_another_process_is_gone() {
        let here = Owner::this_process();
        let earlier = Owner { start_ticks: here.start_ticks - 1, ..here.clone() };
        assert!(earlier.is_gone(here));
    }

    #[test]
    fn a_process_elsewhere_is_never_said_to_be_gone() {
        let here = Owner::this_process();
        for space in ["", "another boot pid:[1]"] {
            let elsewhere = Owner { process_space: space.into(), start_ticks: 1, ..here.clone() };
            assert!(!elsewhere.is_gone(here), "{space:?}");
        }
    }
}
