//! The planning page says what its recordings say, and its simulation what can be worked out by hand.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::process::{Command, Output};

/// What a script said. None, with a word why, where there is no Python; in CI that fails.
fn python(arguments: &[&str]) -> Option<Output> {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut python = Command::new("python3");
    match python.args(["-B"]).args(arguments).current_dir(root).output() {
        Ok(output) => Some(output),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "python3: {error}");
            eprintln!("skipped: python3: {error}");
            None
        }
    }
}

#[test]
fn the_page_says_what_the_recordings_say() {
    let Some(output) = python(&["scripts/plan_page.py", "--check"]) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Four workers, evaluations of one second, 0.1 s to learn from an episode and 0.05 s to propose
/// the next.
#[test]
fn the_simulation_gives_what_can_be_worked_out_by_hand() {
    let cases = [
        // (why, call, episodes a second)
        ("workers are the limit", "in_flight(replace(fleet, learn_s=0, propose_s=0), 8, 400)", 4.0),
        (
            "the search is the limit",
            "in_flight(replace(fleet, learn_s=0.4, propose_s=0.1), 8, 400)",
            2.0,
        ),
        ("between two rounds workers wait: 4 / (1 + 0.4 + 0.2)", "in_rounds(fleet, 4, 400)", 2.5),
        (
            "1 and 2 s later; two are learned from meanwhile: 8 / (2 + 0.4 + 0.4)",
            "in_rounds(fleet, 8, 400)",
            8.0 / 2.8,
        ),
        ("one of eight tasks at a time: 1 / (1 + 0.15)", "in_flight(fleet, 1, 400)", 1.0 / 1.15),
        (
            "a worker beside evaluations: 4 / (1 + 0.25)",
            "in_flight(replace(fleet, learn_s=0, propose_s=0, beside_s=0.25), 8, 400)",
            3.2,
        ),
        (
            "round trips beside evaluations: 4 / (1 + 5 * 0.05)",
            "in_flight(replace(fleet, learn_s=0, propose_s=0, round_trip_s=0.05), 32, 4000)",
            3.2,
        ),
    ];
    for (why, call, expected) in cases {
        let program = format!(
            "import sys; sys.path.insert(0, 'scripts'); from plan_fleet import *; \
             fleet = Fleet(n_workers=4, evaluations_s=[1.0], learn_s=0.1, propose_s=0.05, beside_s=0.0); \
             print({call})"
        );
        let Some(output) = python(&["-c", &program]) else { return };
        let said = String::from_utf8_lossy(&output.stdout);
        let rate: f64 = said
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("{why}: {said}{}", String::from_utf8_lossy(&output.stderr)));
        assert!((rate - expected).abs() < 0.01 * expected, "{why}: {rate}, not {expected}");
    }
}

#[test]
fn a_recording_that_is_not_there_is_told() {
    let Some(output) = python(&["scripts/plan_fleet.py", "--like", "resnet2000"]) else { return };
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("there is no recording resnet2000; there are digits"), "{said}");
}
