//! Images of a split as bytes: everything that decides what a network reads, to be read elsewhere.
//!
//! Layout: length of the header as u64 little-endian, the header as JSON, then the raw values: bytes,
//! or f32 little-endian.

use serde::{Deserialize, Serialize};

use crate::data::{Images, Preprocessing, record::Values};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    ids: Vec<String>,
    labels: Option<Vec<i64>>,
    n_classes: Option<usize>,
    /// Channels, height and width.
    shape: [usize; 3],
    is_flat: bool,
    preprocessing: Preprocessing,
    values: Kind,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    U8,
    F32,
}

impl Images {
    /// All of the images, as [`Images::unpack`] reads them.
    pub fn pack(&self) -> Vec<u8> {
        let values = match self.values {
            Values::U8(_) => Kind::U8,
            Values::F32(_) => Kind::F32,
        };
        let header = Header {
            ids: self.ids.clone(),
            labels: self.labels.clone(),
            n_classes: self.n_classes,
            shape: self.shape,
            is_flat: self.is_flat,
            preprocessing: self.preprocessing.clone(),
            values,
        };
        let header = serde_json::to_vec(&header).expect("a header is plain data");
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        match &self.values {
            Values::U8(values) => bytes.extend(values),
            Values::F32(values) => bytes.extend(values.iter().flat_map(|x| x.to_le_bytes())),
        }
        bytes
    }

    /// # Errors
    /// In words, when the bytes are not what [`Images::pack`] writes.
    pub fn unpack(bytes: &[u8]) -> Result<Self, String> {
        let cut = || "packed images are cut short".to_owned();
        let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(cut)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| cut())?;
        let (header, values) = rest.split_at_checked(length).ok_or_else(cut)?;
        let header: Header = serde_json::from_slice(header)
            .map_err(|error| format!("packed images have a header that cannot be read: {error}"))?;
        let Header { ids, labels, n_classes, shape, is_flat, preprocessing, values: kind } = header;
        let values = match kind {
            Kind::U8 => Values::U8(values.to_vec()),
            Kind::F32 => {
                let (numbers, rest) = values.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(cut());
                }
                Values::F32(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
            }
        };
        let n_values = shape.iter().try_fold(ids.len(), |product, n| product.checked_mul(*n));
        if n_values != Some(values.len()) {
            return Err(format!(
                "packed images hold {} values; {} images of {shape:?} were promised",
                values.len(),
                ids.len()
            ));
        }
        let is_of_channels = |values: &[f32]| [1, shape[0]].contains(&values.len());
        if !is_of_channels(&preprocessing.mean) || !is_of_channels(&preprocessing.std) {
            return Err(format!("packed images have other means than their {} channels", shape[0]));
        }
        if labels.as_ref().is_some_and(|labels| labels.len() != ids.len()) {
            return Err("packed images have not one label each".into());
        }
        Ok(Self { values, labels, ids, n_classes, shape, is_flat, preprocessing })
    }

    /// The set without any image.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self {
            values: self.values.slice(0..0),
            labels: self.labels.as_ref().map(|_| Vec::new()),
            ids: Vec::new(),
            n_classes: self.n_classes,
            shape: self.shape,
            is_flat: self.is_flat,
            preprocessing: self.preprocessing.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataSource, DataSpec, SplitLimits, Splits};

    fn images() -> Images {
        let spec = DataSpec {
            source: DataSource::Embedded,
            preprocessing: Preprocessing::none(),
            seed: 3,
            limits: SplitLimits { calibration: Some(20), search: Some(10), test: Some(10) },
        };
        Splits::load(&spec, &[None, Some(1), Some(8), Some(8)], None).unwrap().calibration
    }

    #[test]
    fn packed_images_are_the_same_images() {
        let mut images = images();
        for values in [images.values.clone(), Values::F32(vec![0.25; images.values.len()])] {
            images.values = values;
            let unpacked = Images::unpack(&images.pack()).unwrap();
            assert_eq!(unpacked.digest(), images.digest());
            assert_eq!(
                (unpacked.labels(), unpacked.n_classes()),
                (images.labels(), images.n_classes())
            );
        }
        assert!(images.emptied().is_empty());
        assert!(Images::unpack(&images.emptied().pack()).unwrap().is_empty());
    }

    #[test]
    fn damaged_bytes_are_told() {
        let whole = images().pack();
        for n in [0, 7, 8, 40, whole.len() - 1] {
            assert!(Images::unpack(&whole[..n]).is_err(), "{n} bytes");
        }
        let longer = [whole.as_slice(), &[0; 64]].concat();
        assert!(Images::unpack(&longer).err().unwrap().contains("promised"));
        let mut header = whole.clone();
        header[0] = 0xff;
        header[7] = 0xff;
        assert!(Images::unpack(&header).err().unwrap().contains("cut short"));
    }
}
