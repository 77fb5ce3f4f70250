//! A search as it is handed to the service: the options of `haq search` by their names.

use std::{fmt::Display, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    domain::{BudgetRequest, Measure, Strategy},
    quantization::Method,
    runner::FoundProfile,
    search::{
        BitList, Pins, PreprocessingRequest, ProfileText, ROUND_MAX, SearchRequest, WeightLosses,
    },
};

/// Everything but `profile` may be left out; what `haq search --help` says of an option holds here.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Submission {
    /// Hardware profile: name of one that `GET /api/v1/profiles` lists.
    #[schema(example = "edge-tpu.toml")]
    pub profile: String,
    /// Text of the profile (TOML), for one that the service does not have; `profile` then is what
    /// messages call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile_toml: Option<String>,
    /// Further devices that one policy has to be good on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub more_profiles: Vec<NamedProfile>,
    /// A path below one of the service's model folders, or `sha256:…` of an uploaded model; the
    /// embedded digits network where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Other weights for it: a .safetensors file, named as the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// A path below one of the service's data folders, or `sha256:…` of an uploaded .safetensors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "ddpg")]
    pub strategy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "top1")]
    pub measure: Option<String>,
    /// A ratio to 8/8 (`latency=0.6`) or a value with its unit (`latency=5ms`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["size=0.5"]))]
    pub budget: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 200, minimum = 1, maximum = 1_000_000)]
    pub episodes: Option<u32>,
    pub seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2-8")]
    pub weight_bits: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation_bits: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "first=8,last=8")]
    pub pin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_losses: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub episode_finetune: u32,
    /// Policies proposed before the first of them is judged; 1 where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1024)]
    pub round: Option<u32>,
    /// Policies in flight of a search that learns from each as it is judged, instead of in rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1024)]
    pub in_flight: Option<u32>,
    /// Images the simulated device takes at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 65536)]
    pub batch: Option<u64>,
    /// Calibration images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search_images: Option<usize>,
    /// Test images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<Vec<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<u32>,
    /// Words to find the search by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A device by its name, or by its text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedProfile {
    pub profile: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_toml: Option<String>,
}

/// What is wrong with one field of a submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    pub field: String,
    pub message: String,
}

/// Where names of a submission lead on the machine that serves it.
pub trait Places {
    /// # Errors
    /// In words, when there is no such profile.
    fn profile(&self, name: &str) -> Result<FoundProfile, String>;

    /// # Errors
    /// In words, when there is no such file, or it may not be read.
    fn model(&self, name: &str) -> Result<PathBuf, String>;

    /// # Errors
    /// As [`Places::model`].
    fn data(&self, name: &str) -> Result<PathBuf, String>;
}

impl Submission {
    /// What is asked, understood as `haq search` understands its options.
    ///
    /// # Errors
    /// Everything that is wrong, field by field.
    pub fn request(&self, places: &impl Places) -> Result<SearchRequest, Vec<FieldError>> {
        let mut fields = Fields::default();
        let profile =
            fields.profile("profile", &self.profile, self.profile_toml.as_deref(), places);
        let more_profiles = self.more_profiles.iter().map(|more| {
            fields.profile("more_profiles", &more.profile, more.profile_toml.as_deref(), places)
        });
        let more_profiles = more_profiles.collect();
        let strategy: Strategy = fields.parse("strategy", &self.strategy).unwrap_or_default();
        let weights = fields.place("weights", &self.weights, |name| places.model(name));
        let model = fields.place("model", &self.model, |name| places.model(name));
        let data = fields.place("data", &self.data, |name| places.data(name));
        if self.model.is_some() && self.data.is_none() {
            fields.wrong("data", "a model needs data: images to calibrate and judge with");
        }
        if self.weights.is_some() && self.model.is_none() {
            fields.wrong("weights", "weights are for a model: name it too");
        }
        let budgets: Vec<BudgetRequest> =
            self.budget.iter().filter_map(|budget| fields.word("budget", budget)).collect();
        let episodes = self.episodes.unwrap_or(strategy.usual_episodes());
        fields.within("episodes", u64::from(episodes), 1_000_000);
        let round = self.round.unwrap_or(1);
        fields.within("round", round.into(), ROUND_MAX.into());
        if let Some(in_flight) = self.in_flight {
            fields.within("in_flight", in_flight.into(), ROUND_MAX.into());
            if self.round.is_some() {
                fields.wrong(
                    "in_flight",
                    "a search goes on in rounds or with so many in flight, not both",
                );
            }
        }
        self.batch.iter().for_each(|&batch| fields.within("batch", batch, 65_536));
        let request = SearchRequest {
            model,
            weights,
            data,
            profile_toml: profile.toml,
            profile_origin: profile.origin,
            more_profiles,
            strategy,
            measure: fields.parse("measure", &self.measure).unwrap_or(Measure::Top1),
            budgets,
            episodes,
            seed: self.seed,
            split_seed: self.split_seed,
            weight_bits: fields.parse::<BitList>("weight_bits", &self.weight_bits),
            activation_bits: fields.parse::<BitList>("activation_bits", &self.activation_bits),
            pins: fields.parse::<Pins>("pin", &self.pin).unwrap_or_else(Pins::first_and_last),
            method: fields.parse::<Method>("method", &self.method).unwrap_or_default(),
            weight_losses: fields
                .parse::<WeightLosses>("weight_losses", &self.weight_losses)
                .unwrap_or_default(),
            episode_finetune: self.episode_finetune,
            round,
            in_flight: self.in_flight,
            batch: self.batch,
            calibration_images: self.calibration,
            search_images: self.search_images,
            test_images: self.images,
            preprocessing: PreprocessingRequest {
                mean: self.mean.clone(),
                std: self.std.clone(),
                resize: self.resize,
                crop: self.crop,
            },
        };
        if fields.errors.iter().all(|error| error.field != "profile")
            && let Err(error) = request.profiles()
        {
            fields.wrong("profile", error);
        }
        if fields.errors.is_empty() { Ok(request) } else { Err(fields.errors) }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Reads fields and gathers what is wrong with them.
#[derive(Default)]
struct Fields {
    errors: Vec<FieldError>,
}

impl Fields {
    fn wrong(&mut self, field: &str, message: impl Display) {
        let (field, message) = (field.to_owned(), message.to_string());
        self.errors.push(FieldError { field, message });
    }

    fn word<T: FromStr<Err: Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        text.trim().parse().map_err(|error| self.wrong(field, error)).ok()
    }

    fn parse<T: FromStr<Err: Display>>(&mut self, field: &str, text: &Option<String>) -> Option<T> {
        text.as_deref().and_then(|text| self.word(field, text))
    }

    fn place(
        &mut self,
        field: &str,
        name: &Option<String>,
        find: impl Fn(&str) -> Result<PathBuf, String>,
    ) -> Option<PathBuf> {
        find(name.as_deref()?).map_err(|reason| self.wrong(field, reason)).ok()
    }

    fn profile(
        &mut self,
        field: &str,
        name: &str,
        toml: Option<&str>,
        places: &impl Places,
    ) -> ProfileText {
        let found = match toml {
            Some(toml) => Ok(ProfileText { toml: toml.to_owned(), origin: name.to_owned() }),
            None if name.is_empty() => Err("a search needs a hardware profile".into()),
            None => places
                .profile(name)
                .map(|found| ProfileText { toml: found.text, origin: found.origin }),
        };
        found.unwrap_or_else(|reason| {
            self.wrong(field, reason);
            ProfileText { toml: String::new(), origin: String::new() }
        })
    }

    fn within(&mut self, field: &str, number: u64, most: u64) {
        if !(1..=most).contains(&number) {
            self.wrong(field, format!("{number} is not from 1 to {most}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Places for Nothing {
        fn profile(&self, name: &str) -> Result<FoundProfile, String> {
            crate::runner::find_profile(name).map_err(|error| error.to_string())
        }

        fn model(&self, name: &str) -> Result<PathBuf, String> {
            Err(format!("there is no model {name:?}"))
        }

        fn data(&self, name: &str) -> Result<PathBuf, String> {
            Ok(name.into())
        }
    }

    fn wrong_fields(json: &str) -> Vec<String> {
        let submission: Submission = serde_json::from_str(json).unwrap();
        let errors = submission.request(&Nothing).err().unwrap_or_default();
        errors.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let none: [&str; 0] = [];
        for (json, expected) in [
            (r#"{"profile":"edge-tpu"}"#, &none[..]),
            (r#"{"profile":"edge-tpu.toml","budget":["size=0.5"],"episodes":5}"#, &none),
            (r#"{}"#, &["profile"]),
            (r#"{"profile":"nowhere","episodes":0}"#, &["profile", "episodes"]),
            (r#"{"profile":"edge-tpu","model":"x.onnx"}"#, &["model", "data"]),
            (
                r#"{"profile":"edge-tpu","budget":["speed=2"],"strategy":"luck","pin":"first"}"#,
                &["strategy", "budget", "pin"],
            ),
            (r#"{"profile":"mine","profile_toml":"name = 3"}"#, &["profile"]),
        ] {
            assert_eq!(wrong_fields(json), expected, "{json}");
        }
    }

    #[test]
    fn defaults_are_those_of_the_command_line() {
        let submission = Submission { profile: "edge-tpu".into(), ..Submission::default() };
        let request = submission.request(&Nothing).unwrap();
        assert_eq!(request.episodes, 200);
        assert_eq!(request.pins, Pins::first_and_last());
        let paper = Submission { strategy: Some("haq".into()), ..submission };
        assert_eq!(paper.request(&Nothing).unwrap().episodes, 600);
        let unknown = serde_json::from_str::<Submission>(r#"{"profile":"edge-tpu","epsiodes":5}"#);
        assert!(unknown.unwrap_err().to_string().contains("epsiodes"));
    }
}
