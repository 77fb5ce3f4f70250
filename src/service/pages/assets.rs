//! Scripts, styles and libraries, in the program itself.

use std::sync::OnceLock;

use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use rust_embed::RustEmbed;
use sha2::{Digest as _, Sha256};

use crate::{domain::hexadecimal, service::problem::Problem};

#[derive(RustEmbed)]
#[folder = "assets/service/"]
struct Assets;

/// A hash over all assets: another program, other addresses.
pub fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let mut names: Vec<_> = Assets::iter().collect();
        names.sort();
        let mut hasher = Sha256::new();
        for file in names.iter().filter_map(|name| Assets::get(name)) {
            hasher.update(file.metadata.sha256_hash());
        }
        hexadecimal(&hasher.finalize()[..8])
    })
}

/// With the version in its address a file never changes; modules ask for each other without, and
/// then whether it changed.
pub async fn file(
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let unknown = || Problem::not_found(format!("{name:?}: there is no such file"));
    let file = Assets::get(&name).ok_or_else(unknown)?;
    let tag = format!("\"{}\"", hexadecimal(&file.metadata.sha256_hash()[..16]));
    let versioned = uri.query().is_some_and(|query| query == format!("v={}", version()));
    let cached = if versioned { "public, max-age=31536000, immutable" } else { "public, no-cache" };
    let shared = [(header::CACHE_CONTROL, cached.to_owned()), (header::ETAG, tag.clone())];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, shared).into_response());
    }
    let kind = match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    };
    Ok((shared, [(header::CONTENT_TYPE, kind)], file.data).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendored_files_are_those_that_are_listed() {
        let listed = include_str!("../../../assets/service/vendor/VENDORED.md");
        let mut n_files = 0;
        for name in Assets::iter().filter(|name| name.starts_with("vendor/")) {
            // The list itself.
            if name.ends_with(".md") {
                continue;
            }
            let digest = hexadecimal(&Assets::get(&name).unwrap().metadata.sha256_hash());
            assert!(listed.contains(&digest), "{name} has the digest {digest}");
            n_files += 1;
        }
        assert!(n_files >= 2);
    }
}
