use std::collections::BTreeSet;

use super::*;

fn table(text: &str) -> Table {
    text.parse().unwrap()
}

fn environment(variables: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    variables.iter().map(owned).collect::<Vec<_>>().into_iter()
}

/// The settings of these three, the file written to a folder that is gone afterwards.
fn resolve(file: &str, variables: &[(&str, &str)], flags: &str) -> Result<Resolved, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serve.toml");
    fs::write(&path, file).unwrap();
    Settings::resolve(Some(&path), environment(variables), table(flags))
}

#[test]
fn keys_and_fields_are_the_same() {
    let fields = Table::try_from(Settings::default()).unwrap();
    let keys: BTreeSet<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    assert_eq!(fields.keys().map(String::as_str).collect::<BTreeSet<_>>(), keys);
    for (key, needs) in KEYS {
        assert!(needs.allows(&fields[*key]), "the default of {key}");
    }
}

#[test]
fn nothing_said_is_the_default() {
    let resolved = Settings::resolve(None, environment(&[]), Table::new()).unwrap();
    assert_eq!(resolved.settings, Settings::default());
    assert_eq!(resolved.origins.len(), KEYS.len());
    assert!(resolved.origins.values().all(|origin| *origin == Origin::Default));
}

#[test]
fn later_layers_win_and_are_remembered() {
    let resolved = resolve(
        "listen = '127.0.0.1:1'\ngrace_s = 1\ndevice = 'cuda'\nmodel_folders = ['a', 'b']",
        &[("HAQ_SERVE_LISTEN", "127.0.0.1:2"), ("HAQ_SERVE_GRACE_S", "2"), ("PATH", "/bin")],
        "listen = '127.0.0.1:3'",
    )
    .unwrap();
    let Settings { listen, grace_s, device, model_folders, .. } = resolved.settings;
    assert_eq!((listen.port(), grace_s, device.as_str()), (3, 2, "cuda"));
    assert_eq!(model_folders, [Path::new("a"), Path::new("b")]);
    let origin = |key| resolved.origins[key].to_string();
    assert_eq!(origin("listen"), "--listen");
    assert_eq!(origin("grace_s"), "HAQ_SERVE_GRACE_S");
    assert!(origin("device").ends_with("serve.toml"));
    assert_eq!(origin("searches"), "default");
}

#[test]
fn lists_in_the_environment_are_separated() {
    let resolved = resolve(
        "data_folders = ['from file']",
        &[
            ("HAQ_SERVE_MODEL_FOLDERS", "/a:/b c"),
            ("HAQ_SERVE_DATA_FOLDERS", ""),
            ("HAQ_SERVE_ALLOWED_HOSTS", "haq.example.org, localhost:9000"),
        ],
        "",
    )
    .unwrap();
    assert_eq!(resolved.settings.model_folders, [Path::new("/a"), Path::new("/b c")]);
    assert!(resolved.settings.data_folders.is_empty());
    assert_eq!(resolved.settings.allowed_hosts, ["haq.example.org", "localhost:9000"]);
}

#[test]
fn threads_are_the_share_of_the_cores_unless_said() {
    for (file, threads) in [
        ("searches = 2", threads_of_each(2)),
        ("searches = 256", 1),
        ("searches = 2\nthreads = 7", 7),
    ] {
        assert_eq!(resolve(file, &[], "").unwrap().settings.threads, threads, "{file}");
    }
}

#[test]
fn mistakes_name_key_and_origin() {
    for (file, variables, flags, parts) in [
        (
            "serches = 2",
            &[][..],
            "",
            &["serches (", "serve.toml) is not", "searches may be meant"][..],
        ),
        ("", &[("HAQ_SERVE_LISTN", "x")], "", &["listn (HAQ_SERVE_LISTN)", "listen may be"]),
        ("password = 'x'", &[], "", &["password (", "settings are listen, state_folder, "]),
        ("[searches]\nmany = 2", &[], "", &["searches is", "a whole number from 1 to 256"]),
        ("searches = 0", &[], "", &["searches is 0 (", "serve.toml); it needs to be a whole"]),
        ("searches = 1.5", &[], "", &["searches is 1.5", "whole number"]),
        ("listen = 8080", &[], "", &["listen is 8080", "such as 127.0.0.1:8080"]),
        ("", &[("HAQ_SERVE_GRACE_S", "soon")], "", &["grace_s is \"soon\" (HAQ_SERVE_GRACE_S)"]),
        ("", &[], "device = 'tpu'", &["device is \"tpu\" (--device)", "cpu, cuda or cuda:N"]),
        ("", &[], "state_folder = ''", &["state_folder is \"\" (--state-folder)", "folder"]),
        ("model_folders = 'a'", &[], "", &["model_folders is \"a\"", "a list of folders"]),
        ("allowed_hosts = ['http://x/']", &[], "", &["allowed_hosts is", "without scheme"]),
        ("allowed_hosts = ['*']", &[], "", &["allowed_hosts is", "host names"]),
        ("", &[], "blobs = 'gs://lab'", &["blobs is \"gs://lab\" (--blobs)", "s3://BUCKET/PREFIX"]),
        ("listen = 'localhost:80'\nsearches 2", &[], "", &["serve.toml:2: not TOML"]),
    ] {
        let message = resolve(file, variables, flags).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{file:?} {flags:?}: {message}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let missing = Path::new("no/such/serve.toml");
    let error = Settings::resolve(Some(missing), environment(&[]), Table::new()).unwrap_err();
    assert!(error.to_string().contains("no/such/serve.toml cannot be read"), "{error}");
}

#[test]
fn what_is_printed_reads_back_as_the_same() {
    let folders = "model_folders = ['/m', 'with \"quotes\"']\nallowed_hosts = ['haq.example.org']";
    let resolved = resolve(folders, &[("HAQ_SERVE_SEARCHES", "2")], "listen = '[::1]:80'").unwrap();
    let printed = resolved.to_toml();
    assert_eq!(printed.lines().count(), KEYS.len());
    for line in ["listen = \"[::1]:80\" # --listen", "searches = 2 # HAQ_SERVE_SEARCHES"] {
        assert!(printed.lines().any(|printed| printed == line), "{printed}");
    }
    let again = resolve(&printed, &[], "").unwrap();
    assert_eq!(again.settings, resolved.settings);
}

#[test]
fn an_origin_cannot_leave_its_comment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two\nlines = 1");
    fs::write(&path, "searches = 3").unwrap();
    let resolved = Settings::resolve(Some(&path), environment(&[]), Table::new()).unwrap();
    let again: Table = resolved.to_toml().parse().unwrap();
    assert_eq!(again.len(), KEYS.len());
}

#[test]
fn the_example_says_the_defaults() {
    let example = include_str!("../../../../examples/serve/haq-serve.toml");
    assert_eq!(resolve(example, &[], "").unwrap().settings, Settings::default());

    // Settings stand directly behind their #, sentences after a space.
    let is_setting = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase());
    let settings = example.lines().filter_map(|line| line.strip_prefix('#'));
    let text: String =
        settings.filter(|line| is_setting(line)).map(|line| format!("{line}\n")).collect();
    let resolved = resolve(&text, &[], "").unwrap();
    // The one default that is the machine's.
    let threads = Settings::default().threads;
    assert_eq!(Settings { threads, ..resolved.settings }, Settings::default());
    for (key, origin) in resolved.origins {
        assert!(matches!(origin, Origin::File(_)), "{key} is not in the example");
    }
}
