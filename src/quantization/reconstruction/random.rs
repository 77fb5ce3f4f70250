//! Seeded choices: which images a step sees, which activations it leaves unrounded.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

/// The generator of one step of one segment.
pub fn rng(seed: u64, segment: usize, step: usize) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..12].copy_from_slice(&(segment as u32).to_le_bytes());
    key[12..16].copy_from_slice(&(step as u32).to_le_bytes());
    key[16..30].copy_from_slice(b"reconstruction");
    ChaCha8Rng::from_seed(key)
}

/// `n` images of `of`, all different where there are as many; `[n]`, i64.
pub fn pick(rng: &mut ChaCha8Rng, n: usize, of: usize) -> Tensor {
    let n = n.min(of);
    let mut order: Vec<i64> = (0..of as i64).collect();
    for i in 0..n {
        let j = i + (rng.next_u64() % (of - i) as u64) as usize;
        order.swap(i, j);
    }
    Tensor::from_slice(&order[..n])
}

/// A mask of this shape that holds true with the given chance, in steps of 1/256.
pub fn mask(rng: &mut ChaCha8Rng, shape: &[i64], chance: f64, device: Device) -> Tensor {
    let limit = (chance * 256.0).round() as i64;
    if limit > i64::from(u8::MAX) {
        return Tensor::ones(shape, (Kind::Bool, device));
    }
    let n: i64 = shape.iter().product();
    let mut bytes = vec![0u8; n as usize];
    rng.fill_bytes(&mut bytes);
    Tensor::from_slice(&bytes).to_device(device).lt(limit).view(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_sees_different_images_and_every_step_others() {
        let numbers =
            |step| -> Vec<i64> { Vec::try_from(pick(&mut rng(1, 2, step), 8, 20)).unwrap() };
        let mut first = numbers(0);
        assert_eq!(first, numbers(0));
        assert_ne!(first, numbers(1));
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 8);
        assert_eq!(pick(&mut rng(1, 2, 3), 8, 5).size(), [5]);
    }

    #[test]
    fn a_mask_is_true_as_often_as_asked() {
        for chance in [0.0, 0.25, 0.5, 1.0] {
            let mask = mask(&mut rng(1, 0, 0), &[100, 200], chance, Device::Cpu);
            let share = mask.to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
            assert!((share - chance).abs() < 0.02, "{share} {chance}");
        }
    }
}
