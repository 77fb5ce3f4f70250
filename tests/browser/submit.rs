//! From the form to a search that is watched.

use serde_json::json;

use crate::{
    browser::{browse, first},
    common::Server,
};

/// Points in a chart.
const N_POINTS: &str = "echarts.getInstanceByDom(document.getElementById('pareto')).getOption()
    .series.reduce((sum, series) => sum + series.data.length, 0)";

#[test]
fn a_search_is_handed_in_and_watched_until_it_is_completed() {
    let server = Server::start(&[]);
    browse("submit", async |browser| {
        browser.goto(&format!("{}/submit", server.url)).await;
        browser.choose("#profile", "bismo-edge").await;
        browser.fill("#budget", "speed=2").await;
        browser.fill("#episodes", "60").await;
        browser.fill("#seed", "3").await;
        browser.fill("#tags", "first, from the form").await;
        browser.click("button[type=submit].primary").await;

        let told = browser.until(&format!("{}?.innerText", first("#budget-error"))).await;
        assert!(told.as_str().unwrap().contains("speed"), "{told}");
        browser.console_tells_of(422).await;
        browser.picture("submit-mistake").await;
        let fields = ["#profile", "#budget", "#episodes", "#seed", "#tags"];
        let kept = ["bismo-edge", "speed=2", "60", "3", "first, from the form"];
        for (field, value) in fields.into_iter().zip(kept) {
            assert_eq!(browser.look(&format!("{}.value", first(field))).await, value);
        }
        assert_eq!(browser.look(&format!("{}.ariaInvalid", first("#budget"))).await, "true");
        assert_eq!(browser.count("[aria-invalid=true]").await, 1);
        assert_eq!(browser.look("document.activeElement.id").await, "problems");

        browser.fill("#budget", "latency=0.5").await;
        browser.click("button[type=submit].primary").await;
        browser.until("location.pathname === '/searches/1'").await;
        browser.look("window.stayed = true").await;
        let done = format!("Number({}.textContent)", first("#done"));
        let mut seen = vec![0];
        while *seen.last().unwrap() < 60 {
            let last = *seen.last().unwrap();
            let now = browser.until(&format!("{done} > {last} && {done}")).await;
            seen.push(now.as_u64().unwrap());
            if seen.len() == 3 {
                browser.picture("search-running").await;
            }
        }
        assert!(seen.len() > 3, "they came at once: {seen:?}");
        browser.until(&format!("{}.innerText === 'completed'", first("h1 .state"))).await;
        let n_episodes = server.search(1)["episodes"].as_u64().unwrap();
        browser.until(&format!("{N_POINTS} > {n_episodes}")).await;
        assert_eq!(browser.look("window.stayed").await, true, "the page was loaded again");
        assert_eq!(browser.text("#connection").await, "Live");
        assert!(browser.is_there("#log li:not(.note)").await, "the log is empty");
        assert!(browser.text("dl.facts").await.contains("from the form"));
    });
    let submission = json!({
        "profile": "bismo-edge", "budget": ["latency=0.5"], "episodes": 60, "seed": 3,
        "pin": "first=8,last=8",
    });
    let same = server.submit(&submission);
    server.wait_for(same, "completed");
    assert_eq!(server.episodes(same), server.episodes(1));
}
