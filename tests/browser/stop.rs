//! Searches are paused, sent on, cancelled and deleted with buttons.

use serde_json::json;

use crate::{
    browser::{browse, first},
    common::{Server, small_search},
};

#[test]
fn buttons_pause_resume_cancel_and_delete() {
    let server = Server::start(&[]);
    let mut long = small_search(0);
    long["episodes"] = json!(5000);
    let id = server.submit(&long);
    browse("stop", async |browser| {
        browser.goto(&format!("{}/searches/{id}", server.url)).await;
        let is = |state: &str| format!("{}.innerText === {state:?}", first("h1 .state"));
        let done = format!("Number({}.textContent)", first("#done"));
        browser.until(&format!("{done} > 3")).await;
        assert!(!browser.is_there("#delete").await, "what runs cannot be deleted");
        browser.click("#pause").await;
        browser.until(&is("paused")).await;
        assert_eq!(server.search(id)["state"], "paused");
        assert!(!browser.is_there("#pause").await);
        browser.picture("search-paused").await;
        let paused_at = browser.look(&done).await;
        browser.click("#resume").await;
        browser.until(&format!("{done} > {paused_at}")).await;

        // From the overview, whose row follows.
        browser.goto(&server.url).await;
        let row = format!("#search-{id}");
        let row_is =
            |state: &str| format!("{}.innerText === {state:?}", first(&format!("{row} .state")));
        browser.until(&row_is("running")).await;
        let row_done = format!("Number({}.textContent)", first(&format!("{row} [data-done]")));
        let now = browser.look(&row_done).await;
        browser.until(&format!("{row_done} > {now}")).await;
        browser.click(&format!("#cancel-{id}")).await;
        browser.until(&row_is("cancelled")).await;
        server.wait_for(id, "cancelled");

        browser.click(&format!("{row} th a")).await;
        browser.until(&is("cancelled")).await;
        browser.click("#delete").await;
        browser.until(&format!("{}.open", first("#delete-dialog"))).await;
        browser.picture("delete-dialog").await;
        browser.press("\u{e00c}").await;
        browser.until(&format!("!{}.open", first("#delete-dialog"))).await;
        assert_eq!(server.get(&format!("/api/v1/searches/{id}")).status, 200);
        browser.click("#delete").await;
        browser.click("#delete-dialog .danger").await;
        browser.until("location.pathname === '/'").await;
        assert_eq!(server.get(&format!("/api/v1/searches/{id}")).status, 404);
        assert!(browser.text("#searches").await.contains("No searches here"));
        browser.picture("overview-empty").await;
        browser.goto(&format!("{}/searches/{id}", server.url)).await;
        browser.console_tells_of(404).await;
        assert!(browser.text("main").await.contains("deleted"));
        browser.picture("unknown-search").await;
    });
}
