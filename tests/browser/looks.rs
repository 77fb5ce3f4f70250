//! Every page in light and dark, on a desk and on a telephone.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    browser::{Browser, browse, first},
    common::{Server, small_search},
};

/// Waits until a page shows what its script loads.
async fn settle(browser: &Browser, path: &str) {
    if path.starts_with("/searches/") && path != UNKNOWN {
        browser.until(&format!("{}.textContent !== 'Loading…'", first("#picked"))).await;
        browser.until(&format!("{}.textContent !== ''", first("#pareto-caption"))).await;
    }
    if path == "/searches/1" {
        browser.until(&format!("{} !== null", first("#log li:not(.note)"))).await;
        assert!(!browser.is_there("#log time").await, "past messages have the present time");
    }
    if path.starts_with("/compare?") {
        let drawn = "echarts.getInstanceByDom(document.getElementById('fronts'))?.getOption()";
        browser.until(drawn).await;
    }
}

/// A service with searches that ended well, failed, work and wait.
fn with_searches_in_every_state() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let digits = data.join("digits.csv.gz");
    std::fs::copy(assets.join("digits.csv.gz"), &digits).unwrap();
    let (models, folders) = (assets.display().to_string(), data.display().to_string());
    let arguments = ["--model-folders", &models, "--data-folders", &folders];
    let server = Server::start_in(folder, &arguments);
    let submit = |seed: u64, changes: Value| {
        let mut submission = small_search(seed);
        submission.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        server.submit(&submission)
    };
    let note = "Half the latency of 8/8,\nfor the talk on Thursday.";
    let tagged = json!({ "tags": ["bit-serial", "a tag of several words"], "note": note });
    let several = json!({ "strategy": "random", "budget": ["latency=0.5", "energy=0.9"] });
    for (seed, changes) in [(1, tagged), (2, several)] {
        let id = submit(seed, changes);
        server.wait_for(id, "completed");
    }
    let model = json!({ "model": "digits_net.onnx", "data": "digits.csv.gz", "episodes": 400 });
    let failing = submit(3, model);
    server.wait_until(failing, |found| found["episodes"].as_u64() > Some(9));
    server.post(&format!("/api/v1/searches/{failing}/pause"), &json!({})).expect(202);
    server.wait_for(failing, "paused");
    std::fs::remove_file(&digits).unwrap();
    server.post(&format!("/api/v1/searches/{failing}/resume"), &json!({})).expect(202);
    server.wait_until(failing, |found| found["state"] == "failed");
    submit(4, json!({ "episodes": 20_000 }));
    submit(5, json!({ "budget": [], "measure": "kl", "profile": "edge-tpu" }));
    server
}

const UNKNOWN: &str = "/searches/99";

const PAGES: [(&str, &str); 10] = [
    ("overview", "/"),
    ("search", "/searches/1"),
    ("failed", "/searches/3"),
    ("queued", "/searches/5"),
    ("compare", "/compare?ids=1,2"),
    ("compare-form", "/compare"),
    ("submit", "/submit"),
    ("profiles", "/profiles"),
    ("profile", "/profiles/bismo-edge"),
    ("unknown", UNKNOWN),
];

#[test]
fn pages_fit_and_complain_of_nothing_in_light_and_dark_on_desk_and_telephone() {
    let server = with_searches_in_every_state();
    browse("looks", async |browser| {
        for (scheme, device) in
            [("light", "desk"), ("dark", "desk"), ("light", "phone"), ("dark", "phone")]
        {
            let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
            browser.command("Emulation.setEmulatedMedia", json!({ "features": features })).await;
            let is_phone = device == "phone";
            let (width, height) = if is_phone { (390, 844) } else { (1280, 900) };
            let size = json!({
                "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone,
            });
            browser.command("Emulation.setDeviceMetricsOverride", size).await;
            for (name, path) in PAGES {
                browser.goto(&format!("{}{path}", server.url)).await;
                settle(browser, path).await;
                browser.picture(&format!("{name}-{device}-{scheme}")).await;
                let needed = browser.look("document.documentElement.scrollWidth").await;
                assert!(needed.as_i64() <= Some(width), "{path} is {needed} wide on a {device}");
                match path {
                    UNKNOWN => browser.console_tells_of(404).await,
                    _ => browser.console_is_clean().await,
                }
            }
        }
    });
}
