//! Memory levels of a profile: sizes, bandwidths and energies of one `[[memory]]` table each.

use super::{
    error::ProfileError,
    reader::{Item, Range64, Section},
};

/// A value for each kind of data: weights, inputs of a layer, results of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PerOperand {
    pub weights: f64,
    pub inputs: f64,
    pub outputs: f64,
}

impl PerOperand {
    fn same(value: f64) -> Self {
        Self { weights: value, inputs: value, outputs: value }
    }
}

/// One place data is kept in.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryLevel {
    pub name: String,
    /// `None` where it is as large as it needs to be.
    pub bytes: Option<u64>,
    /// Parts kept for one kind of data; `None` where data share the level.
    pub weight_bytes: Option<u64>,
    pub input_bytes: Option<u64>,
    pub output_bytes: Option<u64>,
    /// Whether half of each buffer fills while the other half is used, so that transfers
    /// hide behind computing.
    pub double_buffered: bool,
    /// Whether activations stay here between layers and never go further out.
    pub keeps_activations: bool,
    /// Bits a clock cycle; `None` where the array is always fed.
    pub bits_per_cycle: Option<f64>,
    /// Whether the profile gives the bandwidth by the cycle and not by the second.
    pub(crate) bandwidth_by_cycle: bool,
    pub read_pj_per_bit: PerOperand,
    pub write_pj_per_bit: PerOperand,
    /// Each stored weight vector is padded to a multiple of this; 0 or 1 pads nothing.
    pub row_align_bits: u64,
}

impl MemoryLevel {
    /// Bits of the level that hold weights while one tile is worked on.
    pub(crate) fn usable_weight_bits(&self) -> f64 {
        self.usable(self.weight_bytes)
    }

    pub(crate) fn usable_input_bits(&self) -> f64 {
        self.usable(self.input_bytes)
    }

    pub(crate) fn usable_output_bits(&self) -> f64 {
        self.usable(self.output_bytes)
    }

    /// A part that is not fixed gets an equal share of what the fixed ones leave.
    fn usable(&self, part: Option<u64>) -> f64 {
        let bytes = match (part, self.bytes) {
            (Some(bytes), _) => bytes as f64,
            (None, None) => f64::INFINITY,
            (None, Some(bytes)) => {
                let parts = [self.weight_bytes, self.input_bytes, self.output_bytes];
                let fixed: u64 = parts.iter().flatten().sum();
                let open = parts.iter().filter(|part| part.is_none()).count();
                (bytes - fixed) as f64 / open as f64
            }
        };
        if self.double_buffered { bytes * 4.0 } else { bytes * 8.0 }
    }
}

/// What happens to weights that do not fit on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamPolicy {
    /// They cross the link before or after the computing.
    Add,
    /// They cross while the array computes.
    Overlap,
}

/// The way from host to device, for devices that keep weights between inferences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HostLink {
    pub bytes_per_s: f64,
    pub policy: StreamPolicy,
    /// Weights up to this many bytes stay on the device.
    pub cached_weight_bytes: u64,
}

/// Reads one `[[memory]]` table.
pub(super) fn level(section: Section<'_>, clock_hz: f64) -> Result<MemoryLevel, ProfileError> {
    const BYTES: std::ops::RangeInclusive<u64> = 0..=1 << 50;
    let name = section.require("level", "a name such as \"sram\"")?.string()?.to_owned();
    let bytes_item = section.require("bytes", "a number of bytes; 0 when unbounded")?;
    let bytes = match bytes_item.whole(BYTES)? {
        0 => None,
        bytes => Some(bytes),
    };
    let weight_bytes = section.whole("weight_bytes", BYTES)?;
    let input_bytes = section.whole("input_bytes", BYTES)?;
    let output_bytes = section.whole("output_bytes", BYTES)?;
    let parts: u64 = [weight_bytes, input_bytes, output_bytes].iter().flatten().sum();
    if bytes.is_some_and(|bytes| parts > bytes) {
        return Err(bytes_item.refuse(format!("at least {parts}, the sum of its parts")));
    }
    let level = MemoryLevel {
        name,
        bytes,
        weight_bytes,
        input_bytes,
        output_bytes,
        double_buffered: section.flag_or("double_buffered", true)?,
        keeps_activations: section.flag_or("keeps_activations", false)?,
        bits_per_cycle: bandwidth(&section, clock_hz)?,
        bandwidth_by_cycle: section.get("bw_bytes_per_cycle").is_some(),
        read_pj_per_bit: energy(&section, "pj_per_bit_read")?,
        write_pj_per_bit: energy(&section, "pj_per_bit_write")?,
        row_align_bits: section.whole("row_align_bits", 0..=1 << 20)?.unwrap_or(0),
    };
    section.finish()?;
    Ok(level)
}

/// Bandwidth in bits a cycle, given either by the cycle or by the second.
fn bandwidth(section: &Section<'_>, clock_hz: f64) -> Result<Option<f64>, ProfileError> {
    let per_cycle = section.number("bw_bytes_per_cycle", Range64::Positive)?;
    let per_second = section.number("bw_bytes_per_s", Range64::Positive)?;
    match (per_cycle, per_second) {
        (Some(_), Some(_)) => {
            let item = section.get("bw_bytes_per_s").expect("it was just read");
            Err(item.refuse("left out, since bw_bytes_per_cycle is given"))
        }
        (Some(bytes), None) => Ok(Some(bytes * 8.0)),
        (None, Some(bytes)) => Ok(Some(bytes * 8.0 / clock_hz)),
        (None, None) => Ok(None),
    }
}

/// Energy of a bit: one number, or one for each kind of data.
fn energy(section: &Section<'_>, key: &str) -> Result<PerOperand, ProfileError> {
    let item = section.require(key, "picojoules a bit, 0 or above")?;
    if item.is_table() {
        per_operand(&item)
    } else {
        Ok(PerOperand::same(item.number(Range64::NonNegative)?))
    }
}

fn per_operand(item: &Item<'_>) -> Result<PerOperand, ProfileError> {
    let section = item.section()?;
    let value = PerOperand {
        weights: section.required_number("weights", Range64::NonNegative)?,
        inputs: section.required_number("inputs", Range64::NonNegative)?,
        outputs: section.required_number("outputs", Range64::NonNegative)?,
    };
    section.finish()?;
    Ok(value)
}
