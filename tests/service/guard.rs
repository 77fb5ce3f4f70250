//! What is refused: names that lead elsewhere, bodies that are too large or not what they say,
//! strangers, requests sent twice, and pages of others.

use std::io::{Read as _, Write as _};

use serde_json::json;

use crate::common::{Server, haq, small_search};

/// A folder with a network, a link out of it, and a file beside it.
fn folders() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    std::fs::create_dir(&models).unwrap();
    let assets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    for (from, to) in [("digits_net.onnx", "models/net.onnx"), ("digits_net.onnx", "secret.onnx")] {
        std::fs::copy(assets.join(from), folder.path().join(to)).unwrap();
    }
    std::os::unix::fs::symlink("../secret.onnx", models.join("link.onnx")).unwrap();
    std::os::unix::fs::symlink("..", models.join("up")).unwrap();
    let models = models.canonicalize().unwrap().display().to_string();
    (folder, models)
}

#[test]
fn names_lead_nowhere_but_below_the_folders() {
    let (_folder, models) = folders();
    let server = Server::start(&["--model-folders", &models, "--data-folders", &models]);
    let listed = server.get("/api/v1/models").expect(200);
    let names: Vec<&str> =
        listed["models"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["embedded digits network", "net.onnx"]);
    for model in [
        "../secret.onnx",
        "link.onnx",
        "up/secret.onnx",
        "/etc/passwd",
        "net.onnx/../../secret.onnx",
        "sha256:../../secret.onnx",
        "sha256:0000",
        "",
    ] {
        let mut submission = small_search(0);
        submission["model"] = json!(model);
        submission["data"] = json!("net.onnx");
        let refused = server.post("/api/v1/searches", &submission).expect(422);
        let fields = refused["errors"].as_array().unwrap();
        assert!(fields.iter().any(|error| error["field"] == "model"), "{model}: {refused}");
    }
    for path in [
        "/assets/../Cargo.toml",
        "/assets/..%2fCargo.toml",
        "/api/v1/searches/1/plots/..%2f..%2fhaq.db",
        "/api/v1/searches/1/exports/..%2fonnx",
        "/api/v1/profiles/..%2f..%2fsecret",
    ] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    for name in ["../x.onnx", "a/b.onnx", "x.pkl", "x.onnx.exe", "%00.onnx", ".onnx"] {
        server.send("POST", &format!("/api/v1/models?name={name}"), &[], b"x").expect(400);
    }
}

#[test]
fn bodies_are_bounded_and_have_to_be_what_they_say() {
    let server = Server::start(&["--body-bytes-max", "20000", "--upload-bytes-max", "50000"]);
    let json = [("content-type", "application/json")];
    let post = |headers: &[(&str, &str)], body: &[u8]| {
        server.send("POST", "/api/v1/searches", headers, body)
    };
    post(&json, &vec![b' '; 30_000]).expect(413);
    post(&json, b"{").expect(400);
    post(&json, b"[]").expect(422);
    post(&json, b"{\"profile\":\"edge-tpu\",\"speed\":1}").expect(422);
    post(&json, b"\xff\xfe").expect(400);
    post(&[("content-type", "text/plain")], b"{}").expect(415);
    post(&[("content-type", "application/json"), ("content-encoding", "gzip")], b"x").expect(415);
    let nested = format!("{}{}", "[".repeat(9_000), "]".repeat(9_000));
    post(&json, nested.as_bytes()).expect(422);

    let upload = |name: &str, body: &[u8]| {
        server.send("POST", &format!("/api/v1/models?name={name}"), &[], body)
    };
    upload("big.onnx", &vec![0; 60_000]).expect(413);
    upload("not.onnx", b"hello, I am a pickle").expect(422);
    upload("not.safetensors", &[255; 40]).expect(422);
    upload("empty.onnx", b"").expect(422);
    server.send("POST", "/api/v1/data?name=d.npz", &[], b"PK").expect(400);
    assert_eq!(server.get("/api/v1/models").expect(200)["models"].as_array().unwrap().len(), 1);
    // Nothing of what was refused stays on the disk.
    for folder in ["work", "uploads"] {
        let left = std::fs::read_dir(server.path().join("haq-serve").join(folder)).unwrap();
        assert_eq!(left.count(), 0, "{folder}");
    }
}

#[test]
fn strangers_are_refused_and_tokens_allow_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let create = |name: &str, scope: &str| {
        let output =
            haq(folder.path(), &["token", "create", name, "--scope", scope]).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (reader, writer) = (create("reader", "read"), create("writer", "write"));
    // Kept only as digests.
    let database = std::fs::read(folder.path().join("haq.db")).unwrap();
    let secret = writer.rsplit('-').next().unwrap().as_bytes();
    assert!(!database.windows(secret.len()).any(|window| window == secret));

    let server = Server::start_in(folder, &["--token-required", "true"]);
    let ask = |method: &str, path: &str, token: Option<&str>, body: &str| {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        server.send(method, path, &headers, body.as_bytes())
    };
    let submission = small_search(0).to_string();
    let searches = "/api/v1/searches";
    for token in [None, Some("haq-token-00"), Some("")] {
        let refused = ask("GET", searches, token, "");
        assert_eq!(refused.headers["www-authenticate"], "Bearer");
        refused.expect(401);
        ask("POST", searches, token, &submission).expect(401);
    }
    for path in ["/metrics", "/api/v1/openapi.json", "/api/v1/events", "/api/v1/profiles"] {
        ask("GET", path, None, "").expect(401);
    }
    ask("GET", "/api/v1/health", None, "").expect(200);
    ask("GET", searches, Some(&reader), "").expect(200);
    ask("POST", searches, Some(&reader), &submission).expect(403);
    let id = ask("POST", searches, Some(&writer), &submission).expect(201)["id"].clone();
    ask("POST", &format!("{searches}/{id}/cancel"), Some(&reader), "").expect(403);
    let shown = ask("GET", &format!("{searches}/{id}"), Some(&reader), "").expect(200);
    assert_eq!(shown["submitter"], "writer");

    // A token in an address would end in logs.
    server.get(&format!("{searches}?token={writer}")).expect(401);
    assert!(server.haq(&["token", "revoke", "writer"]).status().unwrap().success());
    std::thread::sleep(std::time::Duration::from_secs(3));
    ask("GET", searches, Some(&writer), "").expect(401);
    assert!(!server.haq(&["token", "revoke", "writer"]).status().unwrap().success());
}

#[test]
fn no_other_address_is_served_without_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let output = haq(folder.path(), &["serve", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("haq token create"));
}

#[test]
fn a_submission_sent_twice_is_one_search() {
    let server = Server::start(&[]);
    let send = |seed: u64, key: &str| {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        let body = small_search(seed).to_string();
        server.send("POST", "/api/v1/searches", &headers, body.as_bytes())
    };
    let first = send(1, "a").expect(201);
    assert_eq!(send(1, "a").expect(200)["id"], first["id"]);
    send(2, "a").expect(422);
    assert_ne!(send(1, "b").expect(201)["id"], first["id"]);
    send(1, &"x".repeat(129)).expect(400);
    assert_eq!(server.get("/api/v1/searches").expect(200)["total"], 2);
}

#[test]
fn pages_of_others_change_nothing_and_see_nothing() {
    let server = Server::start(&[]);
    let body = small_search(0).to_string();
    let send = |headers: &[(&str, &str)]| {
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        server.send("POST", "/api/v1/searches", &all, body.as_bytes())
    };
    for headers in [
        [("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "same-site")],
        [("origin", "http://evil.example")],
        [("origin", "null")],
    ] {
        send(&headers).expect(403);
    }
    let evil = "evil.example:80";
    let rebound = server.send("GET", "/api/v1/searches", &[("host", evil)], b"");
    assert_eq!(rebound.status, 421);
    let allowed = send(&[("sec-fetch-site", "same-origin")]);
    assert!(!allowed.headers.contains_key("access-control-allow-origin"));
    allowed.expect(201);
    let policy = server.get("/api/v1/health");
    assert!(
        policy.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'")
    );
    assert_eq!(policy.headers["x-content-type-options"], "nosniff");
}

#[test]
fn a_client_that_asks_too_often_has_to_wait() {
    let server = Server::start(&["--requests-per-s", "5", "--requests-burst", "10"]);
    let answers: Vec<u16> = (0..30).map(|_| server.get("/api/v1/health").status).collect();
    assert!(answers[..10].iter().all(|&status| status == 200));
    assert!(answers.contains(&429));
}

#[test]
fn a_client_that_sends_half_a_request_does_not_hold_a_place_for_long() {
    let server = Server::start(&[]);
    let address = server.url.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /api/v1/health HTTP/1.1\r\nHost: 127").unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let mut rest = Vec::new();
    // Closed, with or without a word.
    let _ = stream.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("200"));
    let mut garbage = std::net::TcpStream::connect(address).unwrap();
    garbage.write_all(&[0; 2000]).unwrap();
    assert_eq!(server.get("/api/v1/health").status, 200);
}
