//! The `[compute]` table of a profile: what the array of each family looks like.

use super::{
    Family,
    error::ProfileError,
    reader::{Range64, Section},
};
use crate::{
    bit_serial::{BitSerialArray, SerialOperands},
    fusion::FusionArray,
    systolic::{Dataflow, DepthwiseMapping, Fill, SystolicArray},
    tiling::TilingGoal,
};

/// The array of a device.
#[derive(Debug, Clone, PartialEq)]
pub enum Compute {
    Systolic(SystolicArray),
    Fusion(FusionArray),
    BitSerial(BitSerialArray),
}

/// Rows, columns and dot products wider than this are no array that could be built.
const SIZE: std::ops::RangeInclusive<u64> = 1..=1 << 16;

/// Reads the keys of one family.
pub(super) fn compute(section: &Section<'_>, family: Family) -> Result<Compute, ProfileError> {
    match family {
        Family::Systolic => systolic(section).map(Compute::Systolic),
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

fn acc_bits(section: &Section<'_>) -> Result<u64, ProfileError> {
    Ok(section.whole("acc_bits", 8..=64)?.unwrap_or(32))
}

/// The share of the array's rate that is reached.
pub(super) fn efficiency(section: &Section<'_>) -> Result<f64, ProfileError> {
    section.number_or("efficiency", Range64::Share, 1.0)
}
