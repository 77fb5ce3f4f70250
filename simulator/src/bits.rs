//! How many bits a tensor has.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The width of one tensor's numbers: 1 to 16 bits.
///
/// A search chooses among 1 to 8; 16 is there for hardware that knows no less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Bits(u8);

impl Bits {
    pub const MIN: Bits = Bits(1);
    pub const MAX: Bits = Bits(16);
    pub const EIGHT: Bits = Bits(8);

    /// `None` outside 1 to 16.
    pub const fn new(bits: u8) -> Option<Self> {
        if bits >= 1 && bits <= 16 { Some(Self(bits)) } else { None }
    }

    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Bits {
    type Error = String;

    fn try_from(bits: u8) -> Result<Self, Self::Error> {
        Self::new(bits).ok_or_else(|| format!("{bits} bits; a width is 1 to 16"))
    }
}

impl From<Bits> for u8 {
    fn from(bits: Bits) -> u8 {
        bits.0
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The two widths a layer works with: those of its weights and of the tensor it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LayerBits {
    #[serde(rename = "weight_bits")]
    pub weight: Bits,
    #[serde(rename = "activation_bits")]
    pub activation: Bits,
}

impl LayerBits {
    pub const EIGHT: LayerBits = LayerBits { weight: Bits::EIGHT, activation: Bits::EIGHT };

    pub const fn new(weight: Bits, activation: Bits) -> Self {
        Self { weight, activation }
    }
}

impl fmt::Display for LayerBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.weight, self.activation)
    }
}
