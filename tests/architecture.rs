//! The arrows between modules point one way: this reads the source and fails on one that does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What each module of the root package may use, beside the crates it brings in itself.
/// ARCHITECTURE.md shows the same as a picture.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("network", &["domain"]),
    ("data", &["domain"]),
    ("quantization", &["network", "domain"]),
    ("queue", &["domain"]),
    ("store", &["queue", "domain"]),
    ("report", &["domain"]),
    ("export", &["network", "domain"]),
    ("search", &["quantization", "network", "data", "domain"]),
    (
        "runner",
        &[
            "search",
            "store",
            "report",
            "export",
            "quantization",
            "queue",
            "network",
            "data",
            "domain",
        ],
    ),
    (
        "service",
        &["runner", "search", "store", "report", "queue", "quantization", "data", "domain"],
    ),
    (
        "cli",
        &[
            "service",
            "runner",
            "search",
            "store",
            "report",
            "export",
            "quantization",
            "queue",
            "network",
            "data",
            "domain",
        ],
    ),
];

/// Crates that only some modules may touch.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("tch", &["network", "data", "quantization", "cli"]),
    ("haq_agent", &["search"]),
    ("haq_kernels", &["network"]),
    ("haq_simulator", &["domain", "search", "runner", "service", "cli"]),
    ("sqlx", &["store"]),
    ("async_nats", &["queue"]),
    ("plotters", &["report"]),
    ("prost", &["network"]),
    ("clap", &["cli"]),
    ("axum", &["service"]),
    ("hyper", &["service"]),
    ("utoipa", &["service", "runner"]),
    ("object_store", &["queue"]),
    ("ureq", &["queue", "cli"]),
    ("indicatif", &["cli"]),
];

/// What the crates below must not know.
const NEVER_IN: &[(&str, &[&str])] = &[
    ("agent/src", &["haq_simulator", "haq", "sqlx", "plotters", "clap"]),
    ("kernels/src", &["haq_agent", "haq_simulator", "haq", "tch", "sqlx", "plotters", "clap"]),
    ("simulator/src", &["haq_agent", "haq", "tch", "sqlx", "plotters", "clap"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the source tree is readable") {
        let path = entry.expect("the source tree is readable").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}

/// Identifiers that stand right before `::` with nothing of a path before them, and, for
/// `crate::{a, b::c}`, the names inside the braces.
fn roots_and_modules(text: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut crates, mut modules) = (BTreeSet::new(), BTreeSet::new());
    for (at, _) in code.match_indices("::") {
        let word_start = code[..at].rfind(|c| !is_word(c)).map_or(0, |i| i + 1);
        let word = &code[word_start..at];
        let follows_a_path = code[..word_start].ends_with(':');
        if word.is_empty() || follows_a_path {
            continue;
        }
        if word != "crate" {
            crates.insert(word.to_owned());
            continue;
        }
        let rest = &code[at + 2..];
        if let Some(group) = rest.strip_prefix('{') {
            modules.extend(names_in_group(group));
        } else {
            modules.insert(rest.chars().take_while(|c| is_word(*c)).collect());
        }
    }
    (crates, modules)
}

/// The first name of each item of `a, b::{c, d}, e}`.
fn names_in_group(group: &str) -> Vec<String> {
    let (mut names, mut depth, mut name) = (Vec::new(), 0usize, String::new());
    let mut complete = false;
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(std::mem::take(&mut name));
                complete = false;
            }
            ':' if depth == 0 => complete = true,
            c if depth == 0 && !complete && (c.is_alphanumeric() || c == '_') => name.push(c),
            _ => {}
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn groups_and_paths_are_read() {
    let (crates, modules) = roots_and_modules(
        "use crate::{domain::{Bits, Cost}, store};\nlet x = tch::Tensor::new(); // sqlx::no\n",
    );
    assert_eq!(modules, ["domain", "store"].map(String::from).into());
    assert!(crates.contains("tch") && !crates.contains("sqlx"));
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut wrong = Vec::new();
    let modules = fs::read_dir(root().join("src")).expect("src is there");
    for folder in modules.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let module =
            folder.file_name().expect("a folder has a name").to_string_lossy().into_owned();
        let Some(below) = allowed.get(module.as_str()) else {
            wrong.push(format!("src/{module} is not in MAY_USE; say what it may use"));
            continue;
        };
        for file in rust_files(&folder) {
            let text = fs::read_to_string(&file).expect("source is text");
            let (crates, used) = roots_and_modules(&text);
            let shown = file.strip_prefix(root()).expect("inside the root").display().to_string();
            for upward in used.iter().filter(|u| **u != module && !below.contains(&u.as_str())) {
                if allowed.contains_key(upward.as_str()) {
                    wrong.push(format!("{shown} uses {upward}, which is not below {module}"));
                }
            }
            for (name, places) in ONLY_IN {
                if crates.contains(*name) && !places.contains(&module.as_str()) {
                    wrong.push(format!("{shown} uses the crate {name}; only {places:?} may"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_crates_below_know_nothing_of_what_is_above() {
    let mut wrong = Vec::new();
    for (folder, forbidden) in NEVER_IN {
        for file in rust_files(&root().join(folder)) {
            let (crates, _) =
                roots_and_modules(&fs::read_to_string(&file).expect("source is text"));
            for name in forbidden.iter().filter(|name| crates.contains(**name)) {
                wrong.push(format!("{} uses {name}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
