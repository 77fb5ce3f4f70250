//! Images that no network knows by heart, made of those at hand.
//!
//! A trained network is certain of the images it was trained on, and rounding hardly moves its
//! answers there; which layers matter on other images does not show. Of a blend of two images it
//! is as unsure as of an image it has not seen (Zhang et al. 2018 train on such), and no label is
//! needed, for what counts is how far the rounded network's answer is from the float network's.

use tch::Tensor;

/// Share of the first image in a blend.
const FIRST_SHARE: f64 = 0.6;

/// The images, and behind them a blend of each pair of neighbours; a last one without a
/// neighbour is in no blend.
///
/// - `images`: `[n, ...]`, normalised
/// - returns: `[n + n / 2, ...]`
pub(super) fn with_blends(images: &Tensor) -> Tensor {
    let n_pairs = images.size()[0] / 2;
    let of_pairs = |first: i64| images.slice(0, first, 2 * n_pairs, 2);
    let blends = of_pairs(0) * FIRST_SHARE + of_pairs(1) * (1.0 - FIRST_SHARE);
    Tensor::cat(&[images, &blends], 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_blended_behind_the_images() {
        for (name, images, expected) in [
            ("a pair", vec![1.0f32, 2.0], vec![1.0, 2.0, 1.4]),
            ("one over", vec![0.0, 10.0, 5.0], vec![0.0, 10.0, 5.0, 4.0]),
            ("one alone", vec![3.0], vec![3.0]),
        ] {
            let images = Tensor::from_slice(&images).view([-1, 1]);
            let found = Vec::<f32>::try_from(with_blends(&images).view(-1)).unwrap();
            assert_eq!(found.len(), expected.len(), "{name}");
            let close =
                found.iter().zip(&expected).all(|(a, b): (&f32, &f32)| (a - b).abs() < 1e-6);
            assert!(close, "{name}: {found:?}");
        }
    }
}
