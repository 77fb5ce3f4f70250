//! Shipped profiles load; broken ones are refused with file, line and key.

mod common;

use common::{bits, profile, profiles};
use haq_simulator::{
    CostKind, HardwareProfile,
    profile::{builtin, builtin_names},
};

#[test]
fn every_shipped_profile_loads_under_its_own_name() {
    for name in builtin_names() {
        let profile = profile(name);
        assert_eq!(profile.name(), name);
        assert!(!profile.description().is_empty(), "{name} has a description");
        assert_eq!(Some(profile.source()), builtin(name));
    }
    assert_eq!(builtin("edge-tpu.toml"), builtin("edge-tpu"));
    assert_eq!(builtin("abacus"), None);
}

#[test]
fn every_file_in_hw_profiles_is_built_in() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../hw-profiles");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|file| file.strip_suffix(".toml").map(str::to_owned))
        .collect();
    files.sort();
    assert_eq!(files, builtin_names().collect::<Vec<_>>());
}

#[test]
fn a_profile_offers_the_widths_that_change_something() {
    for (name, weights, activations) in [
        ("edge-tpu", vec![2, 3, 4, 5, 6, 7, 8], vec![8]),
        ("tpu-v1", vec![2, 3, 4, 5, 6, 7, 8], vec![8]),
        ("bitfusion", vec![1, 2, 4, 8], vec![1, 2, 4, 8]),
        ("bismo-edge", (1..=8).collect(), (1..=8).collect()),
        ("bismo-cloud", (1..=8).collect(), (1..=8).collect()),
        ("eyeriss-like", vec![2, 3, 4, 5, 6, 7, 8], vec![8]),
        ("a100", vec![1, 2, 4, 8], vec![1, 2, 4, 8]),
        ("h100", vec![1, 2, 4, 8], vec![1, 2, 4, 8]),
        ("stripes", (1..=8).collect(), (1..=8).collect()),
        ("loom-1b", (1..=8).collect(), (1..=8).collect()),
    ] {
        let choices = profile(name).choices();
        let widths = |bits: Vec<haq_simulator::Bits>| -> Vec<u8> {
            bits.into_iter().map(haq_simulator::Bits::get).collect()
        };
        assert_eq!(widths(choices.weight_bits), weights, "{name}");
        assert_eq!(widths(choices.activation_bits), activations, "{name}");
    }
}

#[test]
fn a_search_without_a_budget_has_something_to_trade() {
    for (name, expected) in [
        ("edge-tpu", CostKind::Size),
        ("bitfusion", CostKind::Latency),
        ("bismo-edge", CostKind::Latency),
        ("bismo-cloud", CostKind::Latency),
        ("stripes", CostKind::Latency),
        ("loom-1b", CostKind::Latency),
        ("t4", CostKind::Latency),
    ] {
        assert_eq!(profile(name).default_objective(), expected, "{name}");
    }
}

#[test]
fn promotion_never_loses_bits_and_ends_after_one_step() {
    for profile in profiles() {
        for w in 1..=16 {
            for a in 1..=16 {
                let asked = bits(w, a);
                let promoted = profile.precision().promote(asked).bits;
                let name = format!("{} at {asked}", profile.name());
                assert!(promoted.weight >= asked.weight, "{name} becomes {promoted}");
                assert!(promoted.activation >= asked.activation, "{name} becomes {promoted}");
                assert_eq!(profile.precision().promote(promoted).bits, promoted, "{name}");
            }
        }
    }
}

/// A small profile that loads, to be broken one line at a time.
const GOOD: &str = r#"schema = 1
name = "edge-npu"
family = "systolic"
clock_hz = 480e6
[compute]
rows = 64
cols = 64
[precision]
mode = "table"
pairs = [[8, 8]]
[[memory]]
level = "sram"
bytes = 1048576
pj_per_bit_read = 0.2
pj_per_bit_write = 0.2
[[memory]]
level = "dram"
bytes = 0
bw_bytes_per_s = 4.7e8
pj_per_bit_read = 8.0
pj_per_bit_write = 8.0
[energy]
mac_pj_8x8 = 0.2
"#;

#[test]
fn broken_profiles_are_refused_with_file_line_and_key() {
    assert!(HardwareProfile::parse(GOOD, "edge-npu.toml").is_ok());
    let bandwidth = "bw_bytes_per_s = 4.7e8";
    for (from, to, expected) in [
        (
            bandwidth,
            "bw_bytes_per_s = -1",
            ":19: memory.bw_bytes_per_s is -1; it needs to be above 0",
        ),
        (bandwidth, "bw_bytes_per_s = nan", ":19: memory.bw_bytes_per_s is nan"),
        (bandwidth, "bw_bytes_per_s = inf", ":19: memory.bw_bytes_per_s is inf"),
        (bandwidth, "bw_bytes_per_s = 0", ":19: memory.bw_bytes_per_s is 0"),
        (
            bandwidth,
            "bw_bytes_per_s = \"fast\"",
            ":19: memory.bw_bytes_per_s is \"fast\"; it needs to be a number above 0",
        ),
        (bandwidth, "", ":16: memory.bw_bytes_per_s is missing"),
        (
            bandwidth,
            "bandwidth = 4.7e8",
            ":19: unknown key memory.bandwidth; known here: level, bytes",
        ),
        ("clock_hz = 480e6", "clock_hz = 0", ":4: clock_hz is 0; it needs to be above 0"),
        ("clock_hz = 480e6", "clock_hz = 1e30", ":4: clock_hz is 1e30"),
        ("clock_hz = 480e6", "clock_mhz = 480", ":1: clock_hz is missing"),
        (
            "rows = 64",
            "rows = 6.4",
            ":6: compute.rows is 6.4; it needs to be a whole number from 1 to 65536",
        ),
        ("rows = 64", "rows = 99999999999999999999999", ":6: compute.rows is 9999999999"),
        ("rows = 64", "rows = 0", ":6: compute.rows is 0"),
        ("rows = 64", "", ":5: compute.rows is missing"),
        (
            "rows = 64",
            "rows = 64\nefficiency = 1.2",
            ":7: compute.efficiency is 1.2; it needs to be above 0 and at most 1",
        ),
        (
            "rows = 64",
            "rows = 64\ndataflow = \"sideways\"",
            ":7: compute.dataflow is \"sideways\"; it needs to be \"ws\" or \"os\" or \"is\" or \"auto\"",
        ),
        ("rows = 64", "rows = 64\ndepthwise = \"vector\"", ":5: compute.vector_lanes is missing"),
        (
            "rows = 64",
            "rows = 64\nhost_link_bytes_per_s = 1e9",
            ":7: compute.host_link_bytes_per_s is 1e9; it needs to be left out",
        ),
        (
            "pairs = [[8, 8]]",
            "pairs = []",
            ":10: precision.pairs is []; it needs to be at least one pair",
        ),
        (
            "pairs = [[8, 8]]",
            "pairs = [[8, 8], [4, 4]]",
            ":10: precision.pairs is [[8, 8], [4, 4]]; it needs to be in ascending order",
        ),
        (
            "pairs = [[8, 8]]",
            "pairs = [[8, 8, 8]]",
            ":10: precision.pairs is [8, 8, 8]; it needs to be two widths",
        ),
        (
            "pairs = [[8, 8]]",
            "pairs = [[0, 8]]",
            ":10: precision.pairs is 0; it needs to be a whole number from 1 to 16",
        ),
        (
            "pairs = [[8, 8]]",
            "pairs = [[8, 8]]\nrate = [1.0, 2.0]",
            ":11: precision.rate is [1.0, 2.0]; it needs to be 1 numbers",
        ),
        (
            "mode = \"table\"",
            "mode = \"fusion\"",
            ":9: precision.mode is \"fusion\"; it needs to be \"table\"",
        ),
        (
            "family = \"systolic\"",
            "family = \"quantum\"",
            ":3: family is \"quantum\"; it needs to be \"systolic\" or",
        ),
        ("pj_per_bit_read = 8.0", "", ":16: memory.pj_per_bit_read is missing"),
        ("mac_pj_8x8 = 0.2", "", ":22: energy.mac_pj_8x8 is missing"),
        ("schema = 1", "schema = 2", ":1: schema is 2; it needs to be a whole number from 1 to 1"),
        (
            "level = \"dram\"",
            "level = \"sram\"",
            ":17: memory.level is \"sram\"; it needs to be different",
        ),
        (
            "bytes = 1048576",
            "bytes = 1048576\nweight_bytes = 2097152",
            ":13: memory.bytes is 1048576; it needs to be at least 2097152",
        ),
        ("[energy]", "[[memory]]", ":22: memory.level is missing"),
        ("[energy]", "[energy", ":22: "),
        (
            "name = \"edge-npu\"",
            "name = \"edge npu\"",
            ":2: name is \"edge npu\"; it needs to be 1 to 64 letters",
        ),
        ("name = \"edge-npu\"", "name = 3", ":2: name is 3; it needs to be a text in quotes"),
        ("name = \"edge-npu\"", "name = \"edge-npu\"\nname = \"twice\"", ":3: duplicate key"),
        (
            "mac_pj_8x8 = 0.2",
            "mac_pj_8x8 = -0.2",
            ":23: energy.mac_pj_8x8 is -0.2; it needs to be 0 or above",
        ),
        (
            "mac_pj_8x8 = 0.2",
            "mac_pj_8x8 = 0.2\nmac_scaling = \"table\"",
            ":22: energy.mac_pj is missing",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let broken = GOOD.replacen(from, to, 1);
        let error = HardwareProfile::parse(&broken, "edge-npu.toml").unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("edge-npu.toml{expected}")),
            "{to:?} says\n  {error}\nnot\n  edge-npu.toml{expected}"
        );
    }
}

#[test]
fn a_truncated_profile_is_never_taken_for_a_whole_one() {
    for profile in profiles() {
        let text = profile.source();
        // All that follows the last line with a value is missing from these.
        let last_needed = text.rfind("mac_pj_8x8").unwrap();
        for end in (0..last_needed).filter(|end| text.is_char_boundary(*end)) {
            let Err(error) = HardwareProfile::parse(&text[..end], "cut.toml") else {
                panic!("{} cut at byte {end} loads", profile.name());
            };
            assert!(error.line().is_some(), "{error}");
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = HardwareProfile::load(std::path::Path::new("no/such/npu.toml")).unwrap_err();
    assert!(error.to_string().starts_with("no/such/npu.toml: cannot be read"), "{error}");
}

#[test]
fn the_documented_example_loads() {
    // Every key of the documented schema at once.
    let text = r#"
schema = 1
name = "edge-tpu"
family = "systolic"
tech_nm = 28
clock_hz = 480e6
idle_power_w = 0.0
fixed_overhead_s = 0.8e-3
per_layer_overhead_s = 0.0
[compute]
rows = 64
cols = 64
dot_width = 1
dataflow = "ws"
fill = "per-fold"
depthwise = "packed"
vector_lanes = 0
efficiency = 1.0
[precision]
mode = "table"
pairs = [[8,8]]
rate  = [1.0]
min_bits = 8
max_bits = 8
weight_only = false
[[memory]]
level = "sram"
bytes = 8388608
weight_bytes = 7864320
double_buffered = true
bw_bytes_per_cycle = 256
pj_per_bit_read = 0.20
pj_per_bit_write = 0.25
[[memory]]
level = "dram"
bytes = 0
bw_bytes_per_s = 4.7e8
pj_per_bit_read = 8.0
pj_per_bit_write = 8.0
row_align_bits = 0
[energy]
mac_pj_8x8 = 0.20
add_pj_32 = 0.10
mac_scaling = "product"
leak_scale = 1.0
"#;
    HardwareProfile::parse(text, "example.toml").unwrap();
}

#[test]
fn the_guide_documents_every_key_and_its_example_loads() {
    let guide = include_str!("../../hw-profiles/README.md");
    let start = guide.find("```toml\n").unwrap() + "```toml\n".len();
    let example = &guide[start..start + guide[start..].find("```").unwrap()];
    let profile = HardwareProfile::parse(example, "my-npu.toml").unwrap();
    assert_eq!(profile.precision().promote(bits(3, 8)).rate, 2.0);

    // What the reader knows in each table is what an unknown key is told.
    let tables = ["[compute]", "[precision]", "[[memory]]", "[energy]", "schema = 1"];
    for text in profiles().map(|profile| profile.source().to_owned()) {
        for table in tables {
            let broken = text.replacen(table, &format!("{table}\nunknown_key = 1"), 1);
            let error = HardwareProfile::parse(&broken, "x").unwrap_err().to_string();
            let (_, known) = error.split_once("known here: ").expect(&error);
            for key in known.split(", ") {
                let named = [format!("`{key}`"), format!("[{key}]")];
                let named = named.iter().any(|name| guide.contains(name));
                assert!(named, "{key} is not in the guide");
            }
        }
    }
    for name in builtin_names() {
        assert!(guide.contains(name), "{name} is not in the guide");
    }
}
