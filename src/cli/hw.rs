//! `haq hw list|show|check|calibrate`.

mod calibrate;

use haq_simulator::HardwareProfile;
use serde_json::{Value, json};

use crate::{
    cli::{
        args::{Global, HwCommand},
        exit::Ending,
        output,
    },
    domain::Bits,
    runner::{FoundProfile, ProfileSource, find_profile, profile_names},
};

pub fn run(global: &Global, command: &HwCommand) -> anyhow::Result<Ending> {
    match command {
        HwCommand::List => list(global)?,
        HwCommand::Show(args) => {
            let found = find_profile(&args.profile)?;
            if global.json {
                let value: toml::Value = toml::from_str(&found.text)?;
                output::print_json(&json!({"schema": output::SCHEMA, "profile": value}))?;
            } else {
                output::print(&found.text)?;
            }
        }
        HwCommand::Check(args) => check(global, &find_profile(&args.profile)?)?,
        HwCommand::Calibrate(args) => calibrate::run(global, args)?,
    }
    Ok(Ending::Done)
}

fn check(global: &Global, found: &FoundProfile) -> anyhow::Result<()> {
    let profile = found.parse()?;
    if global.json {
        let mut object = profile_json(&profile, &source_of(found));
        object["schema"] = json!(output::SCHEMA);
        return output::print_json(&object);
    }
    let choices = profile.choices();
    output::print(&format!(
        "{}: {} is a valid {} profile\n  weight bits that make a difference: {}\n  activation bits that make a difference: {}\n  batch {}",
        found.origin,
        profile.name(),
        profile.family(),
        list_bits(&choices.weight_bits),
        list_bits(&choices.activation_bits),
        profile.batch(),
    ))
}

fn list_bits(widths: &[Bits]) -> String {
    match widths {
        [only] => format!("none, always {only}"),
        widths => widths.iter().map(Bits::to_string).collect::<Vec<_>>().join(" "),
    }
}

fn source_of(found: &FoundProfile) -> String {
    match &found.source {
        ProfileSource::File(path) => path.display().to_string(),
        ProfileSource::BuiltIn => "built in".to_owned(),
    }
}

fn profile_json(profile: &HardwareProfile, source: &str) -> Value {
    let choices = profile.choices();
    json!({
        "name": profile.name(),
        "family": profile.family().to_string(),
        "batch": profile.batch(),
        "weight_bits": choices.weight_bits,
        "activation_bits": choices.activation_bits,
        "latency_depends_on_bits": profile.latency_depends_on_bits(),
        "source": source,
    })
}

fn list(global: &Global) -> anyhow::Result<()> {
    let header = ["profile", "family", "weight bits", "activation bits", "batch", "from"];
    let mut table = output::plain_table(&header, &[]);
    let mut objects = Vec::new();
    for (name, source) in profile_names() {
        let from = match &source {
            ProfileSource::File(path) => path.display().to_string(),
            ProfileSource::BuiltIn => "built in".to_owned(),
        };
        let path = match source {
            ProfileSource::File(path) => path.display().to_string(),
            ProfileSource::BuiltIn => name.clone(),
        };
        match find_profile(&path).map_err(anyhow::Error::from).and_then(|found| Ok(found.parse()?))
        {
            Ok(profile) => {
                let choices = profile.choices();
                objects.push(profile_json(&profile, &from));
                table.add_row([
                    name,
                    profile.family().to_string(),
                    list_bits(&choices.weight_bits),
                    list_bits(&choices.activation_bits),
                    profile.batch().to_string(),
                    from,
                ]);
            }
            // A broken file of the user's own must not hide the others.
            Err(error) => {
                objects.push(json!({"name": name, "source": from, "error": error.to_string()}));
                table.add_row([name, error.to_string(), "".into(), "".into(), "".into(), from]);
            }
        }
    }
    if global.json {
        output::print_json(&json!({"schema": output::SCHEMA, "profiles": objects}))
    } else {
        output::print(&table.trim_fmt())
    }
}
