//! A model's card: the JSON file beside it that says how its input is made.

use std::{fs, io, path::Path};

use serde::Deserialize;
use serde_json::Value;

use crate::data::{DataError, Interpolation, Layout, Preprocessing, Resize};

/// What a card says about a model's input and classes; a key that is absent stays `None`.
///
/// Keys are looked for in `input`, then at the top:
/// - `scale`: `pixel/255 then (x-mean)/std`, or `scale_max`: the number values are divided by
/// - `mean`, `std`: one number or a list, after scaling
/// - `layout` (`NCHW`, `NHWC`), `channel_order` (`RGB`, `BGR`, `grey`)
/// - `resize` (shorter side, or `[height, width]`), `crop` (side, or `[height, width]`),
///   `interpolation` (`bilinear`, `bicubic`, `nearest`, `lanczos`)
/// - `classes`: names in label order
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Card {
    /// File name, for messages.
    pub name: String,
    pub scale_max: Option<f32>,
    pub mean: Option<Vec<f32>>,
    pub std: Option<Vec<f32>>,
    pub bgr: bool,
    pub layout: Option<Layout>,
    pub resize: Option<Resize>,
    pub crop: Option<(usize, usize)>,
    pub interpolation: Option<Interpolation>,
    pub classes: Option<Vec<String>>,
}

/// What the command line says; it wins over the card.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Overrides {
    /// Values are divided by this; 255 when neither this nor a card says otherwise.
    pub scale_max: Option<f32>,
    pub mean: Option<Vec<f32>>,
    pub std: Option<Vec<f32>>,
    pub resize: Option<usize>,
    pub crop: Option<usize>,
}

impl Card {
    /// The card of `model.onnx` is `model.json` in the same folder; `None` where there is none.
    pub fn beside(model: &Path) -> Result<Option<Self>, DataError> {
        let path = model.with_extension("json");
        match fs::read(&path) {
            Ok(bytes) => Self::parse(&path.to_string_lossy(), &bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataError::Unreadable { path, source }),
        }
    }

    /// # Errors
    /// Text that is not JSON, and keys whose value cannot be understood.
    pub fn parse(name: &str, json: &[u8]) -> Result<Self, DataError> {
        let root: Value = serde_json::from_slice(json).map_err(|error| DataError::CardSyntax {
            card: name.into(),
            reason: error.to_string(),
        })?;
        let keys = Keys { card: name, input: root.get("input"), root: &root };
        let scale_max = match keys.get("scale_max") {
            Some(_) => keys.parse("scale_max", "a number above 0", positive)?,
            None => keys.parse("scale", SCALE_FORMS, |value| parse_scale(value.as_str()?))?,
        };
        let numbers = "a number or a list of numbers";
        Ok(Self {
            name: name.into(),
            scale_max,
            mean: keys.parse("mean", numbers, |value| list(value, finite))?,
            std: keys.parse("std", "a number above 0 or a list of such", |value| {
                list(value, positive)
            })?,
            bgr: keys.parse("channel_order", "RGB, BGR or grey", channel_order)?.unwrap_or(false),
            layout: keys.parse("layout", "NCHW or NHWC", layout)?,
            resize: keys.parse("resize", "a side or [height, width] in pixels", resize)?,
            crop: keys.parse("crop", "a side or [height, width] in pixels", sides)?,
            interpolation: keys.parse(
                "interpolation",
                "nearest, bilinear, bicubic or lanczos",
                |value| Interpolation::deserialize(value).ok(),
            )?,
            classes: root.get("classes").and_then(class_names),
        })
    }

    /// Card and command line together.
    ///
    /// # Errors
    /// [`DataError::NoPreprocessing`] without a card and without mean and deviation: what a network
    /// was trained with is never guessed. [`DataError::Card`] when the card leaves a gap.
    pub fn resolve(card: Option<&Self>, flags: &Overrides) -> Result<Preprocessing, DataError> {
        check_flags(card, flags)?;
        let mean = flags.mean.clone().or_else(|| card?.mean.clone());
        let std = flags.std.clone().or_else(|| card?.std.clone());
        let no_card = Self { scale_max: Some(255.0), ..Self::default() };
        let card = match (card, &mean, &std) {
            (Some(card), ..) => card,
            (None, Some(_), Some(_)) => &no_card,
            (None, ..) => return Err(DataError::NoPreprocessing),
        };
        Ok(Preprocessing {
            scale_max: flags
                .scale_max
                .or(card.scale_max)
                .ok_or_else(|| card.gap("scale", SCALE_FORMS))?,
            mean: mean.ok_or_else(|| card.gap("mean", "give it in input.mean or by --mean"))?,
            std: std.ok_or_else(|| card.gap("std", "give it in input.std or by --std"))?,
            bgr: card.bgr,
            layout: card.layout.unwrap_or(Layout::Nchw),
            resize: flags.resize.map(Resize::ShorterSide).or(card.resize),
            crop: flags.crop.map(|side| (side, side)).or(card.crop),
            interpolation: card.interpolation.unwrap_or_default(),
            classes: card.classes.clone(),
        })
    }

    fn gap(&self, key: &str, needed: &str) -> DataError {
        DataError::Card {
            card: self.name.clone(),
            key: format!("input.{key}"),
            found: "absent".into(),
            needed: needed.into(),
        }
    }
}

fn check_flags(card: Option<&Card>, flags: &Overrides) -> Result<(), DataError> {
    let refuse = |what, found: String, needed: &str| {
        Err(DataError::Setting { what, found, needed: needed.into() })
    };
    if let Some(scale) = flags.scale_max.filter(|scale| !(scale.is_finite() && *scale > 0.0)) {
        return refuse("the scale", scale.to_string(), "it needs to be above 0");
    }
    for (what, values) in [("--mean", &flags.mean), ("--std", &flags.std)] {
        match values {
            Some(values) if values.is_empty() => {
                return refuse(what, "empty".into(), "one number a channel or one for all");
            }
            _ => {}
        }
    }
    if let Some(std) = flags.std.iter().flatten().find(|std| !(std.is_finite() && **std > 0.0)) {
        return refuse("--std", std.to_string(), "each needs to be above 0");
    }
    if let Some(mean) = flags.mean.iter().flatten().find(|mean| !mean.is_finite()) {
        return refuse("--mean", mean.to_string(), "each needs to be finite");
    }
    // A mean of 127 is one of raw pixels; divided by 255 first it would shift all images to black.
    let scale = flags.scale_max.or_else(|| card?.scale_max).unwrap_or(255.0);
    let raw = flags.mean.iter().flatten().find(|mean| scale > 1.0 && mean.abs() > 1.0);
    if let Some(mean) = raw {
        return refuse(
            "--mean",
            mean.to_string(),
            "it is taken after values were scaled to 0 to 1; divide mean and std by 255",
        );
    }
    for (what, side) in [("--resize", flags.resize), ("--crop", flags.crop)] {
        if side == Some(0) {
            return refuse(what, "0".into(), "it needs to be above 0 pixels");
        }
    }
    Ok(())
}

const SCALE_FORMS: &str = "it needs to be `pixel/255 then (x-mean)/std` with any number for 255, \
                           `pixel then (x-mean)/std` for unscaled values, or a number in scale_max";

/// The divisor of a scale text: `pixel/255 then (x-mean)/std`, `value/16 (values are 0..16)`,
/// `none`. `None` where the text says something else.
fn parse_scale(text: &str) -> Option<f32> {
    let text = text.trim().to_ascii_lowercase();
    let (first, then) = match text.split_once("then") {
        Some((first, then)) => (first, Some(then)),
        None => (text.as_str(), None),
    };
    if let Some(then) = then {
        let squeezed: String = then.chars().filter(|c| !c.is_whitespace()).collect();
        let rest = squeezed.strip_prefix("(x-mean)/std")?;
        // A comment may follow, another step may not.
        if !(rest.is_empty() || rest.starts_with([',', ';', '.', '('])) {
            return None;
        }
    }
    let first = without_comment(first)?;
    let (value, divisor) = match first.split_once('/') {
        Some((value, divisor)) => (value.trim(), divisor.trim().parse::<f32>().ok()?),
        None => (first, 1.0),
    };
    let names_the_value = matches!(value, "pixel" | "pixels" | "value" | "values" | "x");
    let unscaled = divisor == 1.0 && matches!(value, "none" | "identity" | "raw");
    ((names_the_value || unscaled) && divisor.is_finite() && divisor > 0.0).then_some(divisor)
}

/// `value/16 (values are 0..16)` → `value/16`; `None` for a bracket that does not end the text.
fn without_comment(text: &str) -> Option<&str> {
    let text = text.trim().trim_end_matches([',', ';']).trim_end();
    match text.split_once('(') {
        Some((text, comment)) => comment.ends_with(')').then_some(text.trim_end()),
        None => Some(text),
    }
}

/// The keys of a card, with messages that say where one is wrong.
struct Keys<'a> {
    card: &'a str,
    input: Option<&'a Value>,
    root: &'a Value,
}

impl Keys<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        let value = self.input.and_then(|input| input.get(key)).or_else(|| self.root.get(key));
        value.filter(|value| !value.is_null())
    }

    fn parse<T>(
        &self,
        key: &str,
        needed: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, DataError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let refuse = || DataError::Card {
            card: self.card.into(),
            key: key.into(),
            found: value.to_string(),
            needed: needed.into(),
        };
        read(value).map(Some).ok_or_else(refuse)
    }
}

fn finite(value: &Value) -> Option<f32> {
    let number = value.as_f64()? as f32;
    number.is_finite().then_some(number)
}

fn positive(value: &Value) -> Option<f32> {
    finite(value).filter(|number| *number > 0.0)
}

fn list(value: &Value, read: fn(&Value) -> Option<f32>) -> Option<Vec<f32>> {
    match value {
        Value::Array(values) if !values.is_empty() => values.iter().map(read).collect(),
        value => Some(vec![read(value)?]),
    }
}

fn side(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok().filter(|side| *side > 0)
}

fn sides(value: &Value) -> Option<(usize, usize)> {
    match value {
        Value::Array(values) => match values.as_slice() {
            [height, width] => Some((side(height)?, side(width)?)),
            _ => None,
        },
        value => side(value).map(|side| (side, side)),
    }
}

fn resize(value: &Value) -> Option<Resize> {
    match value {
        Value::Array(_) => sides(value).map(|(height, width)| Resize::Exact { height, width }),
        value => side(value).map(Resize::ShorterSide),
    }
}

fn channel_order(value: &Value) -> Option<bool> {
    match value.as_str()?.to_ascii_lowercase().as_str() {
        "rgb" | "grey" | "gray" | "l" => Some(false),
        "bgr" => Some(true),
        _ => None,
    }
}

fn layout(value: &Value) -> Option<Layout> {
    match value.as_str()?.to_ascii_uppercase().as_str() {
        "NCHW" => Some(Layout::Nchw),
        "NHWC" => Some(Layout::Nhwc),
        _ => None,
    }
}

/// Names in label order; a sentence about the classes is none.
fn class_names(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_texts_are_understood_or_refused() {
        for (text, expected) in [
            ("pixel/255 then (x-mean)/std", Some(255.0)),
            ("pixel/255 then (x-mean)/std, that is (pixel-127)/128", Some(255.0)),
            ("value/16 (values are 0..16) then (x-mean)/std", Some(16.0)),
            ("Pixel / 255.0 then (x - mean) / std", Some(255.0)),
            ("x/1", Some(1.0)),
            ("pixel then (x-mean)/std", Some(1.0)),
            ("none", Some(1.0)),
            ("value/16", Some(16.0)),
            ("pixel*2/255", None),
            ("pixel/255 - 0.5", None),
            ("pixel/0", None),
            ("pixel/-1", None),
            ("pixel/255/2", None),
            ("none/255", None),
            ("pixel/255 then (x-mean)*std", None),
            ("pixel/255 then (x-mean)/std then clip", None),
            ("(pixel-127)/128", None),
            ("", None),
        ] {
            assert_eq!(parse_scale(text), expected, "{text}");
        }
    }

    const FULL: &str = r#"{"input": {"scale": "pixel/255 then (x-mean)/std", "mean": [0.1, 0.2, 0.3],
        "std": [0.5, 0.6, 0.7], "channel_order": "BGR", "layout": "NHWC", "resize": [9, 8],
        "crop": 7, "interpolation": "bicubic"}, "classes": ["a", "b"]}"#;

    #[test]
    fn flags_win_over_the_card_key_by_key() {
        let card = Card::parse("m.json", FULL.as_bytes()).expect("a valid card");
        let resolve = |flags: &Overrides| Card::resolve(Some(&card), flags).expect("complete");
        let plain = resolve(&Overrides::default());
        assert_eq!(plain.mean, [0.1, 0.2, 0.3]);
        assert_eq!((plain.bgr, plain.layout), (true, Layout::Nhwc));
        assert_eq!(plain.resize, Some(Resize::Exact { height: 9, width: 8 }));
        assert_eq!((plain.crop, plain.interpolation), (Some((7, 7)), Interpolation::Bicubic));
        assert_eq!(plain.classes.as_deref(), Some(["a".into(), "b".into()].as_slice()));
        let flags = Overrides {
            mean: Some(vec![0.5]),
            resize: Some(256),
            crop: Some(224),
            ..Overrides::default()
        };
        let expected = Preprocessing {
            mean: vec![0.5],
            resize: Some(Resize::ShorterSide(256)),
            crop: Some((224, 224)),
            ..plain
        };
        assert_eq!(resolve(&flags), expected);
    }

    #[test]
    fn nothing_is_guessed_without_card_and_flags() {
        let mean = || Some(vec![0.5]);
        let default = Overrides::default;
        for (name, flags, is_known) in [
            ("nothing", default(), false),
            ("mean alone", Overrides { mean: mean(), ..default() }, false),
            ("sizes alone", Overrides { resize: Some(256), crop: Some(224), ..default() }, false),
            ("mean and std", Overrides { mean: mean(), std: mean(), ..default() }, true),
        ] {
            match Card::resolve(None, &flags) {
                Ok(found) => assert!(is_known && found.scale_max == 255.0, "{name}"),
                Err(DataError::NoPreprocessing) => assert!(!is_known, "{name}"),
                Err(error) => panic!("{name}: {error}"),
            }
        }
    }

    #[test]
    fn a_card_that_cannot_be_understood_is_refused_by_key() {
        for (json, expected) in [
            ("{", "m.json: is not JSON: EOF while parsing an object at line 1 column 1"),
            ("[]", "m.json: input.scale is absent; it needs to be `pixel/255 then (x-mean)/std`"),
            (r#"{"scale_max": 255}"#, "m.json: input.mean is absent; give it in input.mean or by"),
            (r#"{"scale": "half"}"#, "m.json: scale is \"half\"; it needs to be `pixel/255 then"),
            (r#"{"scale_max": 0}"#, "m.json: scale_max is 0; a number above 0"),
            (r#"{"mean": ["a"]}"#, "m.json: mean is [\"a\"]; a number or a list of numbers"),
            (r#"{"std": [1, 0]}"#, "m.json: std is [1,0]; a number above 0 or a list of such"),
            (r#"{"input": {"layout": "CHWN"}}"#, "m.json: layout is \"CHWN\"; NCHW or NHWC"),
            (r#"{"channel_order": "HSV"}"#, "m.json: channel_order is \"HSV\"; RGB, BGR or grey"),
            (r#"{"crop": -1}"#, "m.json: crop is -1; a side or [height, width] in pixels"),
            (
                r#"{"interpolation": "best"}"#,
                "m.json: interpolation is \"best\"; nearest, bilinear",
            ),
        ] {
            let card = Card::parse("m.json", json.as_bytes());
            let result = card.and_then(|card| Card::resolve(Some(&card), &Overrides::default()));
            let message = result.expect_err(json).to_string();
            assert!(message.starts_with(expected), "{json}: {message}");
        }
    }

    #[test]
    fn flags_that_make_no_sense_are_refused() {
        let flags = |mean: f32, std: f32| Overrides {
            mean: Some(vec![mean]),
            std: Some(vec![std]),
            ..Overrides::default()
        };
        for (flags, expected) in [
            (flags(0.5, 0.0), "--std is 0; each needs to be above 0"),
            (flags(f32::NAN, 1.0), "--mean is NaN; each needs to be finite"),
            (flags(127.0, 128.0), "--mean is 127; it is taken after values were scaled to 0 to 1"),
            (Overrides { mean: Some(vec![]), ..flags(0.0, 1.0) }, "--mean is empty; one number"),
            (Overrides { crop: Some(0), ..flags(0.0, 1.0) }, "--crop is 0; it needs to be above 0"),
            (Overrides { scale_max: Some(-1.0), ..flags(0.0, 1.0) }, "the scale is -1; it needs"),
        ] {
            let message = Card::resolve(None, &flags).expect_err(expected).to_string();
            assert!(message.starts_with(expected), "{message}");
        }
        let raw = Overrides { scale_max: Some(1.0), ..flags(127.0, 128.0) };
        Card::resolve(None, &raw).expect("a mean of raw values with the scale said");
    }
}
