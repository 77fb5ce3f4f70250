//! A checksummed block of bytes, and reading numbers out of one without trusting it.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | magic |
//! | 4 | format version (u32) |
//! | 8 | length of the payload (u64) |
//! | 4 | CRC-32 of the payload (u32) |
//! | rest | payload |

use crate::checkpoint::CheckpointError;

const VERSION: u32 = 1;
const HEADER_BYTES: usize = 24;

/// One kind of block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    name: &'static str,
    magic: &'static str,
}

impl Block {
    pub(crate) const STATE: Block = Block { name: "state", magic: "haqstate" };
    pub(crate) const TRANSITIONS: Block = Block { name: "transitions", magic: "haqtrans" };

    /// A block whose payload `write` appends; about `payload_bytes` are reserved for it.
    pub(crate) fn write(self, payload_bytes: usize, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + payload_bytes);
        bytes.extend(self.magic.as_bytes());
        bytes.extend(VERSION.to_le_bytes());
        bytes.resize(HEADER_BYTES, 0);
        write(&mut bytes);
        let payload = &bytes[HEADER_BYTES..];
        let (len, checksum) = (payload.len() as u64, crc32fast::hash(payload));
        bytes[12..20].copy_from_slice(&len.to_le_bytes());
        bytes[20..24].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The checked payload of the block that `bytes` begin with, and the bytes after it.
    pub(crate) fn split(self, bytes: &[u8]) -> Result<(&[u8], &[u8]), CheckpointError> {
        let Block { name: block, magic } = self;
        if !bytes.starts_with(magic.as_bytes()) {
            return Err(CheckpointError::NotABlock { block, magic });
        }
        let mut header = Reader::new(self, &bytes[magic.len()..]);
        let found = header.u32()?;
        if found != VERSION {
            return Err(CheckpointError::Version { block, found, expected: VERSION });
        }
        let (len, expected) = (header.u64()?, header.u32()?);
        let rest = header.bytes;
        let payload_len = usize::try_from(len).ok().filter(|&len| len <= rest.len());
        let Some(payload_len) = payload_len else {
            let found = rest.len() as u64;
            return Err(CheckpointError::Truncated { block, found, expected: len });
        };
        let (payload, rest) = rest.split_at(payload_len);
        match crc32fast::hash(payload) {
            found if found == expected => Ok((payload, rest)),
            found => Err(CheckpointError::Checksum { block, found, expected }),
        }
    }

    /// The checked payload of the block that `bytes` are, with nothing after it.
    pub(crate) fn only(self, bytes: &[u8]) -> Result<&[u8], CheckpointError> {
        match self.split(bytes)? {
            (payload, []) => Ok(payload),
            (_, rest) => Err(CheckpointError::Trailing { block: self.name, found: rest.len() }),
        }
    }
}

/// What is left to read of a block.
pub(crate) struct Reader<'a> {
    block: &'static str,
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(block: Block, bytes: &'a [u8]) -> Self {
        Self { block: block.name, bytes }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], CheckpointError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(len) else {
            return Err(self.truncated(len as u64));
        };
        self.bytes = rest;
        Ok(taken)
    }

    /// Exactly `len` bytes are left; asked before as many are allocated.
    pub(crate) fn expect_remaining(&self, len: u64) -> Result<(), CheckpointError> {
        let found = self.bytes.len() as u64;
        if found < len {
            return Err(self.truncated(len));
        }
        if found > len {
            let found = (found - len) as usize;
            return Err(CheckpointError::Trailing { block: self.block, found });
        }
        Ok(())
    }

    fn truncated(&self, expected: u64) -> CheckpointError {
        let found = self.bytes.len() as u64;
        CheckpointError::Truncated { block: self.block, found, expected }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CheckpointError> {
        Ok(self.take(N)?.try_into().expect("N bytes were taken"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, CheckpointError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, CheckpointError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, CheckpointError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn u128(&mut self) -> Result<u128, CheckpointError> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    pub(crate) fn f32(&mut self) -> Result<f32, CheckpointError> {
        Ok(f32::from_le_bytes(self.array()?))
    }

    pub(crate) fn f64(&mut self) -> Result<f64, CheckpointError> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    pub(crate) fn f32s(&mut self, n: usize) -> Result<Vec<f32>, CheckpointError> {
        (0..n).map(|_| self.f32()).collect()
    }
}
