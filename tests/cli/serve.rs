//! `haq serve`: its configuration.

use crate::common::Folder;

fn printed(folder: &Folder, flags: &[&str]) -> String {
    let mut command = folder.haq(&["serve", "--print-config"]);
    let output = command.args(flags).env("HAQ_SERVE_GRACE_S", "5").assert().success();
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

#[test]
fn the_configuration_is_printed_with_its_origins() {
    let folder = Folder::new();
    folder.write("haq-serve.toml", "searches = 2\ngrace_s = 7\n");
    folder.write("other.toml", "searches = 3\n");
    let usual = printed(&folder, &["--listen", "127.0.0.1:9000"]);
    for line in [
        "listen = \"127.0.0.1:9000\" # --listen",
        "searches = 2 # haq-serve.toml",
        "grace_s = 5 # HAQ_SERVE_GRACE_S",
        "device = \"cpu\" # default",
    ] {
        assert!(usual.lines().any(|printed| printed == line), "{line}\n{usual}");
    }
    let named = printed(&folder, &["--config", "other.toml"]);
    assert!(named.contains("searches = 3 # other.toml\n"), "{named}");
    let json = folder.json(&["serve", "--print-config"]);
    assert_eq!((&json["schema"], &json["settings"]["grace_s"]), (&1.into(), &7.into()));
    assert_eq!(json["origins"]["grace_s"], "haq-serve.toml");
}

#[test]
fn a_mistake_in_the_configuration_is_named() {
    let folder = Folder::new();
    folder.write("bad.toml", "serches = 2\n");
    for (arguments, expected) in [
        (&["--config", "bad.toml"][..], "serches (bad.toml) is not a setting; searches may be"),
        (&["--config", "none.toml"], "none.toml cannot be read"),
        (&["--searches", "0"], "searches is 0 (--searches); it needs to be"),
        (&["--searches", "many"], "--searches"),
    ] {
        let (message, code) = folder.failure(&[&["serve", "--print-config"], arguments].concat());
        assert_eq!(code, 2, "{arguments:?}: {message}");
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
}
