//! `haq db`: what it prints, and how it ends.

use crate::common::{Folder, SMALL_SEARCH};

fn with_a_run() -> Folder {
    let folder = Folder::new();
    let mut search = SMALL_SEARCH.to_vec();
    let episodes = search.iter().position(|word| *word == "30").unwrap();
    search[episodes] = "4";
    folder.haq(&search).assert().success();
    folder
}

#[test]
fn a_database_is_copied_checked_and_vacuumed() {
    let folder = with_a_run();
    let made = folder.json(&["db", "backup", "copy.db"]);
    assert_eq!((&made["schema"], &made["path"]), (&1.into(), &"copy.db".into()));
    assert_eq!(made["size_bytes"], folder.path().join("copy.db").metadata().unwrap().len());

    for db in ["haq.db", "copy.db"] {
        let check = folder.json(&["db", "check", "--db", db]);
        assert_eq!(
            (&check["schema"], &check["is_sound"], &check["runs"]),
            (&1.into(), &true.into(), &1.into())
        );
        assert_eq!(check["schema_version"], check["schema_latest"]);
        assert!(check["episodes"].as_u64().unwrap() >= 4, "{check}");
    }

    let done = folder.json(&["db", "vacuum"]);
    assert!(
        done["after_bytes"].as_u64().unwrap() <= done["before_bytes"].as_u64().unwrap(),
        "{done}"
    );
    assert_eq!((&done["schema"], &done["log_bytes"]), (&1.into(), &0.into()));

    let text = |arguments: &[&str]| {
        let output = folder.haq(arguments).assert().success().get_output().stdout.clone();
        String::from_utf8(output).unwrap()
    };
    assert!(text(&["db", "backup", "copy.db", "--force"]).starts_with("copy.db: "));
    assert!(text(&["db", "check"]).starts_with("haq.db: sound\n  schema "));
    assert!(text(&["db", "vacuum"]).contains(" before, "));
}

#[test]
fn what_cannot_be_done_is_named() {
    let folder = Folder::new();
    folder.write("text.db", "this is a text, and a text is no database at all");
    folder.write("there.db", "");
    for (arguments, code, expected) in [
        (&["db"][..], 2, "backup"),
        (&["db", "backup"], 2, "<FILE>"),
        (&["db", "backup", "copy.db"], 1, "haq.db does not exist"),
        (&["db", "check"], 1, "haq.db does not exist"),
        (&["db", "vacuum"], 1, "haq.db does not exist"),
        (&["db", "check", "--db", "text.db"], 1, "text.db is not an SQLite database"),
        (&["db", "backup", "text.db", "--db", "there.db"], 1, "--force"),
        (&["db", "backup", "none/copy.db", "--db", "there.db"], 1, "none does not exist"),
    ] {
        let (message, found) = folder.failure(arguments);
        assert_eq!(found, code, "{arguments:?}: {message}");
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    assert!(!folder.path().join("haq.db").exists());
}

#[test]
fn a_damaged_database_fails_the_check_and_says_what_to_do() {
    let folder = with_a_run();
    let path = folder.path().join("haq.db");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let output = folder.haq(&["db", "check", "--json"]).assert().code(1).get_output().clone();
    let check: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(check["is_sound"], false);
    assert!(!check["problems"].as_array().unwrap().is_empty());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("haq.db is damaged") && message.contains("restore a backup"),
        "{message}"
    );
}
