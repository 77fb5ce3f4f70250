//! What a user asks of a search, as typed: everything needed to start the same search again.

use std::{collections::BTreeSet, fmt, path::PathBuf, str::FromStr};

use haq_simulator::{HardwareProfile, ProfileError};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{Bits, BudgetRequest, LayerBits, Measure, Strategy},
    quantization::Method,
    search::{pace::Pace, weight_losses::WeightLosses},
};

/// Policies that may be judged at a time.
pub const ROUND_MAX: u32 = 1024;

/// A list of widths: `2-8`, `2,4,8` or `4`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BitList(BTreeSet<Bits>);

impl BitList {
    /// Ascending.
    pub fn iter(&self) -> impl Iterator<Item = Bits> + '_ {
        self.0.iter().copied()
    }

    pub fn contains(&self, bits: Bits) -> bool {
        self.0.contains(&bits)
    }
}

fn parse_bits(text: &str) -> Result<Bits, String> {
    let bits = text.trim().parse().ok().and_then(Bits::new).filter(|bits| bits.get() <= 8);
    bits.ok_or_else(|| format!("{:?} is not a number of bits from 1 to 8", text.trim()))
}

impl FromStr for BitList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut widths = BTreeSet::new();
        for part in text.split(',') {
            match part.split_once('-') {
                Some((low, high)) => {
                    let (low, high) = (parse_bits(low)?, parse_bits(high)?);
                    if low > high {
                        return Err(format!("{part:?} runs backwards; write {high}-{low}"));
                    }
                    widths.extend((low.get()..=high.get()).filter_map(Bits::new));
                }
                None => {
                    widths.insert(parse_bits(part)?);
                }
            }
        }
        Ok(Self(widths))
    }
}

impl fmt::Display for BitList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(Bits::to_string).collect();
        f.write_str(&texts.join(","))
    }
}

impl TryFrom<String> for BitList {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<BitList> for String {
    fn from(list: BitList) -> String {
        list.to_string()
    }
}

/// Two widths as typed: `4,8` or `4/8`, weights first; one number serves both.
pub fn parse_layer_bits(text: &str) -> Result<LayerBits, String> {
    match text.split_once([',', '/']) {
        Some((weight, activation)) => {
            Ok(LayerBits::new(parse_bits(weight)?, parse_bits(activation)?))
        }
        None => parse_bits(text).map(|bits| LayerBits::new(bits, bits)),
    }
}

/// Layers whose bits are fixed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pins(Vec<(PinnedLayer, LayerBits)>);

/// Which layer a pin is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinnedLayer {
    First,
    Last,
    Named(String),
}

impl Pins {
    /// A search's default: the layers next to the outside world keep 8 bits.
    pub fn first_and_last() -> Self {
        Self(vec![(PinnedLayer::First, LayerBits::EIGHT), (PinnedLayer::Last, LayerBits::EIGHT)])
    }

    /// The pinned widths of each layer, given the layers' names; the last pin on a layer counts.
    ///
    /// # Errors
    /// Names a layer that the network does not have, and those that it has.
    pub fn resolve(&self, names: &[&str]) -> Result<Vec<Option<LayerBits>>, String> {
        let mut pinned = vec![None; names.len()];
        for (layer, bits) in &self.0 {
            let index = match layer {
                PinnedLayer::First => Some(0),
                PinnedLayer::Last => names.len().checked_sub(1),
                PinnedLayer::Named(name) => names.iter().position(|n| n == name),
            };
            match index.and_then(|index| pinned.get_mut(index)) {
                Some(slot) => *slot = Some(*bits),
                None => {
                    let PinnedLayer::Named(name) = layer else { continue };
                    return Err(format!(
                        "there is no layer {name:?} to pin; the layers are {}",
                        names.join(", ")
                    ));
                }
            }
        }
        Ok(pinned)
    }
}

impl FromStr for Pins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self::default());
        }
        // A comma separates pins, unless what follows it has no name: then it is `4,8`.
        let mut parts: Vec<String> = Vec::new();
        for part in text.split(',') {
            match parts.last_mut() {
                Some(last) if !part.contains('=') => {
                    last.push('/');
                    last.push_str(part);
                }
                _ => parts.push(part.to_owned()),
            }
        }
        let pin = |part: &String| {
            let (layer, bits) = part.rsplit_once('=').ok_or_else(|| {
                format!("pin {part:?} has no '='; write first=8,last=8 or NAME=4/8 or none")
            })?;
            let layer = match layer.trim() {
                "first" => PinnedLayer::First,
                "last" => PinnedLayer::Last,
                name => PinnedLayer::Named(name.to_owned()),
            };
            Ok((layer, parse_layer_bits(bits)?))
        };
        parts.iter().map(pin).collect::<Result<_, String>>().map(Self)
    }
}

impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, (layer, bits)) in self.0.iter().enumerate() {
            let name = match layer {
                PinnedLayer::First => "first",
                PinnedLayer::Last => "last",
                PinnedLayer::Named(name) => name,
            };
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{name}={bits}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Pins {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Pins> for String {
    fn from(pins: Pins) -> String {
        pins.to_string()
    }
}

/// How pixels become the network's input, where the card does not say or is overruled.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreprocessingRequest {
    pub mean: Option<Vec<f32>>,
    pub std: Option<Vec<f32>>,
    pub resize: Option<u32>,
    pub crop: Option<u32>,
}

/// A hardware profile as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileText {
    pub toml: String,
    /// For messages.
    pub origin: String,
}

/// A search as asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// The embedded network where absent.
    pub model: Option<PathBuf>,
    /// Other weights for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// The embedded images where absent.
    pub data: Option<PathBuf>,
    /// The profile's text, so that a run can go on although the file changed.
    pub profile_toml: String,
    /// Where that text came from, for messages.
    pub profile_origin: String,
    /// Further devices that one policy has to be good on.
    #[serde(default)]
    pub more_profiles: Vec<ProfileText>,
    pub strategy: Strategy,
    pub measure: Measure,
    pub budgets: Vec<BudgetRequest>,
    pub episodes: u32,
    pub seed: u64,
    /// Decides which image lands in which split; `seed` where absent.
    #[serde(default)]
    pub split_seed: Option<u64>,
    /// What the profile can use where absent.
    pub weight_bits: Option<BitList>,
    pub activation_bits: Option<BitList>,
    pub pins: Pins,
    pub method: Method,
    #[serde(default)]
    pub weight_losses: WeightLosses,
    /// Epochs that each policy is trained before it is judged.
    #[serde(default)]
    pub episode_finetune: u32,
    /// Policies proposed before the first of them is judged.
    #[serde(default = "one_by_one", skip_serializing_if = "is_one_by_one")]
    pub round: u32,
    /// Policies in flight of a search that learns from each as it is judged, instead of in rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// Images the simulator costs at once; the profile's own where absent.
    pub batch: Option<u64>,
    pub calibration_images: Option<usize>,
    pub search_images: Option<usize>,
    pub test_images: Option<usize>,
    pub preprocessing: PreprocessingRequest,
}

impl SearchRequest {
    /// Decides which image lands in which split.
    pub fn images_seed(&self) -> u64 {
        self.split_seed.unwrap_or(self.seed)
    }

    pub fn pace(&self) -> Pace {
        self.in_flight.map_or(Pace::Rounds(self.round), Pace::Arrivals)
    }

    /// The profiles of all devices, the first one first.
    ///
    /// # Errors
    /// Says what is wrong with a profile, and in which line.
    pub fn profiles(&self) -> Result<Vec<HardwareProfile>, ProfileError> {
        let first = std::iter::once((&self.profile_toml, &self.profile_origin));
        let more = self.more_profiles.iter().map(|profile| (&profile.toml, &profile.origin));
        first.chain(more).map(|(toml, origin)| HardwareProfile::parse(toml, origin)).collect()
    }

    /// The flags that ask for the same search.
    pub fn to_arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut flag = |name: &str, value: String| {
            arguments.push(format!("--{name}"));
            arguments.push(quoted(value));
        };
        let path = |path: &PathBuf| path.display().to_string();
        self.model.iter().for_each(|model| flag("model", path(model)));
        self.weights.iter().for_each(|weights| flag("weights", path(weights)));
        self.data.iter().for_each(|data| flag("data", path(data)));
        let origins = self.more_profiles.iter().map(|profile| &profile.origin);
        for origin in std::iter::once(&self.profile_origin).chain(origins) {
            flag("hw", origin.trim_end_matches(" (built in)").to_owned());
        }
        self.budgets.iter().for_each(|budget| flag("budget", budget.to_string()));
        flag("strategy", self.strategy.to_string());
        flag("measure", self.measure.to_string());
        flag("episodes", self.episodes.to_string());
        flag("seed", self.seed.to_string());
        if let Some(seed) = self.split_seed.filter(|seed| *seed != self.seed) {
            flag("split-seed", seed.to_string());
        }
        flag("pin", self.pins.to_string());
        flag("method", self.method.to_string());
        if self.weight_losses != WeightLosses::default() {
            flag("weight-losses", self.weight_losses.to_string());
        }
        if self.episode_finetune > 0 {
            flag("episode-finetune", self.episode_finetune.to_string());
        }
        if !is_one_by_one(&self.round) {
            flag("round", self.round.to_string());
        }
        self.in_flight.iter().for_each(|in_flight| flag("in-flight", in_flight.to_string()));
        self.weight_bits.iter().for_each(|bits| flag("weight-bits", bits.to_string()));
        self.activation_bits.iter().for_each(|bits| flag("activation-bits", bits.to_string()));
        self.batch.iter().for_each(|batch| flag("batch", batch.to_string()));
        let counts = [
            ("calibration", self.calibration_images),
            ("search-images", self.search_images),
            ("images", self.test_images),
        ];
        for (name, count) in counts {
            count.iter().for_each(|count| flag(name, count.to_string()));
        }
        let list =
            |values: &Vec<f32>| values.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
        let preprocessing = &self.preprocessing;
        preprocessing.mean.iter().for_each(|mean| flag("mean", list(mean)));
        preprocessing.std.iter().for_each(|std| flag("std", list(std)));
        preprocessing.resize.iter().for_each(|pixels| flag("resize", pixels.to_string()));
        preprocessing.crop.iter().for_each(|pixels| flag("crop", pixels.to_string()));
        if !self.more_profiles.is_empty() {
            arguments.push("--one-policy".into());
        }
        arguments
    }
}

fn one_by_one() -> u32 {
    1
}

fn is_one_by_one(round: &u32) -> bool {
    *round == 1
}

/// As a shell wants it.
fn quoted(value: String) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+%@".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        value
    } else {
        format!("'{}'", value.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bit_lists_are_ranges_or_lists() {
        for (text, expected) in
            [("2-8", "2,3,4,5,6,7,8"), ("2,4,8", "2,4,8"), ("4", "4"), ("8,1-2", "1,2,8")]
        {
            assert_eq!(text.parse::<BitList>().unwrap().to_string(), expected);
        }
        for (text, expected) in [("0-8", "\"0\" is not"), ("8-2", "write 2-8"), ("2,x", "\"x\"")] {
            let message = text.parse::<BitList>().unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn pins_find_their_layers() {
        let names = ["stem", "body", "head"];
        for (text, expected) in [
            ("first=8,last=8", ["8/8", "-", "8/8"]),
            ("none", ["-", "-", "-"]),
            ("body=4/8", ["-", "4/8", "-"]),
            ("body=4,8,first=6", ["6/6", "4/8", "-"]),
            ("first=8,stem=4/6", ["4/6", "-", "-"]),
        ] {
            let pins: Pins = text.parse().unwrap();
            let resolved = pins.resolve(&names).unwrap();
            let shown: Vec<String> = resolved
                .iter()
                .map(|bits| bits.map_or("-".to_owned(), |bits| bits.to_string()))
                .collect();
            assert_eq!(shown, expected, "{text}");
            assert_eq!(pins.to_string().parse(), Ok(pins));
        }
        let missing = "tail=8".parse::<Pins>().unwrap().resolve(&names).unwrap_err();
        assert!(missing.contains("stem, body, head"), "{missing}");
        assert!("first".parse::<Pins>().unwrap_err().contains("has no '='"));
    }
}
