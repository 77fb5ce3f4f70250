//! Chromium without a window, and how tests look and click.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    panic::{AssertUnwindSafe, resume_unwind},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{
    By, ChromiumLikeCapabilities as _, DesiredCapabilities, LoggingPrefsLogLevel, WebDriver,
    WebElement, support::base64_decode,
};

use crate::common::PATIENCE;

/// Where pictures of the pages go.
const SCREENSHOTS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/screenshots");

pub struct Browser {
    driver: WebDriver,
    downloads: TempDir,
}

/// Runs the scenario in a browser of its own, one at a time, and looks at the console afterwards.
/// Says so and returns where there is no browser; where `CI` is set there has to be one.
///
/// - `name`: of the picture that is left when it fails
pub fn browse(name: &str, scenario: impl AsyncFnOnce(&Browser)) {
    let (Some(chromium), Some(chromedriver)) = (program("chromium"), program("chromedriver"))
    else {
        assert!(std::env::var_os("CI").is_none(), "chromium and chromedriver are not installed");
        eprintln!("skipped: chromium and chromedriver are not installed");
        return;
    };
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (_process, address) = Chromedriver::start(&chromedriver);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        let browser = Browser::open(&address, &chromium).await;
        let look = async {
            scenario(&browser).await;
            browser.console_is_clean().await;
        };
        let outcome = AssertUnwindSafe(look).catch_unwind().await;
        if outcome.is_err() {
            browser.picture(&format!("failed-{name}")).await;
        }
        browser.driver.quit().await.expect("the browser ends");
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    });
}

fn program(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The process that steers the browser; ended when dropped.
struct Chromedriver(Child);

impl Chromedriver {
    /// It, and its address.
    fn start(program: &Path) -> (Self, String) {
        let mut child = Command::new(program)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let process = Self(child);
        let mut line = String::new();
        loop {
            line.clear();
            let n_bytes = stdout.read_line(&mut line).expect("stdout is text");
            assert!(n_bytes > 0, "chromedriver ended");
            if let Some((_, port)) = line.split_once("successfully on port ") {
                let port = port.trim().trim_end_matches('.').to_owned();
                std::thread::spawn(move || {
                    let _ = stdout.read_to_end(&mut Vec::new());
                });
                return (process, format!("http://127.0.0.1:{port}"));
            }
        }
    }
}

impl Drop for Chromedriver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Browser {
    async fn open(address: &str, chromium: &Path) -> Self {
        let downloads = tempfile::tempdir().expect("a temporary folder can be made");
        let mut wanted = DesiredCapabilities::chrome();
        wanted.set_binary(chromium.to_str().expect("its path is text")).unwrap();
        for argument in [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--hide-scrollbars",
            "--window-size=1280,900",
        ] {
            wanted.add_arg(argument).unwrap();
        }
        let preferences = json!({ "download.default_directory": downloads.path() });
        wanted.add_experimental_option("prefs", preferences).unwrap();
        wanted.set_browser_log_level(LoggingPrefsLogLevel::All).unwrap();
        let driver = WebDriver::new(address, wanted).await.expect("the browser starts");
        Self { driver, downloads }
    }

    pub async fn goto(&self, url: &str) {
        self.driver.goto(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    pub async fn reload(&self) {
        self.driver.refresh().await.expect("the page loads again");
    }

    /// Path and query of the page.
    pub async fn place(&self) -> String {
        self.look("location.pathname + location.search").await.as_str().unwrap().to_owned()
    }

    /// The value of an expression in the page.
    pub async fn look(&self, expression: &str) -> Value {
        let found = self.driver.execute(format!("return ({expression});"), Vec::new()).await;
        found.unwrap_or_else(|error| panic!("{expression}: {error}")).json().clone()
    }

    /// Waits until an expression in the page holds, and gives its value. A page that is just
    /// being exchanged for another one does not hold.
    pub async fn until(&self, expression: &str) -> Value {
        let began = Instant::now();
        loop {
            let found = self.driver.execute(format!("return ({expression});"), Vec::new()).await;
            match found {
                Ok(found) if is_truthy(found.json()) => return found.json().clone(),
                found => {
                    let last = found.map(|found| found.json().clone());
                    assert!(began.elapsed() < PATIENCE, "{expression} stays {last:?}");
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What can be read in the first of these elements.
    pub async fn text(&self, css: &str) -> String {
        let text = self.look(&format!("{}.innerText", first(css))).await;
        text.as_str().expect("text is text").trim().to_owned()
    }

    pub async fn count(&self, css: &str) -> u64 {
        self.look(&format!("document.querySelectorAll({css:?}).length")).await.as_u64().unwrap()
    }

    pub async fn is_there(&self, css: &str) -> bool {
        self.count(css).await > 0
    }

    pub async fn find(&self, css: &str) -> WebElement {
        self.until(&format!("document.querySelector({css:?}) !== null")).await;
        self.driver.find(By::Css(css)).await.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    /// Clicks as a mouse does, once the element is there and nothing lies over it.
    pub async fn click(&self, css: &str) {
        let began = Instant::now();
        loop {
            // It may be exchanged for a newer one between being found and being clicked.
            let Err(error) = self.find(css).await.click().await else { return };
            assert!(began.elapsed() < PATIENCE, "{css}: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Clicks at a place of the window.
    pub async fn click_at(&self, x: f64, y: f64) {
        let (x, y) = (x.round() as i64, y.round() as i64);
        let chain = self.driver.action_chain().move_to(x, y).click();
        chain.perform().await.expect("there is a place to click at");
    }

    /// Presses keys where the focus is.
    pub async fn press(&self, keys: &str) {
        let chain = self.driver.action_chain().send_keys(keys);
        chain.perform().await.expect("keys can be pressed");
    }

    /// Replaces what stands in a field.
    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.unwrap_or_else(|error| panic!("{css}: {error}"));
        field.send_keys(text).await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    pub async fn choose(&self, css: &str, value: &str) {
        self.click(&format!("{css} option[value={value:?}]")).await;
        assert_eq!(self.look(&format!("{}.value", first(css))).await, value);
    }

    /// Clicks a link and waits for the file behind it.
    pub async fn download(&self, css: &str) -> PathBuf {
        let names = || -> Vec<PathBuf> {
            let entries = std::fs::read_dir(self.downloads.path()).unwrap();
            entries.map(|entry| entry.unwrap().path()).collect()
        };
        let before = names();
        self.click(css).await;
        let began = Instant::now();
        loop {
            let mut fresh = names();
            fresh.retain(|path| !before.contains(path));
            let is_whole = |path: &PathBuf| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                !name.ends_with(".crdownload") && !name.starts_with('.')
            };
            if let Some(path) = fresh.iter().find(|path| is_whole(path)) {
                return path.clone();
            }
            assert!(began.elapsed() < PATIENCE, "{css}: there is only {fresh:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The value of a cookie.
    pub async fn cookie(&self, name: &str) -> String {
        self.driver.get_named_cookie(name).await.expect("the cookie is there").value
    }

    /// A command of the DevTools protocol.
    pub async fn command(&self, name: &str, parameters: Value) -> Value {
        let answer = self.driver.cdp().send_raw(name, parameters).await;
        answer.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Leaves a picture of the whole page.
    pub async fn picture(&self, name: &str) {
        // What was just changed is laid out.
        let frames = "const done = arguments[0];
            requestAnimationFrame(() => requestAnimationFrame(() => done()));";
        let _ = self.driver.execute_async(frames, Vec::new()).await;
        let size = &self.command("Page.getLayoutMetrics", json!({})).await["cssContentSize"];
        let clip = json!({
            "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1,
        });
        let whole = json!({ "captureBeyondViewport": true, "clip": clip });
        let taken = self.command("Page.captureScreenshot", whole).await;
        let bytes = base64_decode(taken["data"].as_str().expect("a picture is text"));
        std::fs::create_dir_all(SCREENSHOTS).expect("the folder can be made");
        let path = Path::new(SCREENSHOTS).join(format!("{name}.png"));
        std::fs::write(path, bytes.expect("it is base64")).expect("the folder can be written to");
    }

    /// What the console says since it was last asked: violations of the content-security policy,
    /// uncaught errors, requests that were refused.
    async fn complaints(&self) -> Vec<String> {
        let entries = self.driver.browser_log().await.expect("the console can be read");
        let severe = entries.into_iter().filter(|entry| entry.level == "SEVERE");
        severe.map(|entry| entry.message).collect()
    }

    pub async fn console_is_clean(&self) {
        assert_eq!(self.complaints().await, Vec::<String>::new());
    }

    /// The console tells of an answer with this status, and of nothing else.
    pub async fn console_tells_of(&self, status: u16) {
        let complaints = self.complaints().await;
        let expected = format!("status of {status}");
        assert!(!complaints.is_empty(), "nothing is said of {status}");
        assert!(complaints.iter().all(|told| told.contains(&expected)), "{complaints:?}");
    }
}

/// The first of these elements as an expression.
pub fn first(css: &str) -> String {
    format!("document.querySelector({css:?})")
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}
