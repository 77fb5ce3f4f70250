//! Certificates of a test's own, made by `openssl`.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::{path::Path, process::Command};

/// Files in PEM.
pub struct Certificates {
    pub root: String,
    /// Signed nothing.
    pub other_root: String,
    /// Of `localhost`, signed by the root.
    pub certificate: String,
    pub key: String,
}

impl Certificates {
    /// None, with a word, where there is no `openssl`.
    pub fn new(folder: &Path) -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("skipped: no openssl is installed");
            return None;
        }
        let file = |name: &str| folder.join(name).display().to_string();
        let (root, certificate, key) = (file("root.pem"), file("server.pem"), file("server.key"));
        let (root_key, other_root) = (file("root.key"), file("other-root.pem"));
        let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let make = |own: &[&str]| {
            let arguments = [&["req", "-x509", "-days", "2"][..], &new_key, own].concat();
            let output = Command::new("openssl").args(&arguments).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{arguments:?}: {said}");
        };
        make(&["-subj", "/CN=root", "-keyout", &root_key, "-out", &root]);
        make(&["-subj", "/CN=root", "-keyout", &file("other.key"), "-out", &other_root]);
        let host = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
        let leaf = ["-addext", "basicConstraints=critical,CA:FALSE"];
        let signed = ["-CA", &root, "-CAkey", &root_key, "-keyout", &key, "-out", &certificate];
        make(&[&host[..], &leaf, &signed].concat());
        Some(Self { root, other_root, certificate, key })
    }
}
