//! A machine of its own, as far as its network goes: a namespace with a cable to this one.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::process::Command;

/// Gone when dropped.
pub struct Namespace {
    name: String,
    /// Its end of the cable.
    inner: String,
    outer: String,
    /// This machine's end.
    address: String,
}

impl Namespace {
    /// None, with a word, where this user may not make one.
    pub fn new() -> Option<Self> {
        let id = std::process::id();
        // Names of interfaces have 15 characters at most; 198.18.0.0/15 is nobody's on the internet.
        let name = format!("haq-{id}");
        let (outer, inner) = (format!("hq{id}a"), format!("hq{id}b"));
        let subnet = format!("198.18.{}", id % 256);
        let (address, other) = (format!("{subnet}.1"), format!("{subnet}.2"));
        if !ip(&["netns", "add", &name]) {
            eprintln!("skipped: this user cannot make a network namespace with ip netns");
            return None;
        }
        let namespace = Self { name, inner, outer, address };
        let Self { name, inner, outer, address } = &namespace;
        let veth = ["type", "veth", "peer", "name", inner, "netns", name];
        let is_made = ip(&[&["link", "add", outer], &veth[..]].concat())
            && ip(&["address", "add", &format!("{address}/24"), "dev", outer])
            && ip(&["link", "set", outer, "up"])
            && ip(&["-n", name, "address", "add", &format!("{other}/24"), "dev", inner])
            && ip(&["-n", name, "link", "set", inner, "up"])
            && Command::new("ip")
                .args(["netns", "exec", name, "true"])
                .status()
                .is_ok_and(|status| status.success());
        if !is_made {
            eprintln!("skipped: this user cannot connect a network namespace to this machine");
            return None;
        }
        Some(namespace)
    }

    /// Where programs in the namespace find this machine.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The same command, run inside.
    pub fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.name]).arg(command.get_program());
        inside.args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    /// Pulls the cable out inside, or puts it in again.
    pub fn connect(&self, is_connected: bool) {
        let state = if is_connected { "up" } else { "down" };
        assert!(ip(&["-n", &self.name, "link", "set", &self.inner, state]));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["netns", "delete", &self.name]);
        // It outlives a namespace in which somebody still runs.
        let _ = ip(&["link", "delete", &self.outer]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    let output = Command::new("ip").args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}
