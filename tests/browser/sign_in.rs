//! Where a token is required.

use crate::{
    browser::{browse, first},
    common::{Server, haq},
};

#[test]
fn a_token_leads_to_where_one_wanted_and_signing_out_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let created = haq(folder.path(), &["token", "create", "someone"]).output().unwrap();
    let token = String::from_utf8(created.stdout).unwrap().trim().to_owned();
    let server = Server::start_in(folder, &["--token-required", "true"]);
    browse("sign-in", async |browser| {
        let wanted = "/submit?profile=bismo-edge";
        browser.goto(&format!("{}{wanted}", server.url)).await;
        assert_eq!(browser.look("location.pathname").await, "/login");
        browser.picture("login").await;
        browser.fill("[name=token]", "haq-token-000").await;
        browser.press("\u{e007}").await;
        let told = format!("{}?.innerText", first("#token-error"));
        assert!(browser.until(&told).await.as_str().unwrap().contains("No such token"));
        browser.console_tells_of(401).await;
        browser.picture("login-refused").await;

        browser.fill("[name=token]", &token).await;
        browser.press("\u{e007}").await;
        browser.until("location.pathname === '/submit'").await;
        assert_eq!(browser.place().await, wanted);
        assert_eq!(browser.look(&format!("{}.value", first("#profile"))).await, "bismo-edge");
        assert_eq!(browser.look("document.cookie").await, "", "scripts see the session");

        let cookie = format!("haq_session={}", browser.cookie("haq_session").await);
        let replay = || server.send("GET", "/api/v1/searches", &[("cookie", &cookie)], &[]).status;
        assert_eq!(replay(), 200);
        browser.click("form[action='/logout'] button").await;
        browser.until("location.pathname === '/login'").await;
        assert_eq!(replay(), 401, "a cookie outlives its session");
        browser.goto(&format!("{}/", server.url)).await;
        assert_eq!(browser.look("location.pathname").await, "/login");
    });
}
