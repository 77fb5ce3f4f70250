//! What happens when something is wrong: the message, and the exit code.

use crate::common::Folder;

#[test]
fn mistakes_are_named_with_their_exit_code() {
    let folder = Folder::new();
    folder.write("not-a-model.onnx", "hello");
    folder.write("empty.csv", "");
    folder.write("not-a-database.db", "this is a text, and a text is no database at all");
    for (arguments, code, expected) in [
        (&["search"][..], 2, "--hw"),
        (&["search", "--hw", "toaster"], 1, "no hardware profile \"toaster\""),
        (
            &["search", "--hw", "edge-tpu", "--budget", "speed=1"],
            2,
            "is not latency, energy, size or memory",
        ),
        (&["search", "--hw", "edge-tpu", "--budget", "latency=0.6"], 3, "fewer bits buy no cycles"),
        (&["search", "--hw", "bismo-edge", "--budget", "size=1B"], 3, "cannot be reached"),
        (&["search", "--hw", "bismo-edge", "--strategy", "haq"], 2, "--budget latency=0.6"),
        (
            &["search", "--hw", "bismo-edge", "--method", "codebook", "--budget", "latency=0.5"],
            2,
            "latency=0.5 cannot be promised; give a budget on size",
        ),
        (
            &["search", "--hw", "edge-tpu", "--method", "codebook", "--activation-bits", "4"],
            2,
            "leave out --activation-bits",
        ),
        (&["search", "--hw", "edge-tpu", "--weight-bits", "9"], 2, "1 to 8"),
        (&["search", "--hw", "edge-tpu", "--weight-bits", "8"], 1, "nothing to choose"),
        (&["search", "--hw", "edge-tpu", "--pin", "nose=4"], 1, "no layer \"nose\""),
        (&["search", "--hw", "edge-tpu", "--model", "x.onnx"], 2, "--model needs --data"),
        (&["search", "--hw", "edge-tpu", "--model", "x.onnx", "--data", "."], 1, "x.onnx"),
        (&["search", "--hw", "edge-tpu", "--data", "nowhere"], 1, "nowhere"),
        (&["search", "--hw", "edge-tpu", "--device", "tpu"], 2, "not cpu, cuda or cuda:N"),
        (&["search", "--hw", "edge-tpu", "--db", "not-a-database.db"], 1, "not-a-database.db"),
        (&["search", "--hw", "edge-tpu", "--db", "missing/folder/haq.db"], 1, "missing/folder"),
        (&["model", "inspect", "not-a-model.onnx"], 1, "not-a-model.onnx"),
        (&["simulate", "--hw", "edge-tpu"], 2, "--bits"),
        (
            &["simulate", "--hw", "edge-tpu", "--layers", "empty.csv", "--bits", "8,8"],
            1,
            "empty.csv",
        ),
        (&["simulate", "--hw", "edge-tpu", "--bits", "0,8"], 2, "1 to 8"),
        (&["evaluate", "--bits", "8,8", "--policy", "p.json"], 2, "--policy"),
        (&["evaluate", "--policy", "p.json"], 1, "p.json"),
        (&["evaluate", "--bits", "8,8", "--method", "magic"], 2, "is not a method"),
        (&["quantize", "--methods", "mse,magic"], 2, "is not a method; gptq, "),
        (&["quantize", "--bits", "9,8"], 2, "not a number of bits from 1 to 8"),
        (&["quantize", "--bits", "4,0"], 2, "not a number of bits from 1 to 8"),
        (&["quantize", "--pin", "nose=4"], 2, "no layer \"nose\""),
        (&["quantize", "--plot", "plot.pdf"], 2, "neither in .svg nor in .png"),
        (&["quantize", "--repeats", "0"], 2, "--repeats"),
        (&["quantize", "--model", "x.onnx"], 2, "--model needs --data"),
        (&["sensitivity", "--bits", "2-9"], 2, "not a number of bits from 1 to 8"),
        (&["sensitivity", "--tensors", "biases"], 2, "weights or activations is"),
        (&["sensitivity", "--method", "magic"], 2, "is not a method; gptq, "),
        (&["sensitivity", "--hessian", "--probes", "1"], 2, "--probes"),
        (&["runs", "show", "3"], 1, "haq.db"),
        (&["runs", "list", "--sort", "beauty"], 2, "beauty"),
        (&["pareto", "1", "--cost", "beauty"], 1, "haq.db"),
        (&["dance"], 2, "dance"),
    ] {
        let (message, found) = folder.failure(arguments);
        assert_eq!(found, code, "{arguments:?}: {message}");
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
}

#[test]
fn help_lists_every_method_where_one_can_be_named() {
    let folder = Folder::new();
    for command in ["search", "evaluate", "quantize", "sensitivity"] {
        let help = |flag: &str| {
            let output = folder.haq(&[command, flag]).assert().success().get_output().clone();
            String::from_utf8(output.stdout).unwrap()
        };
        let (short, long) = (help("-h"), help("--help"));
        for (name, _, line) in haq::quantization::Method::named() {
            assert!(short.contains(name) && long.contains(name), "{command}: {name}");
            let words: Vec<&str> = line.split(' ').take(4).collect();
            assert!(long.contains(&words.join(" ")), "{command}: {name}");
        }
    }
}

#[test]
fn a_dry_run_shows_the_plan_and_writes_nothing() {
    let folder = Folder::new();
    let plan =
        folder.json(&["search", "--hw", "bismo-edge", "--budget", "latency=0.5", "--dry-run"]);
    assert!(plan["policies_log10"].as_f64().unwrap() > 5.0);
    let latency = |extreme: &str| plan[extreme]["cost"]["latency_s"].as_f64().unwrap();
    assert!(latency("cheapest") < latency("dearest"));
    let text = folder
        .haq(&["search", "--hw", "bismo-edge", "--dry-run"])
        .assert()
        .success()
        .get_output()
        .stdout
        .clone();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("pinned") && text.contains("cheapest"), "{text}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn completions_are_made_for_every_shell() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script =
            folder.haq(&["completions", shell]).assert().success().get_output().stdout.clone();
        assert!(String::from_utf8(script).unwrap().contains("haq"), "{shell}");
    }
}

#[test]
fn quiet_prints_the_result_and_nothing_else() {
    let folder = Folder::new();
    let output = folder
        .haq(&[
            "search",
            "--hw",
            "edge-tpu",
            "--episodes",
            "2",
            "--calibration",
            "32",
            "--search-images",
            "32",
            "--images",
            "32",
            "--quiet",
        ])
        .assert()
        .success()
        .get_output()
        .clone();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert!(!String::from_utf8(output.stdout).unwrap().contains('\u{1b}'));
}
