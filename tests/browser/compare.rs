//! Searches are found among others and compared.

use serde_json::{Value, json};

use crate::{
    browser::{browse, first},
    common::{Server, small_search},
};

#[test]
fn searches_of_a_tag_are_selected_and_compared() {
    let server = Server::start(&[]);
    let ids: Vec<i64> = [("mine", 1, "ddpg"), ("others", 2, "random"), ("mine", 3, "random")]
        .into_iter()
        .map(|(tag, seed, strategy)| {
            let mut submission = small_search(seed);
            submission["tags"] = json!([tag]);
            submission["strategy"] = json!(strategy);
            server.submit(&submission)
        })
        .collect();
    for &id in &ids {
        server.wait_for(id, "completed");
    }
    browse("compare", async |browser| {
        browser.goto(&server.url).await;
        assert_eq!(browser.count("#searches tbody tr").await, 3);
        browser.picture("overview").await;
        browser.fill("#filter [name=tag]", "mine").await;
        browser.until("document.querySelectorAll('#searches tbody tr').length === 2").await;
        assert_eq!(
            browser.place().await.split("tag=").nth(1).unwrap().split('&').next(),
            Some("mine")
        );
        assert!(!browser.is_there(&format!("#search-{}", ids[1])).await);

        let is_enabled = format!("!{}.disabled", first("#compare button"));
        browser.click(&format!("#pick-{}", ids[0])).await;
        assert_eq!(browser.look(&is_enabled).await, false);
        browser.click(&format!("#pick-{}", ids[2])).await;
        browser.click("#compare button").await;
        browser.until("location.pathname === '/compare'").await;
        assert_eq!(browser.place().await, format!("/compare?ids={},{}", ids[0], ids[2]));

        let drawn = "echarts.getInstanceByDom(document.getElementById('fronts'))?.getOption()
            ?.series.map((series) => series.data.length)";
        let drawn = browser.until(drawn).await;
        let path = format!("/api/v1/compare?ids={},{}", ids[0], ids[2]);
        let compared = server.get(&path).expect(200)["searches"].as_array().unwrap().clone();
        let sizes = |search: &Value| json!(search["front"].as_array().unwrap().len());
        assert_eq!(drawn, json!(compared.iter().map(sizes).collect::<Vec<_>>()));
        assert_eq!(browser.look(MARKED).await, json!(differing(&compared)));
        browser.picture("compare").await;

        browser.goto(&format!("{}/compare?ids=1,99", server.url)).await;
        assert!(browser.text(".callout.error").await.contains("99"));
        browser.picture("compare-unknown").await;
    });
}

/// Of each layer whether its weight and activation bits are marked in the second search.
const MARKED: &str = "[...document.querySelectorAll('.bits-table tbody tr')].map((row) =>
    [...row.querySelectorAll('td:last-child .bit')].map((bit) => bit.matches('.marked')))";

fn differing(compared: &[Value]) -> Vec<[bool; 2]> {
    let layers = |search: &Value| search["layers"].as_array().unwrap().clone();
    let pairs = layers(&compared[0]).into_iter().zip(layers(&compared[1]));
    let differ = |key: &str, a: &Value, b: &Value| a[key] != b[key];
    pairs.map(|(a, b)| ["weight_bits", "activation_bits"].map(|key| differ(key, &a, &b))).collect()
}
