//! A hardware profile: one device described in TOML, checked whole before anything uses it.

mod builtin;
mod compute;
mod error;
mod measured;
mod memory;
mod parse;
pub(crate) mod patch;
mod reader;

use std::{fmt, path::Path};

use serde::{Deserialize, Serialize};

pub use builtin::{builtin, builtin_names};
pub use compute::Compute;
pub use error::ProfileError;
pub use measured::{MeasuredCost, MeasuredTable};
pub use memory::{HostLink, MemoryLevel, PerOperand, StreamPolicy};

use crate::{energy::EnergyModel, precision::Precision};

/// The kind of machine a profile describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// A grid of multiply-accumulators of fixed width.
    Systolic,
    /// A GPU with matrix units of a few fixed widths.
    TensorCore,
    /// Multipliers that split into narrower ones.
    Fusion,
    /// Operands enter the array bit by bit.
    BitSerial,
}

impl Family {
    pub(crate) const WORDS: [(&'static str, Family); 4] = [
        ("systolic", Family::Systolic),
        ("tensor-core", Family::TensorCore),
        ("fusion", Family::Fusion),
        ("bit-serial", Family::BitSerial),
    ];

    /// The word in a profile.
    pub fn word(self) -> &'static str {
        let entry = Self::WORDS.iter().find(|(_, family)| *family == self);
        entry.expect("every family has a word").0
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// One device. Rates are per clock cycle of the device, energies in picojoules.
#[derive(Debug, Clone, PartialEq)]
pub struct HardwareProfile {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) family: Family,
    pub(crate) batch: u64,
    pub(crate) tech_nm: Option<f64>,
    pub(crate) clock_hz: f64,
    pub(crate) idle_power_w: f64,
    pub(crate) fixed_overhead_s: f64,
    pub(crate) per_layer_overhead_s: f64,
    pub(crate) compute: Compute,
    /// Share of the array's rate that is reached; above 0, at most 1.
    pub(crate) efficiency: f64,
    pub(crate) precision: Precision,
    /// From nearest to furthest; at least two.
    pub(crate) memory: Vec<MemoryLevel>,
    pub(crate) host_link: Option<HostLink>,
    pub(crate) energy: EnergyModel,
    pub(crate) measured: MeasuredTable,
    pub(crate) source: String,
}

impl HardwareProfile {
    /// Reads and checks a profile.
    ///
    /// # Errors
    /// [`ProfileError`] naming file, line and key of the first problem.
    pub fn load(path: &Path) -> Result<Self, ProfileError> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ProfileError::Read { origin: origin.clone(), source })?;
        Self::parse(&text, &origin)
    }

    /// Checks the text of a profile; `origin` names it in messages.
    ///
    /// # Errors
    /// [`ProfileError`] naming origin, line and key of the first problem.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ProfileError> {
        parse::profile(text, origin)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// One sentence for listings; empty where the profile has none.
    pub fn description(&self) -> &str {
        &self.description
    }

    pub fn family(&self) -> Family {
        self.family
    }

    /// Images processed together unless the caller says otherwise.
    pub fn batch(&self) -> u64 {
        self.batch
    }

    /// The text the profile was read from.
    pub fn source(&self) -> &str {
        &self.source
    }

    pub fn tech_nm(&self) -> Option<f64> {
        self.tech_nm
    }

    pub fn clock_hz(&self) -> f64 {
        self.clock_hz
    }

    /// Power that is drawn whether or not anything runs.
    pub fn idle_power_w(&self) -> f64 {
        self.idle_power_w
    }

    pub fn fixed_overhead_s(&self) -> f64 {
        self.fixed_overhead_s
    }

    pub fn per_layer_overhead_s(&self) -> f64 {
        self.per_layer_overhead_s
    }

    pub fn efficiency(&self) -> f64 {
        self.efficiency
    }

    pub fn compute(&self) -> &Compute {
        &self.compute
    }

    pub fn precision(&self) -> &Precision {
        &self.precision
    }

    /// Memory levels from nearest to furthest.
    pub fn memory(&self) -> &[MemoryLevel] {
        &self.memory
    }

    pub fn host_link(&self) -> Option<&HostLink> {
        self.host_link.as_ref()
    }

    pub fn energy(&self) -> &EnergyModel {
        &self.energy
    }

    /// What was measured on the device; empty in most profiles.
    pub fn measured(&self) -> &MeasuredTable {
        &self.measured
    }

    /// Bytes a second across the furthest level.
    pub fn bandwidth_bytes_per_s(&self) -> f64 {
        let bits = self.furthest().bits_per_cycle.expect("the furthest level has a bandwidth");
        bits * self.clock_hz / 8.0
    }

    pub(crate) fn nearest(&self) -> &MemoryLevel {
        self.memory.first().expect("a profile has at least two levels")
    }

    pub(crate) fn furthest(&self) -> &MemoryLevel {
        self.memory.last().expect("a profile has at least two levels")
    }

    /// The largest level on the chip: what the furthest one feeds.
    pub(crate) fn on_chip(&self) -> &MemoryLevel {
        &self.memory[self.memory.len() - 2]
    }
}
