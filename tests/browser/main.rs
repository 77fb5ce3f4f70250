//! The real service in a real browser: what people see, click and take with them.
//!
//! Pictures of the pages are left in `target/tmp/screenshots`.

#[allow(dead_code, reason = "each test uses its own part")]
#[path = "../service/common.rs"]
mod common;

mod browser;
mod compare;
mod large;
mod looks;
mod sign_in;
mod stop;
mod submit;
mod take;
