//! NumPy's .npz: a zip archive of .npy arrays, stored or deflated.
//!
//! Formats: PKWARE APPNOTE 6.3 (end of central directory, central and local headers) and NumPy
//! enhancement proposal 1.

use std::{fs, io::Read, path::Path};

use flate2::{Crc, read::DeflateDecoder};

use crate::data::{
    DataError,
    arrays::{Named, NumberType, StoredArray},
};

const END_OF_DIRECTORY: [u8; 4] = *b"PK\x05\x06";
const DIRECTORY_ENTRY: [u8; 4] = *b"PK\x01\x02";
const LOCAL_HEADER: [u8; 4] = *b"PK\x03\x04";
const END_BYTES: usize = 22;
const ENTRY_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// The arrays of `names` that are in the file.
///
/// # Errors
/// Files that are no zip archive, are damaged, or hold an array of a kind that cannot be read.
pub(super) fn read_named(path: &Path, names: &[&str]) -> Result<Named, DataError> {
    let zip = fs::read(path).map_err(DataError::unreadable(path))?;
    let members =
        directory(&zip).map_err(|what| DataError::malformed(path, "zip directory", what))?;
    let mut named = Named { arrays: vec![], all_names: vec![] };
    for member in members {
        let name = member.name.strip_suffix(".npy").unwrap_or(&member.name).to_owned();
        named.all_names.push(name.clone());
        if names.contains(&name.as_str()) {
            let array = member
                .unpack(&zip)
                .and_then(|npy| parse_npy(&npy))
                .map_err(|what| DataError::malformed(path, format!("array `{name}`"), what))?;
            named.arrays.push((name, array));
        }
    }
    Ok(named)
}

/// A file of the archive, as the directory describes it.
struct Member {
    name: String,
    method: u16,
    crc: u32,
    packed_bytes: usize,
    bytes: usize,
    header_at: usize,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn directory(zip: &[u8]) -> Result<Vec<Member>, String> {
    let end = zip
        .windows(END_OF_DIRECTORY.len())
        .rposition(|bytes| bytes == END_OF_DIRECTORY)
        .filter(|end| end + END_BYTES <= zip.len())
        .ok_or("is missing: no zip archive, or one that is cut short")?;
    let cut = || String::from("is cut short");
    let n_members = u16_at(zip, end + 10).ok_or_else(cut)?;
    let mut at = u32_at(zip, end + 16).ok_or_else(cut)? as usize;
    let mut members = Vec::new();
    for _ in 0..n_members {
        let (member, next) = directory_entry(zip, at).ok_or_else(cut)?;
        if [member.packed_bytes, member.bytes, member.header_at].contains(&(u32::MAX as usize)) {
            return Err("describes files of 4 GB or more, which cannot be read".into());
        }
        members.push(member);
        at = next;
    }
    Ok(members)
}

/// The entry at a place, and the place of the next.
fn directory_entry(zip: &[u8], at: usize) -> Option<(Member, usize)> {
    let entry = zip.get(at..)?;
    if !entry.starts_with(&DIRECTORY_ENTRY) {
        return None;
    }
    let [name_bytes, extra_bytes, comment_bytes] =
        [u16_at(entry, 28)?, u16_at(entry, 30)?, u16_at(entry, 32)?].map(usize::from);
    let name = entry.get(ENTRY_BYTES..ENTRY_BYTES + name_bytes)?;
    let member = Member {
        name: String::from_utf8_lossy(name).into_owned(),
        method: u16_at(entry, 10)?,
        crc: u32_at(entry, 16)?,
        packed_bytes: u32_at(entry, 20)? as usize,
        bytes: u32_at(entry, 24)? as usize,
        header_at: u32_at(entry, 42)? as usize,
    };
    Some((member, at + ENTRY_BYTES + name_bytes + extra_bytes + comment_bytes))
}

impl Member {
    fn packed<'a>(&self, zip: &'a [u8]) -> Option<&'a [u8]> {
        let header = zip.get(self.header_at..)?;
        if !header.starts_with(&LOCAL_HEADER) {
            return None;
        }
        // The local header has its own name and extra field, which may differ from the directory's.
        let start =
            LOCAL_BYTES + usize::from(u16_at(header, 26)?) + usize::from(u16_at(header, 28)?);
        header.get(start..start.checked_add(self.packed_bytes)?)
    }

    fn unpack(&self, zip: &[u8]) -> Result<Vec<u8>, String> {
        let packed = self.packed(zip).ok_or("is cut short")?;
        let bytes = match self.method {
            STORED => packed.to_vec(),
            DEFLATED => {
                let mut bytes = Vec::new();
                // One byte more than promised shows a stream that is too long without reading it all.
                DeflateDecoder::new(packed)
                    .take(self.bytes as u64 + 1)
                    .read_to_end(&mut bytes)
                    .map_err(|error| format!("cannot be unpacked: {error}"))?;
                bytes
            }
            method => return Err(format!("is packed by method {method}; 0 and 8 can be read")),
        };
        let mut crc = Crc::new();
        crc.update(&bytes);
        if bytes.len() != self.bytes || crc.sum() != self.crc {
            return Err("is damaged: its check sum or length is wrong".into());
        }
        Ok(bytes)
    }
}

/// A .npy file: magic, version, header length, a Python dictionary, numbers.
fn parse_npy(npy: &[u8]) -> Result<StoredArray, String> {
    let cut = "is cut short in its header";
    let version = npy.strip_prefix(b"\x93NUMPY").ok_or("is no .npy array")?.first().ok_or(cut)?;
    let (start, length): (usize, usize) = match version {
        1 => (10, u16_at(npy, 8).ok_or(cut)? as usize),
        2 | 3 => (12, u32_at(npy, 8).ok_or(cut)? as usize),
        version => return Err(format!("has .npy version {version}; 1 to 3 can be read")),
    };
    let header = npy.get(start..start.saturating_add(length)).ok_or(cut)?;
    let header = String::from_utf8_lossy(header);
    let unclear = |key: &str| format!("has no readable `{key}` in its header");
    if value_of(&header, "fortran_order").ok_or_else(|| unclear("fortran_order"))? != "False" {
        return Err("is in Fortran order; store it with numpy.ascontiguousarray".into());
    }
    let descr = value_of(&header, "descr").ok_or_else(|| unclear("descr"))?;
    let number = number_type(descr.trim_matches(['\'', '"'])).ok_or_else(|| {
        format!("holds {descr}; integers, f4 and f8 in little-endian can be read")
    })?;
    let shape = value_of(&header, "shape").ok_or_else(|| unclear("shape"))?;
    let shape: Vec<usize> = shape
        .trim_matches(['(', ')'])
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty())
        .map(|size| size.parse().map_err(|_| unclear("shape")))
        .collect::<Result<_, _>>()?;
    StoredArray::new(number, shape, npy[start + length..].to_vec())
}

/// The text of a value in `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
fn value_of<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let after = header.split_once(&format!("'{key}'"))?.1.trim_start().strip_prefix(':')?.trim();
    let end = match after.starts_with('(') {
        true => after.find(')')? + 1,
        false => after.find([',', '}'])?,
    };
    Some(after[..end].trim())
}

fn number_type(descr: &str) -> Option<NumberType> {
    let number = match descr.trim_start_matches(['<', '|', '=']) {
        "u1" | "b1" => NumberType::U8,
        "i1" => NumberType::I8,
        "u2" => NumberType::U16,
        "i2" => NumberType::I16,
        "u4" => NumberType::U32,
        "i4" => NumberType::I32,
        "u8" => NumberType::U64,
        "i8" => NumberType::I64,
        "f4" => NumberType::F32,
        "f8" => NumberType::F64,
        _ => return None,
    };
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let mut npy = b"\x93NUMPY\x01\x00".to_vec();
        npy.extend((header.len() as u16).to_le_bytes());
        npy.extend(header.as_bytes());
        npy.extend(data);
        npy
    }

    #[test]
    fn headers_are_understood_or_refused_with_what_is_wrong() {
        let good = |descr: &str, shape: &str| {
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n")
        };
        for (name, npy, expected) in [
            ("bytes", npy(&good("|u1", "(2, 3)"), &[0; 6]), Ok((NumberType::U8, vec![2, 3]))),
            ("one axis", npy(&good("<i8", "(2,)"), &[0; 16]), Ok((NumberType::I64, vec![2]))),
            ("scalar", npy(&good("<f4", "()"), &[0; 4]), Ok((NumberType::F32, vec![]))),
            (
                "too short",
                npy(&good("<f4", "(2,)"), &[0; 7]),
                Err("has 7 bytes; shape [2] needs 8"),
            ),
            (
                "overflow",
                npy(&good("<f4", "(9999999999, 9999999999)"), &[]),
                Err("shape [9999999999, 9999999999] is larger than any memory"),
            ),
            (
                "big-endian",
                npy(&good(">f4", "(1,)"), &[0; 4]),
                Err("holds '>f4'; integers, f4 and f8 in little-endian can be read"),
            ),
            ("not npy", b"PK".to_vec(), Err("is no .npy array")),
            ("cut", b"\x93NUMPY\x01\x00\xff".to_vec(), Err("is cut short in its header")),
            ("no header", npy("", &[]), Err("has no readable `fortran_order` in its header")),
        ] {
            let parsed = parse_npy(&npy).map(|array| (array.number, array.shape));
            assert_eq!(parsed, expected.map_err(str::to_owned), "{name}");
        }
    }
}
