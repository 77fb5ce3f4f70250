//! Every page in light and dark, on a desk and on a telephone.

use serde_json::json;

use crate::{
    browser::{Browser, browse, first},
    common::{Server, small_search},
};

/// Waits until a page shows what its script loads.
async fn settle(browser: &Browser, path: &str) {
    if path.starts_with("/searches/1") {
        browser.until(&format!("{}.textContent.includes(', the best:')", first("#picked"))).await;
        browser.until(&format!("{}.textContent !== ''", first("#pareto-caption"))).await;
        browser.until("document.querySelectorAll('#log li time').length > 0").await;
    }
    if path.starts_with("/compare?") {
        let drawn = "echarts.getInstanceByDom(document.getElementById('fronts'))?.getOption()";
        browser.until(drawn).await;
    }
}

#[test]
fn pages_fit_and_complain_of_nothing_in_light_and_dark_on_desk_and_telephone() {
    let server = Server::start(&[]);
    let mut first_search = small_search(1);
    first_search["tags"] = json!(["bit-serial", "a tag of several words"]);
    first_search["note"] = json!("Half the latency of 8/8,\nfor the talk on Thursday.");
    let first_search = server.submit(&first_search);
    let mut second = small_search(2);
    second["strategy"] = json!("random");
    second["budget"] = json!(["latency=0.5", "size=60%"]);
    second["budget"] = json!(["latency=0.5", "energy=0.9"]);
    let second = server.submit(&second);
    let mut impossible = small_search(3);
    impossible["budget"] = json!(["latency=0.001"]);
    let impossible = server.submit(&impossible);
    server.wait_for(first_search, "completed");
    server.wait_for(second, "completed");
    server.wait_for(impossible, "failed");
    let pages = [
        ("overview", "/"),
        ("search", "/searches/1"),
        ("failed", "/searches/3"),
        ("compare", "/compare?ids=1,2"),
        ("compare-form", "/compare"),
        ("submit", "/submit"),
        ("profiles", "/profiles"),
        ("profile", "/profiles/bismo-edge"),
    ];
    browse("looks", async |browser| {
        for (scheme, width, height, device) in [
            ("light", 1280, 900, "desk"),
            ("dark", 1280, 900, "desk"),
            ("light", 390, 844, "phone"),
            ("dark", 390, 844, "phone"),
        ] {
            let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
            browser.command("Emulation.setEmulatedMedia", json!({ "features": features })).await;
            let metrics = json!({
                "width": width, "height": height, "deviceScaleFactor": 1, "mobile": device == "phone",
            });
            browser.command("Emulation.setDeviceMetricsOverride", metrics).await;
            for (name, path) in pages {
                browser.goto(&format!("{}{path}", server.url)).await;
                settle(browser, path).await;
                browser.picture(&format!("{name}-{device}-{scheme}")).await;
                let wide = browser.look("document.documentElement.scrollWidth").await;
                assert!(wide.as_i64().unwrap() <= width, "{path} is {wide} wide on a {device}");
                browser.console_is_clean().await;
            }
            browser.goto(&format!("{}/no/such/page", server.url)).await;
            browser.console_tells_of(404).await;
            browser.picture(&format!("unknown-{device}-{scheme}")).await;
        }
    });
}
