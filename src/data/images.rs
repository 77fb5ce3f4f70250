//! The images of one split: compact in memory, normalised when they become a tensor.

use std::ops::Range;

use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

use crate::{
    data::{Layout, Preprocessing, record::Values},
    domain::hexadecimal,
};

/// Images of one split with their labels, ordered so that any prefix is balanced over the classes.
#[derive(Debug)]
pub struct Images {
    pub(super) values: Values,
    pub(super) labels: Option<Vec<i64>>,
    pub(super) ids: Vec<String>,
    pub(super) n_classes: Option<usize>,
    /// Channels, height and width.
    pub(super) shape: [usize; 3],
    /// The network's input is `[N, features]`.
    pub(super) is_flat: bool,
    pub(super) preprocessing: Preprocessing,
}

impl Images {
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Class indices, one an image; `None` for a set without labels.
    pub fn labels(&self) -> Option<&[i64]> {
        self.labels.as_deref()
    }

    /// Classes of the network where it was known, else one more than the largest label.
    pub fn n_classes(&self) -> Option<usize> {
        self.n_classes.or_else(|| {
            let largest = self.labels.as_ref()?.iter().max()?;
            usize::try_from(*largest).ok().map(|largest| largest + 1)
        })
    }

    /// One name an image that finds it in the dataset: `n01440764.jpg`, `test_batch.bin record 12`.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Channels, height and width.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// What a pixel of value 0 becomes, one number a channel or one for all.
    pub fn black(&self) -> Vec<f32> {
        let Preprocessing { mean, std, .. } = &self.preprocessing;
        let n = mean.len().max(std.len());
        let of = |values: &[f32], channel: usize| values[channel % values.len()];
        (0..n).map(|channel| (0.0 - of(mean, channel)) / of(std, channel)).collect()
    }

    /// The normalised images of a range.
    ///
    /// - returns: f32, contiguous, on the CPU: `[n, c, h, w]`, for a card that says so `[n, h, w, c]`,
    ///   for a network that takes vectors `[n, c·h·w]`
    ///
    /// # Panics
    /// When the range goes beyond the images.
    pub fn batch(&self, range: Range<usize>) -> Tensor {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "the range is within the split"
        );
        let [channels, height, width] = self.shape;
        let n_values = channels * height * width;
        let values = range.start * n_values..range.end * n_values;
        let values = match &self.values {
            Values::U8(bytes) => Tensor::from_slice(&bytes[values]).to_kind(Kind::Float),
            Values::F32(floats) => Tensor::from_slice(&floats[values]),
        };
        let mut out = values.view([range.len(), channels, height, width].map(|n| n as i64));
        let of_channels = |values: &[f32]| Tensor::from_slice(values).view([-1, 1, 1]);
        let Preprocessing { scale_max, mean, std, .. } = &self.preprocessing;
        // In this order and in place: as ((x / scale) - mean) / std is usually written, so the same
        // bits, and no second copy of a large set.
        let _ = out.g_div_scalar_(f64::from(*scale_max));
        let _ = out.g_sub_(&of_channels(mean));
        let _ = out.g_div_(&of_channels(std));
        match (self.is_flat, self.preprocessing.layout) {
            (true, _) => out.view([range.len() as i64, n_values as i64]),
            (false, Layout::Nchw) => out,
            (false, Layout::Nhwc) => out.permute([0, 2, 3, 1]).contiguous(),
        }
    }

    /// All images, as [`Self::batch`] gives them.
    pub fn to_tensor(&self) -> Tensor {
        self.batch(0..self.len())
    }

    /// SHA-256 over names, labels, values and normalisation, in hexadecimal: equal for equal input.
    pub fn digest(&self) -> String {
        self.prefix_digest(self.len())
    }

    /// The digest that a split of the first `n` images alone would have.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn prefix_digest(&self, n: usize) -> String {
        let n_values = n * self.shape.iter().product::<usize>();
        let mut hash = Sha256::new();
        let mut text = |text: String| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        let normalisation = Preprocessing { classes: None, ..self.preprocessing.clone() };
        text(format!("{:?} {:?} {normalisation:?}", self.shape, self.is_flat));
        for (index, id) in self.ids[..n].iter().enumerate() {
            text(id.clone());
            text(self.labels.as_ref().map_or("none".into(), |labels| labels[index].to_string()));
        }
        match &self.values {
            Values::U8(bytes) => hash.update(&bytes[..n_values]),
            Values::F32(floats) => {
                floats[..n_values].iter().for_each(|value| hash.update(value.to_le_bytes()));
            }
        }
        hexadecimal(&hash.finalize())
    }

    /// SHA-256 over the digests of several sets in their order, in hexadecimal.
    pub fn digest_of(sets: &[&Self]) -> String {
        Self::joined_digest(&sets.iter().map(|images| images.digest()).collect::<Vec<_>>())
    }

    /// The same from the digests themselves.
    pub fn joined_digest(digests: &[String]) -> String {
        let mut hash = Sha256::new();
        digests.iter().for_each(|digest| hash.update(digest));
        hexadecimal(&hash.finalize())
    }
}
