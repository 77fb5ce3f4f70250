//! Costs somebody measured on the device, carried by a profile and used before the model.

use std::collections::BTreeMap;

use super::{
    error::ProfileError,
    reader::{Item, Range64},
};
use crate::bits::LayerBits;

/// What a layer was measured to cost, for one batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasuredCost {
    pub latency_s: f64,
    /// `None` where only time was measured.
    pub energy_j: Option<f64>,
}

/// Measurements by layer name, widths and batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MeasuredTable {
    entries: BTreeMap<(String, LayerBits, u64), MeasuredCost>,
}

impl MeasuredTable {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The measurements of one layer at one batch.
    pub fn of_layer(&self, name: &str, batch: u64) -> BTreeMap<LayerBits, MeasuredCost> {
        let of_layer =
            self.entries.iter().filter(|((layer, _, images), _)| layer == name && *images == batch);
        of_layer.map(|((_, bits, _), cost)| (*bits, *cost)).collect()
    }
}

/// Reads the `[[measured]]` tables; `batch` is the profile's.
pub(super) fn measured(item: Option<Item<'_>>, batch: u64) -> Result<MeasuredTable, ProfileError> {
    let mut table = MeasuredTable::default();
    for entry in item.map(|item| item.list()).transpose()?.unwrap_or_default() {
        let section = entry.section()?;
        let layer = section.require("layer", "the name of a layer")?;
        let bits = LayerBits::new(
            section.require("weight_bits", "a width of 1 to 16")?.bits()?,
            section.require("activation_bits", "a width of 1 to 16")?.bits()?,
        );
        let images = section.whole("batch", 1..=1 << 20)?.unwrap_or(batch);
        let cost = MeasuredCost {
            latency_s: section.required_number("latency_s", Range64::Positive)?,
            energy_j: section.number("energy_j", Range64::Positive)?,
        };
        let key = (layer.string()?.to_owned(), bits, images);
        if table.entries.insert(key, cost).is_some() {
            return Err(layer.refuse(format!("measured once at {bits} bits and batch {images}")));
        }
        section.finish()?;
    }
    Ok(table)
}
