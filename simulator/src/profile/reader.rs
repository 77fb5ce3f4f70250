//! Reads typed values out of a TOML document and remembers where each one stands.
//!
//! Every getter notes the key it was asked for, so that [`Section::finish`] can refuse the
//! keys nobody asked for and name those that are known.

use std::{cell::RefCell, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::error::ProfileError;
use crate::bits::Bits;

/// A parsed document with the text that line numbers are counted in.
pub(super) struct Document<'a> {
    pub origin: &'a str,
    pub text: &'a str,
}

impl<'a> Document<'a> {
    /// Parses the text and hands out its root table.
    pub fn root(&'a self) -> Result<Spanned<DeTable<'a>>, ProfileError> {
        DeTable::parse(self.text).map_err(|error| ProfileError::Syntax {
            origin: self.origin.to_owned(),
            line: self.line_at(error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })
    }

    fn line_at(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }
}

/// What a number is held against.
#[derive(Clone, Copy)]
pub(super) enum Range64 {
    /// 1e-15 to 1e18: any rate, time or energy a device could have, and no product of
    /// a few of them overflows.
    Positive,
    /// 0 to 1e18.
    NonNegative,
    /// 1e-9 to 1.
    Share,
}

impl Range64 {
    fn contains(self, value: f64) -> bool {
        match self {
            Range64::Positive => (1e-15..=1e18).contains(&value),
            Range64::NonNegative => (0.0..=1e18).contains(&value),
            Range64::Share => (1e-9..=1.0).contains(&value),
        }
    }

    fn needed(self) -> &'static str {
        match self {
            Range64::Positive => "above 0 (1e-15 to 1e18)",
            Range64::NonNegative => "0 or above (up to 1e18)",
            Range64::Share => "above 0 and at most 1",
        }
    }
}

/// A value of the document with the path that names it in messages.
#[derive(Clone)]
pub(super) struct Item<'a> {
    document: &'a Document<'a>,
    value: &'a DeValue<'a>,
    span: Range<usize>,
    path: String,
}

impl<'a> Item<'a> {
    /// The error of a value that cannot be.
    pub fn refuse(&self, needed: impl Into<String>) -> ProfileError {
        ProfileError::Value {
            origin: self.document.origin.to_owned(),
            line: self.document.line_at(self.span.start),
            key: self.path.clone(),
            found: self.found(),
            needed: needed.into(),
        }
    }

    /// The value as it is written, shortened.
    fn found(&self) -> String {
        let text = self.document.text.get(self.span.clone()).unwrap_or("");
        let first = text.lines().next().unwrap_or("").trim();
        let short: String = first.chars().take(40).collect();
        match (short.is_empty(), short.len() < text.trim().len()) {
            (true, _) => format!("a {}", self.value.type_str()),
            (false, true) => format!("{short}…"),
            (false, false) => short,
        }
    }

    pub fn number(&self, range: Range64) -> Result<f64, ProfileError> {
        let value = match self.value {
            DeValue::Integer(integer) => i128::from_str_radix(integer.as_str(), integer.radix())
                .map(|value| value as f64)
                .map_err(|_| self.refuse(format!("a number {}", range.needed())))?,
            DeValue::Float(float) => float
                .as_str()
                .parse()
                .map_err(|_| self.refuse(format!("a number {}", range.needed())))?,
            _ => return Err(self.refuse(format!("a number {}", range.needed()))),
        };
        if range.contains(value) { Ok(value) } else { Err(self.refuse(range.needed())) }
    }

    pub fn whole(&self, range: std::ops::RangeInclusive<u64>) -> Result<u64, ProfileError> {
        let needed = || format!("a whole number from {} to {}", range.start(), range.end());
        let DeValue::Integer(integer) = self.value else { return Err(self.refuse(needed())) };
        i128::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .and_then(|value| u64::try_from(value).ok())
            .filter(|value| range.contains(value))
            .ok_or_else(|| self.refuse(needed()))
    }

    pub fn bits(&self) -> Result<Bits, ProfileError> {
        let width = self.whole(1..=16)?;
        Ok(u8::try_from(width).ok().and_then(Bits::new).expect("1 to 16 was checked"))
    }

    pub fn flag(&self) -> Result<bool, ProfileError> {
        self.value.as_bool().ok_or_else(|| self.refuse("true or false"))
    }

    pub fn string(&self) -> Result<&'a str, ProfileError> {
        self.value.as_str().ok_or_else(|| self.refuse("a text in quotes"))
    }

    /// One of the words, or an error that lists them.
    pub fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, ProfileError> {
        let known = || {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            known.join(" or ")
        };
        let text = self.value.as_str().ok_or_else(|| self.refuse(known()))?;
        words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value)
            .ok_or_else(|| self.refuse(known()))
    }

    pub fn list(&self) -> Result<Vec<Item<'a>>, ProfileError> {
        let array = self.value.as_array().ok_or_else(|| self.refuse("a list in brackets"))?;
        Ok(array
            .iter()
            .map(|item| Item {
                document: self.document,
                value: item.get_ref(),
                span: item.span(),
                path: self.path.clone(),
            })
            .collect())
    }

    pub fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub fn section(&self) -> Result<Section<'a>, ProfileError> {
        let table = self.value.as_table().ok_or_else(|| self.refuse("a table"))?;
        Ok(Section::new(self.document, table, self.span.clone(), self.path.clone()))
    }
}

/// A table of the document.
pub(super) struct Section<'a> {
    document: &'a Document<'a>,
    table: &'a DeTable<'a>,
    span: Range<usize>,
    path: String,
    asked: RefCell<Vec<String>>,
}

impl<'a> Section<'a> {
    pub fn new(
        document: &'a Document<'a>,
        table: &'a DeTable<'a>,
        span: Range<usize>,
        path: String,
    ) -> Self {
        Self { document, table, span, path, asked: RefCell::default() }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub fn get(&self, key: &str) -> Option<Item<'a>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.iter().any(|known| known == key) {
            asked.push(key.to_owned());
        }
        self.table.get(key).map(|value| Item {
            document: self.document,
            value: value.get_ref(),
            span: value.span(),
            path: self.path_of(key),
        })
    }

    /// The error of a key that has to be there.
    pub fn missing(&self, key: &str, needed: &str) -> ProfileError {
        ProfileError::Missing {
            origin: self.document.origin.to_owned(),
            line: self.document.line_at(self.span.start),
            key: self.path_of(key),
            needed: needed.to_owned(),
        }
    }

    pub fn require(&self, key: &str, needed: &str) -> Result<Item<'a>, ProfileError> {
        self.get(key).ok_or_else(|| self.missing(key, needed))
    }

    pub fn number(&self, key: &str, range: Range64) -> Result<Option<f64>, ProfileError> {
        self.get(key).map(|item| item.number(range)).transpose()
    }

    pub fn number_or(&self, key: &str, range: Range64, default: f64) -> Result<f64, ProfileError> {
        Ok(self.number(key, range)?.unwrap_or(default))
    }

    pub fn required_number(&self, key: &str, range: Range64) -> Result<f64, ProfileError> {
        self.require(key, range.needed())?.number(range)
    }

    pub fn whole(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, ProfileError> {
        self.get(key).map(|item| item.whole(range)).transpose()
    }

    pub fn required_whole(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, ProfileError> {
        let needed = format!("a whole number from {} to {}", range.start(), range.end());
        self.require(key, &needed)?.whole(range)
    }

    pub fn flag_or(&self, key: &str, default: bool) -> Result<bool, ProfileError> {
        Ok(self.get(key).map(|item| item.flag()).transpose()?.unwrap_or(default))
    }

    pub fn word_or<T: Copy>(
        &self,
        key: &str,
        words: &[(&str, T)],
        default: T,
    ) -> Result<T, ProfileError> {
        Ok(self.get(key).map(|item| item.word(words)).transpose()?.unwrap_or(default))
    }

    pub fn sub_section(&self, key: &str) -> Result<Section<'a>, ProfileError> {
        self.require(key, "a table")?.section()
    }

    /// The keys that are there.
    pub fn keys(&self) -> Vec<&'a str> {
        self.table.keys().map(|key| key.get_ref().as_ref()).collect()
    }

    /// Refuses keys that no getter asked for.
    pub fn finish(self) -> Result<(), ProfileError> {
        let asked = self.asked.into_inner();
        let unknown = self
            .table
            .keys()
            .filter(|key| !asked.iter().any(|known| known == key.get_ref().as_ref()))
            .min_by_key(|key| key.span().start);
        match unknown {
            None => Ok(()),
            Some(key) => Err(ProfileError::UnknownKey {
                origin: self.document.origin.to_owned(),
                line: self.document.line_at(key.span().start),
                key: if self.path.is_empty() {
                    key.get_ref().to_string()
                } else {
                    format!("{}.{}", self.path, key.get_ref())
                },
                known: asked.join(", "),
            }),
        }
    }
}
