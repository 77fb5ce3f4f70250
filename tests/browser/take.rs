//! A point of the front is picked, seen, and taken along.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    browser::{browse, first},
    common::{Server, small_search},
};

fn found_by_small_search() -> (Server, Vec<Value>) {
    let server = Server::start(&[]);
    let mut submission = small_search(1);
    submission["episodes"] = json!(60);
    let id = server.submit(&submission);
    server.wait_for(id, "completed");
    let front = server.get(&format!("/api/v1/searches/{id}/front")).expect(200);
    let front = front["front"].as_array().unwrap().clone();
    assert!(front.len() > 2, "{} on the front", front.len());
    (server, front)
}

/// Bits of the layers as the strip shows them.
const STRIP: &str = "[...document.querySelectorAll('#bits li')].map((cell) =>
    [...cell.querySelectorAll('.bit')].map((bit) => Number(bit.textContent)))";

#[test]
fn a_point_is_picked_with_keys_or_mouse_and_all_follows() {
    let (server, front) = found_by_small_search();
    let best = server.search(1)["best"]["episode"].clone();
    let other = front.iter().find(|point| point["index"] != best).unwrap();
    browse("pick", async |browser| {
        browser.goto(&format!("{}/searches/1", server.url)).await;
        browser.until(&format!("{}.textContent.includes(', the best:')", first("#picked"))).await;
        assert_eq!(browser.count("#pick-best:not([hidden])").await, 0);

        browser.look(&format!("{}.focus()", first("#front-details summary"))).await;
        browser.press("\u{e007}").await;
        let button = format!("#front button[data-episode='{}']", other["index"]);
        browser.until(&format!("{} !== null", first(&button))).await;
        assert_eq!(browser.count("#front tbody tr").await, front.len() as u64);
        let focused = format!("document.activeElement === {}", first(&button));
        for _ in 0..front.len() + 4 {
            if browser.look(&focused).await == true {
                break;
            }
            browser.press("\u{e004}").await;
        }
        browser.press(" ").await;
        let picked = format!("Episode {}:", other["index"]);
        browser.until(&format!("{}.textContent.startsWith({picked:?})", first("#picked"))).await;
        assert_eq!(browser.look(STRIP).await, other["policy"]);
        let layers = other["policy"].as_array().unwrap().len() as u64;
        assert_eq!(browser.count("#layers tbody tr").await, layers);
        assert_eq!(browser.look(&focused).await, true, "the focus was lost");
        browser.until(&format!("{}.ariaPressed === 'true'", first(&button))).await;
        let links = "[...document.querySelectorAll('[data-export]')].map((link) => link.search)";
        let links = browser.look(links).await;
        let expected = format!("?episode={}", other["index"]);
        assert!(links.as_array().unwrap().iter().all(|link| *link == expected), "{links}");
        browser.picture("search-picked").await;

        browser.reload().await;
        browser.until(&format!("{}.textContent.startsWith({picked:?})", first("#picked"))).await;
        browser.click("#pick-best").await;
        browser.until(&format!("{}.textContent.includes(', the best:')", first("#picked"))).await;
        assert_eq!(browser.text("#exports-note").await, "Of the best.");

        // The member of the front that lies most alone in the chart.
        browser.look(&format!("{}.scrollIntoView({{ block: 'center' }})", first("#pareto"))).await;
        let spot = browser.until(ALONE).await;
        let place = |name: &str| spot[name].as_f64().unwrap();
        browser.click_at(place("x"), place("y")).await;
        let episode = &spot["episode"];
        let picked = format!("Episode {episode}");
        browser.until(&format!("{}.textContent.startsWith({picked:?})", first("#picked"))).await;
        assert_eq!(browser.look("location.hash").await, format!("#episode-{episode}"));
    });
}

/// Of the members of the front the one farthest from all other points, on the screen.
const ALONE: &str = "(() => {
    const host = document.getElementById('pareto');
    const chart = echarts.getInstanceByDom(host);
    if (!chart?.getOption()) return null;
    const box = host.getBoundingClientRect();
    const series = chart.getOption().series;
    const at = (value) => chart.convertToPixel('grid', value.slice(0, 2));
    const all = series.flatMap(({ data }) => data);
    const front = series.find(({ id }) => id === 'front').data
        .filter((value) => chart.containPixel('grid', at(value)));
    const spots = front.map((value) => {
        const [x, y] = at(value);
        const others = all.filter((other) => other[2] !== value[2]).map(at);
        const away = Math.min(...others.map(([ox, oy]) => Math.hypot(x - ox, y - oy)));
        return { x: box.x + x, y: box.y + y, episode: value[2], away };
    });
    return spots.sort((a, b) => b.away - a.away)[0];
})()";

#[test]
fn a_downloaded_network_is_as_good_as_was_said() {
    let (server, _) = found_by_small_search();
    let best = server.search(1)["best"].clone();
    let policy = &server.episodes(1)[best["episode"].as_u64().unwrap() as usize]["policy"];
    browse("take", async |browser| {
        browser.goto(&format!("{}/searches/1", server.url)).await;
        browser.until(&format!("{}.textContent.includes(', the best:')", first("#picked"))).await;
        let network = browser.download("a[data-export][href*='/exports/onnx']").await;
        assert_eq!(network.extension().unwrap(), "onnx");
        let haq = |arguments: &[&str]| -> Value {
            let output = server.haq(arguments).arg(&network).arg("--json").output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{arguments:?}: {said}");
            serde_json::from_slice(&output.stdout).unwrap()
        };
        let inspected = haq(&["model", "inspect"]);
        let n_layers = policy.as_array().unwrap().len();
        assert_eq!(inspected["layers"].as_array().unwrap().len(), n_layers);
        // How pixels become its input, which nothing but the origin of a network can tell.
        let card = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/digits_net.json");
        std::fs::copy(card, network.with_extension("json")).unwrap();
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits.csv.gz");
        let evaluated = haq(&["evaluate", "--data", data, "--images", "64", "--model"]);
        let (own, said) = (&evaluated["quality"]["top1"], &best["test_quality"]);
        assert_eq!(own, said, "{evaluated}");

        let file = browser.download("a[data-export][href$='/policy']").await;
        let file: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let widths = |layer: &Value| json!([layer["weight_bits"], layer["activation_bits"]]);
        let widths: Vec<Value> = file["layers"].as_array().unwrap().iter().map(widths).collect();
        assert_eq!(json!(widths), *policy);
        let report = browser.download("a[href$='/report']").await;
        assert!(std::fs::read_to_string(report).unwrap().contains("<svg"));
    });
}
