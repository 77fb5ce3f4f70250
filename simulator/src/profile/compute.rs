//! The `[compute]` table of a profile: what the array of each family looks like.

use super::{
    Family,
    error::ProfileError,
    reader::{Item, Range64, Section},
};
use crate::{
    bit_serial::{BitSerialArray, SerialOperands},
    bits::Bits,
    fusion::FusionArray,
    systolic::{Dataflow, DepthwiseMapping, Fill, FoldTraffic, SystolicArray},
    tensor_core::TensorCoreArray,
    tiling::TilingGoal,
};

/// The array of a device.
#[derive(Debug, Clone, PartialEq)]
pub enum Compute {
    Systolic(SystolicArray),
    TensorCore(TensorCoreArray),
    Fusion(FusionArray),
    BitSerial(BitSerialArray),
}

/// Rows, columns and dot products wider than this are no array that could be built.
const SIZE: std::ops::RangeInclusive<u64> = 1..=1 << 16;

/// Reads the keys of one family.
pub(super) fn compute(section: &Section<'_>, family: Family) -> Result<Compute, ProfileError> {
    match family {
        Family::Systolic => systolic(section).map(Compute::Systolic),
        Family::TensorCore => tensor_core(section).map(Compute::TensorCore),
        Family::Fusion => fusion(section).map(Compute::Fusion),
        Family::BitSerial => bit_serial(section).map(Compute::BitSerial),
    }
}

fn systolic(section: &Section<'_>) -> Result<SystolicArray, ProfileError> {
    let array = SystolicArray {
        rows: section.required_whole("rows", SIZE)?,
        cols: section.required_whole("cols", SIZE)?,
        dot_width: section.whole("dot_width", SIZE)?.unwrap_or(1),
        dataflow: section.word_or("dataflow", &Dataflow::WORDS, Dataflow::WeightStationary)?,
        fill: section.word_or("fill", &Fill::WORDS, Fill::PerFold)?,
        depthwise: section.word_or(
            "depthwise",
            &DepthwiseMapping::WORDS,
            DepthwiseMapping::PerChannel,
        )?,
        traffic: section.word_or("traffic", &FoldTraffic::WORDS, FoldTraffic::Tiled)?,
        vector_lanes: section.whole("vector_lanes", 0..=1 << 20)?.unwrap_or(0),
        acc_bits: acc_bits(section)?,
    };
    if array.depthwise == DepthwiseMapping::Vector && array.vector_lanes == 0 {
        return Err(match section.get("vector_lanes") {
            Some(item) => item.refuse("at least 1, since depthwise is \"vector\""),
            None => section.missing("vector_lanes", "at least 1, since depthwise is \"vector\""),
        });
    }
    Ok(array)
}

fn fusion(section: &Section<'_>) -> Result<FusionArray, ProfileError> {
    Ok(FusionArray {
        rows: section.required_whole("rows", SIZE)?,
        cols: section.required_whole("cols", SIZE)?,
        first_layer_im2col: section.flag_or("first_layer_im2col", true)?,
        acc_roundtrip: section.flag_or("acc_roundtrip", true)?,
        pad_weights: section.flag_or("pad_weights", true)?,
        tiling: section.word_or("tiling", &TilingGoal::WORDS, TilingGoal::FewestCycles)?,
        acc_bits: acc_bits(section)?,
    })
}

fn bit_serial(section: &Section<'_>) -> Result<BitSerialArray, ProfileError> {
    Ok(BitSerialArray {
        rows: section.required_whole("rows", SIZE)?,
        cols: section.required_whole("cols", SIZE)?,
        dot_width: section.required_whole("dot_width", SIZE)?,
        dw_pack: section.whole("dw_pack", SIZE)?.unwrap_or(1),
        operand_bits_per_cycle: section.whole("operand_bits_per_cycle", SIZE)?,
        serial: section.word_or("serial", &SerialOperands::WORDS, SerialOperands::Both)?,
        acc_bits: acc_bits(section)?,
    })
}

fn tensor_core(section: &Section<'_>) -> Result<TensorCoreArray, ProfileError> {
    let needed = "a table such as { \"8\" = 2048 }, multiply-accumulates a cycle by width";
    let macs_per_sm = by_width(&section.require("macs_per_sm", needed)?, Range64::Positive)?;
    let efficiency_by_bits = match section.get("efficiency_by_bits") {
        Some(item) => by_width(&item, Range64::Share)?,
        None => Vec::new(),
    };
    Ok(TensorCoreArray {
        sms: section.required_whole("sms", SIZE)?,
        macs_per_sm,
        tile_m: section.whole("tile_m", SIZE)?.unwrap_or(128),
        tile_n: section.whole("tile_n", SIZE)?.unwrap_or(128),
        mem_efficiency: section.number_or("mem_efficiency", Range64::Share, 1.0)?,
        wave_quantisation: section.flag_or("wave_quantisation", false)?,
        depthwise_rate: section.number_or("depthwise_rate", Range64::Share, 0.05)?,
        efficiency_by_bits,
        writes_accumulators: section.flag_or("writes_accumulators", false)?,
        acc_bits: acc_bits(section)?,
    })
}

/// Reads a table from widths to numbers, at least one, ascending.
fn by_width(item: &Item<'_>, range: Range64) -> Result<Vec<(Bits, f64)>, ProfileError> {
    let section = item.section()?;
    let mut values = Vec::new();
    for key in section.keys() {
        let width = key.parse().ok().and_then(Bits::new);
        let width = width.ok_or_else(|| item.refuse("numbers by width, \"1\" to \"16\""))?;
        values.push((width, section.required_number(key, range)?));
    }
    values.sort_by_key(|(width, _)| *width);
    if values.is_empty() {
        return Err(item.refuse("numbers by width, at least one"));
    }
    Ok(values)
}

fn acc_bits(section: &Section<'_>) -> Result<u64, ProfileError> {
    Ok(section.whole("acc_bits", 8..=64)?.unwrap_or(32))
}

/// The share of the array's rate that is reached.
pub(super) fn efficiency(section: &Section<'_>) -> Result<f64, ProfileError> {
    section.number_or("efficiency", Range64::Share, 1.0)
}
