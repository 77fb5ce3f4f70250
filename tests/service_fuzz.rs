//! The API fuzzed from its own description: nothing that can be asked makes the service fail.

#[path = "service/common.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod common;
mod python_common;

use std::process::Command;

use serde_json::json;

use common::{Server, small_search};

#[test]
fn no_request_makes_the_service_fail() {
    let Some(python) = python_common::python_with("schemathesis", &["schemathesis==4.32.5"]) else {
        return;
    };
    let server = Server::start(&["--requests-per-s", "1000000", "--requests-burst", "1000000"]);
    let mut submission = small_search(0);
    submission["strategy"] = json!("random");
    submission["episodes"] = json!(5);
    let id = server.submit(&submission);
    server.wait_for(id, "completed");
    let output = Command::new(python.with_file_name("st"))
        .current_dir(server.path())
        .args(["run", &format!("{}/api/v1/openapi.json", server.url)])
        // Streams have no end.
        .args(["--exclude-path-regex", "events$"])
        .args([
            "--checks",
            "not_a_server_error,response_schema_conformance,content_type_conformance",
        ])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--seed", "1"])
        .args(["--request-timeout", "60", "--max-failures", "5"])
        .output()
        .expect("schemathesis was installed");
    let said = String::from_utf8_lossy(&output.stdout);
    let tail: Vec<&str> = said.lines().rev().take(120).collect();
    let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
    assert!(output.status.success(), "{tail}");
    assert!(said.contains("Test cases:"), "{tail}");
    assert_eq!(server.get("/api/v1/health").status, 200);
    let next = server.submit(&submission);
    server.wait_for(next, "completed");
}
