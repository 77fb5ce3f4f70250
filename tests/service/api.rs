//! What can be asked, and that the answers are those of the terminal.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::common::{Server, haq, small_search, small_search_arguments};

/// What differs from one run of the same search to the next.
fn without_times(mut found: Value) -> Value {
    let object = found.as_object_mut().unwrap();
    for key in ["run", "wall_s", "files"] {
        object.remove(key);
    }
    found
}

fn printed(output: &std::process::Output) -> Value {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {complaint}"))
}

#[test]
fn a_search_ends_alike_here_there_and_through_the_program() {
    let server = Server::start(&[]);
    let id = server.submit(&small_search(7));
    server.wait_for(id, "completed");

    let local = tempfile::tempdir().unwrap();
    let mut arguments = small_search_arguments("7");
    arguments.extend(["--json", "--threads", "1"]);
    let local_found = printed(&haq(local.path(), &arguments).output().unwrap());
    let episodes = |shown: std::process::Output| {
        let mut episodes = printed(&shown)["episodes"].as_array().unwrap().clone();
        episodes.iter_mut().for_each(|episode| {
            episode.as_object_mut().unwrap().remove("wall_s");
        });
        episodes
    };
    let show = ["runs", "show", "1", "--json"];
    let here = episodes(haq(local.path(), &show).output().unwrap());
    let there = episodes(server.haq(&show).output().unwrap());
    assert!(here.len() > 30 && here == there, "episodes differ");

    let mut arguments = small_search_arguments("7");
    arguments.extend(["--json", "--server", &server.url]);
    let client = tempfile::tempdir().unwrap();
    let remote_found = printed(&haq(client.path(), &arguments).output().unwrap());
    assert_eq!(without_times(remote_found), without_times(local_found));
    assert!(client.path().join("haq-out/run-2/policy.json").is_file());
}

#[test]
fn a_network_of_the_client_is_sent_with_its_card() {
    let local = tempfile::tempdir().unwrap();
    let assets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    std::fs::copy(assets.join("digits_net.onnx"), local.path().join("mine.onnx")).unwrap();
    std::fs::copy(assets.join("digits_net.json"), local.path().join("mine.json")).unwrap();
    let data = assets.display().to_string();
    let server = Server::start(&["--data-folders", &data]);
    let digits = assets.join("digits.csv.gz").display().to_string();
    let mut arguments = small_search_arguments("3");
    arguments.extend(["--model", "mine.onnx", "--data", &digits, "--json"]);
    let here = printed(&haq(local.path(), &arguments).output().unwrap());
    arguments.extend(["--server", &server.url]);
    let there = printed(&haq(local.path(), &arguments).output().unwrap());
    assert_eq!(there["model"], "mine.onnx");
    assert_eq!(without_times(there), without_times(here));

    let models = server.get("/api/v1/models").expect(200);
    let uploaded: Vec<&Value> =
        models["models"].as_array().unwrap().iter().filter(|m| m["kind"] == "uploaded").collect();
    assert_eq!(uploaded.len(), 1);
    assert_eq!(uploaded[0]["name"], "mine.onnx");
    let id = uploaded[0]["id"].as_str().unwrap();
    server.send("DELETE", &format!("/api/v1/models/{id}"), &[], b"").expect(204);
    server.send("DELETE", &format!("/api/v1/models/{id}"), &[], b"").expect(404);
}

#[test]
fn searches_are_listed_filtered_sorted_paged_and_found_by_words() {
    let server = Server::start(&["--searches", "2"]);
    let tagged = |seed: u64, tags: Value| {
        let mut submission = small_search(seed);
        submission["tags"] = tags;
        submission["strategy"] = json!("random");
        submission["episodes"] = json!(5);
        submission
    };
    let ids = [
        server.submit(&tagged(0, json!(["night", "paper"]))),
        server.submit(&tagged(1, json!(["night"]))),
        server.submit(&tagged(2, json!([]))),
    ];
    ids.iter().for_each(|&id| {
        server.wait_for(id, "completed");
    });
    let listed = |query: &str| -> Vec<i64> {
        let found = server.get(&format!("/api/v1/searches?{query}")).expect(200);
        found["searches"].as_array().unwrap().iter().map(|s| s["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(listed(""), [3, 2, 1]);
    assert_eq!(listed("order=asc"), [1, 2, 3]);
    assert_eq!(listed("tag=night&order=asc"), [1, 2]);
    assert_eq!(listed("q=NIGHT+paper"), [1]);
    assert_eq!(listed("q=bismo&limit=1&offset=1"), [2]);
    assert_eq!(listed("state=failed"), [0; 0]);
    assert_eq!(listed("strategy=random&profile=bismo-edge&sort=quality").len(), 3);
    assert_eq!(server.get("/api/v1/searches?limit=1").expect(200)["total"], 3);

    let change = json!({"tags": ["day"], "note": "looks <b>good</b>"});
    let path = "/api/v1/searches/3";
    let patch = |body: &Value| {
        let headers = [("content-type", "application/json")];
        server.send("PATCH", path, &headers, body.to_string().as_bytes())
    };
    let changed = patch(&change).expect(200);
    assert_eq!((&changed["tags"], &changed["note"]), (&change["tags"], &change["note"]));
    assert_eq!(listed("q=good"), [3]);
    patch(&json!({"note": ""})).expect(200);
    assert_eq!(listed("q=good"), [0; 0]);
    patch(&json!({"tags": ["x".repeat(65)]})).expect(422);

    server.send("DELETE", path, &[], b"").expect(204);
    server.get(path).expect(404);
    assert_eq!(listed(""), [2, 1]);
}

#[test]
fn what_was_found_is_shown_drawn_and_exported() {
    let server = Server::start(&[]);
    let id = server.submit(&small_search(1));
    let found = server.wait_for(id, "completed");
    let best = &found["best"];
    let at = |path: &str| server.get(&format!("/api/v1/searches/{id}/{path}"));

    let front = at("front").expect(200);
    let costs: Vec<f64> = front["front"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point["cost"]["latency_s"].as_f64().unwrap())
        .collect();
    assert!(!costs.is_empty() && costs.is_sorted());

    let points = at("points?max=10").expect(200);
    let columns = points["points"].as_object().unwrap();
    let lengths: BTreeSet<usize> =
        columns.values().map(|column| column.as_array().unwrap().len()).collect();
    assert_eq!(lengths.len(), 1, "columns of one length");
    assert!(points["limit"].is_f64() && points["total"] == found["episodes"]);
    let on_front = columns["front"].as_array().unwrap().iter().filter(|on| **on == true).count();
    assert_eq!(on_front, costs.len(), "the whole front is in the sample");
    let energy = at("points?cost=energy").expect(200);
    assert_eq!((&energy["unit"], &energy["limit"]), (&json!("J"), &Value::Null));

    let layers = at("layers").expect(200);
    assert_eq!(layers["episode"], best["episode"]);
    let shares: f64 =
        layers["layers"].as_array().unwrap().iter().map(|l| l["share"].as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 1e-6);
    assert!(layers["layers"].as_array().unwrap().iter().all(|layer| layer["why"].is_string()));
    assert_eq!(at("layers?episode=0").expect(200)["episode"], 0);
    at("layers?episode=999").expect(404);

    for plot in ["pareto", "bits", "learning", "convergence", "costs"] {
        let svg = at(&format!("plots/{plot}.svg"));
        assert!(svg.body.starts_with(b"<svg") || svg.body.starts_with(b"<?xml"), "{plot}");
        assert!(at(&format!("plots/{plot}.png")).body.starts_with(b"\x89PNG"), "{plot}");
    }
    at("plots/secret.svg").expect(404);
    assert!(String::from_utf8(at("report").body).unwrap().contains("<!doctype html>"));

    let policy = at("policy").expect(200);
    assert_eq!(policy["run"], id);
    for form in ["onnx", "qonnx", "aimet", "aimet-2", "aimet-network", "policy"] {
        let export = at(&format!("exports/{form}"));
        assert_eq!(export.status, 200, "{form}");
        assert!(export.headers["content-disposition"].to_str().unwrap().contains("attachment"));
        let file = server.path().join(format!("export.{form}"));
        std::fs::write(&file, &export.body).unwrap();
        if form == "onnx" {
            let inspected = printed(
                &server.haq(&["model", "inspect", "export.onnx", "--json"]).output().unwrap(),
            );
            assert_eq!(inspected["layers"].as_array().unwrap().len(), 12);
        }
    }
    at("exports/pickle").expect(404);
    at("exports/onnx?episode=999").expect(404);

    let compared = server.get(&format!("/api/v1/compare?ids={id}")).expect(200);
    assert_eq!(compared["searches"][0]["front"].as_array().unwrap().len(), costs.len());
    for ids in ["", "x", "1,2,3,4,5,6,7,8,9,10,11,12,13"] {
        server.get(&format!("/api/v1/compare?ids={ids}")).expect(400);
    }
}

#[test]
fn profiles_are_listed_checked_drawn_and_taken() {
    let server = Server::start(&[]);
    let listed = server.get("/api/v1/profiles").expect(200);
    assert!(listed["profiles"].as_array().unwrap().iter().any(|p| p["name"] == "edge-tpu"));
    let shown = server.get("/api/v1/profiles/bismo-edge").expect(200);
    let toml = shown["toml"].as_str().unwrap();
    let send = |path: &str, text: &str| server.send("POST", path, &[], text.as_bytes());
    let mine = toml.replacen("bismo-edge", "bismo-mine", 1);
    assert_ne!(mine, toml);
    assert_eq!(send("/api/v1/profiles/check", &mine).expect(200)["name"], "bismo-mine");
    let broken = send("/api/v1/profiles", "schema = 1\nname = 3").expect(422);
    assert!(broken["detail"].as_str().unwrap().contains("name"), "{broken}");
    send("/api/v1/profiles", &toml.replacen("schema", "#schema", 1)).expect(422);
    let first = send("/api/v1/profiles", &mine).expect(201);
    assert_eq!(send("/api/v1/profiles", &mine).expect(201)["id"], first["id"]);
    let other = mine.replacen("description", "# another\ndescription", 1);
    send("/api/v1/profiles", &other).expect(409);
    let roofline = server.get("/api/v1/profiles/bismo-mine/roofline.svg");
    assert!(roofline.body.starts_with(b"<svg") || roofline.body.starts_with(b"<?xml"));
    let mut submission = small_search(0);
    submission["profile"] = json!("bismo-mine");
    submission["strategy"] = json!("uniform");
    let id = server.submit(&submission);
    assert_eq!(server.wait_for(id, "completed")["profile"], "bismo-mine");
    for name in ["nowhere", "..%2F..%2Fetc%2Fpasswd", "Cargo.toml"] {
        server.get(&format!("/api/v1/profiles/{name}")).expect(404);
    }
}

#[test]
fn a_fleet_is_shown_where_there_is_one_and_its_silence_is_told() {
    let server = Server::start(&[]);
    let told = server.get("/api/v1/fleet").expect(404);
    assert!(told["detail"].as_str().unwrap().contains("`queue`"), "{told}");
    assert_eq!(server.get("/fleet").status, 404);

    let server = Server::start(&["--queue", "nats://127.0.0.1:1"]);
    let told = server.get("/api/v1/fleet").expect(503);
    assert!(told["detail"].as_str().unwrap().contains("127.0.0.1:1"), "{told}");
    assert_eq!(server.get("/fleet").status, 503);
    let figures = String::from_utf8(server.get("/metrics").body).unwrap();
    assert!(figures.contains("\nhaq_fleet_up 0\n"), "{figures}");
}

#[test]
fn every_route_is_described_and_every_description_is_a_route() {
    let server = Server::start(&[]);
    let description = server.get("/api/v1/openapi.json").expect(200);
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.len() > 25);
    for (path, operations) in paths {
        let concrete = path
            .replace("{id}", "999")
            .replace("{name}", "nowhere")
            .replace("{file}", "pareto.svg")
            .replace("{form}", "onnx");
        for (method, operation) in operations.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path} says nothing");
            assert!(operation["responses"].as_object().is_some_and(|r| !r.is_empty()));
            if path.ends_with("/events") {
                continue;
            }
            let answer = server.send(&method.to_uppercase(), &concrete, &[], b"");
            assert_ne!(answer.status, 405, "{method} {path}");
            if answer.status == 404 {
                let told = answer.json()["detail"].as_str().unwrap().to_owned();
                assert!(!told.contains("no such thing here"), "{method} {path}");
            }
        }
    }
    // What is not described is not there.
    server.get("/api/v1/secrets").expect(404);
    server.send("PUT", "/api/v1/searches", &[], b"").expect(405);
    assert_eq!(server.get("/docs/").status, 200);
}
