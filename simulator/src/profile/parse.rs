//! From the text of a profile to a checked [`HardwareProfile`].

use super::{
    Compute, Family, HardwareProfile, HostLink, MemoryLevel, StreamPolicy, compute,
    error::ProfileError,
    measured, memory,
    reader::{Document, Range64, Section},
};
use crate::{
    bit_serial::SerialOperands,
    bits::{Bits, LayerBits},
    energy::EnergyModel,
    precision::{NativePair, Precision, PrecisionMode, Storage},
    tensor_core::TensorCoreArray,
};

/// The version of the schema this crate reads.
const SCHEMA: u64 = 1;

pub(super) fn profile(text: &str, origin: &str) -> Result<HardwareProfile, ProfileError> {
    let document = Document { origin, text };
    let root_table = document.root()?;
    let root = Section::new(&document, root_table.get_ref(), 0..0, String::new());

    root.required_whole("schema", SCHEMA..=SCHEMA)?;
    let name = name(&root)?;
    let family = root
        .require("family", "\"systolic\", \"tensor-core\", \"fusion\" or \"bit-serial\"")?
        .word(&Family::WORDS)?;
    let description = match root.get("description") {
        Some(item) => item.string()?.to_owned(),
        None => String::new(),
    };
    let clock_hz = root.required_number("clock_hz", Range64::Positive)?;

    let compute_section = root.sub_section("compute")?;
    let array = compute::compute(&compute_section, family)?;
    let efficiency = compute::efficiency(&compute_section)?;
    let (precision, n_pairs) = precision(root.sub_section("precision")?, family, &array)?;
    let memory = memory_levels(&root, clock_hz)?;
    let host_link = host_link(&compute_section, &memory)?;
    compute_section.finish()?;
    let (energy, mac_pj) = energy(root.sub_section("energy")?, n_pairs)?;

    let batch = root.whole("batch", 1..=1 << 20)?.unwrap_or(1);

    let profile = HardwareProfile {
        name,
        description,
        family,
        batch,
        tech_nm: root.number("tech_nm", Range64::Positive)?,
        clock_hz,
        idle_power_w: root.number_or("idle_power_w", Range64::NonNegative, 0.0)?,
        fixed_overhead_s: root.number_or("fixed_overhead_s", Range64::NonNegative, 0.0)?,
        per_layer_overhead_s: root.number_or("per_layer_overhead_s", Range64::NonNegative, 0.0)?,
        compute: array,
        efficiency,
        precision: precision.build(&mac_pj),
        memory,
        host_link,
        energy,
        measured: measured::measured(root.get("measured"), batch)?,
        source: text.to_owned(),
    };
    root.finish()?;
    Ok(profile)
}

/// A name that can be part of a file name and a column of a table.
fn name(root: &Section<'_>) -> Result<String, ProfileError> {
    let item = root.require("name", "a short name such as \"edge-npu\"")?;
    let name = item.string()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err(item.refuse("1 to 64 letters, digits, '-', '_' or '.'"));
    }
    Ok(name.to_owned())
}

/// The parts of a [`Precision`] before the energies of its pairs are known.
struct PrecisionDraft {
    mode: PrecisionMode,
    storage: Storage,
    weight_only: bool,
    min_stored: Bits,
}

impl PrecisionDraft {
    fn build(mut self, mac_pj: &[f64]) -> Precision {
        if let PrecisionMode::Table(pairs) = &mut self.mode {
            for (pair, pj) in pairs.iter_mut().zip(mac_pj) {
                pair.mac_pj = Some(*pj);
            }
        }
        Precision::new(self.mode, self.storage, self.weight_only, self.min_stored)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Table,
    Fusion,
    BitSerial,
}

/// Reads `[precision]`; also says how many pairs a table has.
fn precision(
    section: Section<'_>,
    family: Family,
    array: &Compute,
) -> Result<(PrecisionDraft, usize), ProfileError> {
    let fitting: (&str, Mode) = match family {
        Family::Systolic | Family::TensorCore => ("table", Mode::Table),
        Family::Fusion => ("fusion", Mode::Fusion),
        Family::BitSerial => ("bit-serial", Mode::BitSerial),
    };
    let mode = section.require("mode", &format!("{:?}", fitting.0))?.word(&[fitting])?;
    let min_item = section.get("min_bits");
    let min = min_item.as_ref().map(|item| item.bits()).transpose()?.unwrap_or(Bits::MIN);
    let max_item = section.get("max_bits");
    let max = max_item.as_ref().map(|item| item.bits()).transpose()?;
    if let (Some(item), Some(max)) = (&max_item, max)
        && max < min
    {
        return Err(item.refuse(format!("at least min_bits, {min}")));
    }
    let mode = match mode {
        Mode::Table => PrecisionMode::Table(match array {
            Compute::TensorCore(array) => equal_pairs(&section, array)?,
            _ => pairs(&section)?,
        }),
        Mode::Fusion => PrecisionMode::Fusion(fusion_widths(min, max.unwrap_or(Bits::EIGHT))),
        Mode::BitSerial => PrecisionMode::BitSerial {
            min,
            max: max.unwrap_or(Bits::MAX),
            serial_weights: match array {
                Compute::BitSerial(array) => array.serial == SerialOperands::Both,
                _ => true,
            },
        },
    };
    let storage = section.word_or(
        "storage",
        &[
            ("packed", Storage::Packed),
            ("container", Storage::Container),
            ("native", Storage::Native),
        ],
        Storage::Packed,
    )?;
    let draft = PrecisionDraft {
        storage,
        weight_only: section.flag_or("weight_only", false)?,
        min_stored: match section.get("min_stored_bits") {
            Some(item) => item.bits()?,
            None => Bits::MIN,
        },
        mode,
    };
    section.finish()?;
    let n_pairs = match &draft.mode {
        PrecisionMode::Table(pairs) => pairs.len(),
        _ => 0,
    };
    Ok((draft, n_pairs))
}

/// Powers of two from `min` to `max`.
fn fusion_widths(min: Bits, max: Bits) -> Vec<Bits> {
    let mut widths: Vec<Bits> = [1, 2, 4, 8, 16]
        .into_iter()
        .filter_map(Bits::new)
        .filter(|width| *width >= min && *width <= max)
        .collect();
    if widths.last() != Some(&max) {
        widths.push(max);
    }
    widths
}

/// The pairs of a GPU: both operands at one of the widths `macs_per_sm` lists.
fn equal_pairs(
    section: &Section<'_>,
    array: &TensorCoreArray,
) -> Result<Vec<NativePair>, ProfileError> {
    let pair = |(width, macs): &(Bits, f64)| NativePair {
        bits: LayerBits::new(*width, *width),
        rate: *macs,
        mac_pj: None,
    };
    let native: Vec<NativePair> = array.macs_per_sm.iter().map(pair).collect();
    if let Some(item) = section.get("pairs") {
        let listed = pairs(section)?;
        if !listed.iter().map(|pair| pair.bits).eq(native.iter().map(|pair| pair.bits)) {
            return Err(item.refuse("the widths of compute.macs_per_sm, each with itself"));
        }
    }
    Ok(native)
}

/// Reads `pairs` and `rate`, two lists of one length.
fn pairs(section: &Section<'_>) -> Result<Vec<NativePair>, ProfileError> {
    let item = section.require("pairs", "a list such as [[8, 8]]")?;
    let mut bits: Vec<LayerBits> = Vec::new();
    for pair in item.list()? {
        let sides = pair.list()?;
        let [weight, activation] = sides.as_slice() else {
            return Err(pair.refuse("two widths, [weight, activation]"));
        };
        bits.push(LayerBits::new(weight.bits()?, activation.bits()?));
    }
    if bits.is_empty() {
        return Err(item.refuse("at least one pair of widths"));
    }
    if !bits.is_sorted_by(|a, b| a < b) {
        return Err(item.refuse("in ascending order, each pair once"));
    }
    let rates = match section.get("rate") {
        None => vec![1.0; bits.len()],
        Some(rates) => {
            let list = rates.list()?;
            if list.len() != bits.len() {
                return Err(rates.refuse(format!("{} numbers, one for each pair", bits.len())));
            }
            list.iter().map(|rate| rate.number(Range64::Positive)).collect::<Result<_, _>>()?
        }
    };
    let pair = |(bits, rate)| NativePair { bits, rate, mac_pj: None };
    Ok(bits.into_iter().zip(rates).map(pair).collect())
}

fn memory_levels(root: &Section<'_>, clock_hz: f64) -> Result<Vec<MemoryLevel>, ProfileError> {
    let needed = "two to four [[memory]] tables, nearest first";
    let item = root.require("memory", needed)?;
    let tables = item.list()?;
    if !(2..=4).contains(&tables.len()) {
        return Err(item.refuse(needed));
    }
    let mut levels: Vec<MemoryLevel> = Vec::with_capacity(tables.len());
    for table in &tables {
        let section = table.section()?;
        let name = section.get("level");
        let level = memory::level(section, clock_hz)?;
        if levels.iter().any(|other| other.name == level.name) {
            let name = name.expect("a level that was read has a name");
            return Err(name.refuse("different from the levels before it"));
        }
        levels.push(level);
    }
    let last = tables.last().expect("two levels were checked").section()?;
    if levels.last().is_some_and(|level| level.bits_per_cycle.is_none()) {
        return Err(last.missing("bw_bytes_per_s", "the bandwidth of the furthest level"));
    }
    Ok(levels)
}

/// Reads the keys of a host link, if there is one.
fn host_link(
    section: &Section<'_>,
    memory: &[MemoryLevel],
) -> Result<Option<HostLink>, ProfileError> {
    let policy = section.word_or(
        "stream_policy",
        &[("add", StreamPolicy::Add), ("overlap", StreamPolicy::Overlap)],
        StreamPolicy::Add,
    )?;
    let Some(item) = section.get("host_link_bytes_per_s") else { return Ok(None) };
    let bytes_per_s = item.number(Range64::Positive)?;
    let on_chip = &memory[memory.len() - 2];
    let Some(cached_weight_bytes) = on_chip.weight_bytes else {
        return Err(item.refuse(format!(
            "left out, or memory.weight_bytes of level {:?} has to say what stays on the device",
            on_chip.name
        )));
    };
    Ok(Some(HostLink { bytes_per_s, policy, cached_weight_bytes }))
}

/// Reads `[energy]`; also the energies of the precision table's pairs.
fn energy(section: Section<'_>, n_pairs: usize) -> Result<(EnergyModel, Vec<f64>), ProfileError> {
    let listed = section.word_or("mac_scaling", &[("product", false), ("table", true)], false)?;
    let mac_pj = match section.get("mac_pj") {
        Some(item) if !listed => {
            return Err(item.refuse("left out, since mac_scaling is \"product\""));
        }
        None if listed => {
            return Err(section.missing("mac_pj", "one number for each pair of precision.pairs"));
        }
        None => Vec::new(),
        Some(item) => {
            let list = item.list()?;
            if list.len() != n_pairs {
                return Err(item.refuse(format!("{n_pairs} numbers, one for each pair")));
            }
            list.iter().map(|pj| pj.number(Range64::NonNegative)).collect::<Result<_, _>>()?
        }
    };
    let model = EnergyModel {
        mac_pj_8x8: match listed {
            true => section.number_or("mac_pj_8x8", Range64::NonNegative, 0.0)?,
            false => section.required_number("mac_pj_8x8", Range64::NonNegative)?,
        },
        add_pj_32: section.number_or("add_pj_32", Range64::NonNegative, 0.0)?,
        leak_scale: section.number_or("leak_scale", Range64::NonNegative, 1.0)?,
    };
    section.finish()?;
    Ok((model, mac_pj))
}
