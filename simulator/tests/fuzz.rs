//! Profiles that are cut, mixed up or filled with nonsense never panic and never load half.

mod common;

use common::{bits, conv, profiles};
use haq_simulator::{CostModel, HardwareProfile, ProfileError, Workload, profile::builtin_names};
use proptest::{prelude::*, test_runner::RngSeed};

/// Values no key takes, or only some do.
const NONSENSE: [&str; 18] = [
    "-1",
    "0",
    "nan",
    "-inf",
    "inf",
    "1e308",
    "1e-308",
    "99999999999999999999999999",
    "9223372036854775807",
    "\"\"",
    "\"8\"",
    "true",
    "[]",
    "[[]]",
    "[[8]]",
    "{}",
    "1979-05-27",
    "0x10",
];

/// Loads a text; whatever loads also costs a layer without overflow or not-a-number.
fn try_out(text: &str) -> Result<(), ProfileError> {
    let profile = HardwareProfile::parse(text, "fuzz.toml")?;
    let workload = Workload::of_layers(vec![conv("stem", 14, 3, 1, 1, (32, 48))]);
    let model = CostModel::new(&profile, &workload, 2).unwrap();
    for at in [bits(1, 1), bits(3, 5), bits(8, 8), bits(16, 16)] {
        let cost = model.total(&[at]);
        assert!(cost.latency_s.is_finite() && cost.latency_s > 0.0, "{cost:?}\n{text}");
        assert!(cost.energy_j.is_finite() && cost.energy_j >= 0.0, "{cost:?}\n{text}");
    }
    profile.choices();
    Ok(())
}

/// An error has to say where.
fn check(text: &str) {
    if let Err(error) = try_out(text) {
        let message = error.to_string();
        assert!(message.starts_with("fuzz.toml:"), "{message}");
        assert!(error.line().is_some_and(|line| line >= 1 && line <= text.lines().count() + 1));
    }
}

fn any_profile() -> impl Strategy<Value = String> {
    (0..builtin_names().len())
        .prop_map(|index| profiles().nth(index).expect("the index is in range").source().to_owned())
}

fn lines_with_values(text: &str) -> Vec<usize> {
    let has_value = |line: &str| line.contains(" = ") && !line.starts_with('#');
    let lines = text.lines().enumerate();
    lines.filter(|(_, line)| has_value(line)).map(|(index, _)| index).collect()
}

fn with_line(text: &str, line: usize, changed: Option<String>) -> String {
    let lines = text.lines().enumerate();
    let kept = lines.filter_map(
        |(index, old)| {
            if index == line { changed.clone() } else { Some(old.to_owned()) }
        },
    );
    kept.collect::<Vec<_>>().join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn a_cut_profile_says_where_it_ends(text in any_profile(), share in 0.0f64..1.0) {
        let end = (text.len() as f64 * share) as usize;
        prop_assume!(text.is_char_boundary(end));
        check(&text[..end]);
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_at_its_line(
        text in any_profile(), line in any::<prop::sample::Index>(), value in 0..NONSENSE.len(),
    ) {
        let lines = lines_with_values(&text);
        let line = *line.get(&lines);
        let (key, _) = text.lines().nth(line).unwrap().split_once(" = ").unwrap();
        let changed = with_line(&text, line, Some(format!("{key} = {}", NONSENSE[value])));
        if let Err(error) = try_out(&changed) {
            // Other lines may be to blame too, when they contradict the new value.
            let message = error.to_string();
            prop_assert!(message.starts_with("fuzz.toml:"), "{message}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_at_its_line(
        text in any_profile(), line in any::<prop::sample::Index>(),
    ) {
        let lines = lines_with_values(&text);
        let line = *line.get(&lines);
        let old = text.lines().nth(line).unwrap();
        let changed = with_line(&text, line, Some(format!("{old}\nflux_capacitance = 1.21")));
        let error = HardwareProfile::parse(&changed, "fuzz.toml").unwrap_err();
        prop_assert!(error.to_string().contains("flux_capacitance"), "{error}");
        prop_assert_eq!(error.line(), Some(line + 2), "{}", error);
    }

    #[test]
    fn a_profile_without_one_of_its_lines_is_whole_or_refused(
        text in any_profile(), line in any::<prop::sample::Index>(),
    ) {
        let line = line.index(text.lines().count());
        check(&with_line(&text, line, None));
    }

    #[test]
    fn swapped_bytes_never_panic(
        text in any_profile(), at in any::<prop::sample::Index>(), byte in any::<char>(),
    ) {
        let at = at.index(text.len());
        prop_assume!(text.is_char_boundary(at) && text.is_char_boundary(at + 1));
        let changed = format!("{}{byte}{}", &text[..at], &text[at + 1..]);
        check(&changed);
    }

    #[test]
    fn any_text_is_refused(text in ".{0,200}") {
        prop_assert!(HardwareProfile::parse(&text, "fuzz.toml").is_err());
    }
}
