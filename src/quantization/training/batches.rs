//! Which images a step sees, and how they are changed: drawn from (seed, stream, epoch).

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use crate::quantization::training::settings::Augmentation;

/// Separates draws that share seed and epoch.
const ORDER_STREAM: u64 = 1;
const CHANGE_STREAM: u64 = 2;

/// What a network is trained on.
#[derive(Debug)]
pub struct TrainingImages {
    pub(super) images: Tensor,
    /// `[n]`, i64.
    pub(super) labels: Option<Tensor>,
    black: Vec<f32>,
}

impl TrainingImages {
    /// - `images`: `[n, ...]` as the network reads them, f32
    /// - `labels`: one class an image
    /// - `black`: what a pixel of value 0 is to the network, one number a channel or one for all
    pub fn new(images: Tensor, labels: Option<&[i64]>, black: Vec<f32>) -> Self {
        Self { images, labels: labels.map(Tensor::from_slice), black }
    }

    pub fn len(&self) -> usize {
        self.images.size()[0] as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The images of every step of one epoch: all in a new order, whole batches only.
///
/// An epoch with fewer images than a batch is one batch.
pub fn epoch_order(n_images: usize, batch: usize, seed: u64, epoch: u32) -> Vec<Vec<i64>> {
    let mut rng = generator(seed, ORDER_STREAM, epoch, 0);
    let mut order: Vec<i64> = (0..n_images as i64).collect();
    for i in (1..n_images).rev() {
        order.swap(i, below(&mut rng, i + 1));
    }
    order.chunks_exact(batch.min(n_images)).map(<[i64]>::to_vec).collect()
}

/// Steps of one epoch.
pub fn steps_per_epoch(n_images: usize, batch: usize) -> usize {
    n_images / batch.min(n_images).max(1)
}

/// The chosen images, each changed in its own way.
///
/// - `step`: within the epoch
/// - images that are no feature maps `[n, c, h, w]` stay as they are
pub fn draw(
    set: &TrainingImages,
    chosen: &[i64],
    augmentation: Augmentation,
    seed: u64,
    epoch: u32,
    step: usize,
) -> Tensor {
    let images = set.images.index_select(0, &Tensor::from_slice(chosen));
    if augmentation == Augmentation::None || images.dim() != 4 {
        return images;
    }
    let mut rng = generator(seed, CHANGE_STREAM, epoch, step as u32);
    let (height, width) = (images.size()[2], images.size()[3]);
    let [down, right] = [height, width].map(|side| side / 8);
    let padded = padded(&images, &set.black, down, right);
    let mut changed = Vec::with_capacity(chosen.len());
    for index in 0..chosen.len() as i64 {
        let top = below(&mut rng, 2 * down as usize + 1) as i64;
        let left = below(&mut rng, 2 * right as usize + 1) as i64;
        let mirrored = below(&mut rng, 2) == 1;
        let moved = padded.get(index).narrow(1, top, height).narrow(2, left, width);
        let flip = augmentation == Augmentation::CropFlip && mirrored;
        changed.push(if flip { moved.flip([2]) } else { moved });
    }
    Tensor::stack(&changed, 0)
}

/// A border of black pixels around every image.
fn padded(images: &Tensor, black: &[f32], down: i64, right: i64) -> Tensor {
    let black = Tensor::from_slice(black).to_kind(images.kind()).view([1, -1, 1, 1]);
    // Zeros are what padding adds: black is moved there and back.
    (images - &black).constant_pad_nd([right, right, down, down]) + black
}

fn generator(seed: u64, stream: u64, epoch: u32, step: u32) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..12].copy_from_slice(&epoch.to_le_bytes());
    key[12..16].copy_from_slice(&step.to_le_bytes());
    key[16..24].copy_from_slice(b"training");
    key[24..].copy_from_slice(&stream.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// A number from 0 to `limit - 1`.
fn below(rng: &mut ChaCha8Rng, limit: usize) -> usize {
    (rng.next_u64() % limit as u64) as usize
}

/// The parts of a batch that are computed apart: always the same, whatever computes them.
pub fn shards(n_images: i64) -> Vec<(i64, i64)> {
    /// Enough images for a batch norm's statistics, few enough to share a batch out.
    const SHARD_IMAGES: i64 = 32;
    let n_shards = (n_images / SHARD_IMAGES).max(1);
    (0..n_shards)
        .map(|shard| {
            let start = shard * n_images / n_shards;
            (start, (shard + 1) * n_images / n_shards - start)
        })
        .collect()
}

/// The labels of the chosen images, where there are labels.
pub fn labels_of(set: &TrainingImages, chosen: &[i64]) -> Option<Tensor> {
    let labels = set.labels.as_ref()?;
    Some(labels.index_select(0, &Tensor::from_slice(chosen)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn an_epoch_sees_every_image_once_and_each_epoch_in_another_order() {
        let order = |epoch| epoch_order(100, 10, 3, epoch);
        assert_eq!(order(0), order(0));
        assert_ne!(order(0), order(1));
        let mut all = order(0).concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<i64>>());
    }

    #[test]
    fn only_whole_batches_are_seen_but_for_a_small_set() {
        for (n_images, batch, expected) in [(100, 30, [30; 3].to_vec()), (7, 30, vec![7])] {
            let sizes: Vec<usize> =
                epoch_order(n_images, batch, 0, 0).iter().map(Vec::len).collect();
            assert_eq!(sizes, expected);
            assert_eq!(steps_per_epoch(n_images, batch), expected.len());
        }
    }

    #[test]
    fn shards_cover_the_batch() {
        for (n, expected) in [(7, 1), (31, 1), (64, 2), (100, 3), (128, 4)] {
            let shards = shards(n);
            assert_eq!(shards.len(), expected);
            assert_eq!(shards.iter().map(|(_, length)| length).sum::<i64>(), n);
            assert!(shards.windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0));
        }
    }

    /// Two images of one bright pixel in the middle of black ones.
    fn dots() -> TrainingImages {
        let images = Tensor::full([2, 1, 16, 16], -0.5, (Kind::Float, Device::Cpu));
        let _ = images.narrow(2, 8, 1).narrow(3, 5, 1).fill_(2.0);
        TrainingImages { images, labels: None, black: vec![-0.5] }
    }

    #[test]
    fn images_are_moved_and_mirrored_and_what_comes_in_is_black() {
        let set = dots();
        let same = draw(&set, &[1, 0], Augmentation::None, 0, 0, 0);
        assert_eq!(same, set.images);
        let (mut places, mut mirrored) = (std::collections::BTreeSet::new(), false);
        for step in 0..40 {
            let moved = draw(&set, &[0, 1], Augmentation::CropFlip, 0, 0, step);
            assert_eq!(moved, draw(&set, &[0, 1], Augmentation::CropFlip, 0, 0, step));
            for image in 0..2 {
                let flat: Vec<f32> = Vec::try_from(moved.get(image).reshape([-1])).unwrap();
                let bright: Vec<usize> = (0..256).filter(|&i| flat[i] == 2.0).collect();
                let [at] = bright.as_slice() else { panic!("one bright pixel: {bright:?}") };
                assert!(flat.iter().filter(|&&x| x == -0.5).count() == 255);
                let (row, column) = (at / 16, at % 16);
                assert!((6..=10).contains(&row), "{row}");
                mirrored |= column >= 8;
                assert!((3..=7).contains(&column) || (8..=12).contains(&column), "{column}");
                places.insert((row, column));
            }
        }
        assert!(mirrored && places.len() > 20, "{places:?}");
    }
}
