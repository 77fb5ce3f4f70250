//! Rounding that gradients pass: forward the levels of a grid, backward a straight line.
//!
//! Each function is exact in its value up to one rounding of the number type; the masks and
//! slopes behind it carry no gradient themselves.
//!
//! Sources: Bengio et al. 2013 (straight-through); Esser et al. 2020, "Learned Step Size
//! Quantization", equations 1 to 3; Choi et al. 2018, "PACT", equation 3; Hubara et al. 2016,
//! "Binarized Neural Networks", equation 4.

use tch::{TchError, Tensor};

/// The smallest and the largest code of a grid, the zero point taken off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Codes {
    pub low: f64,
    pub high: f64,
}

/// Rounds to `scale * code`, both learned.
///
/// - `x`: any shape; its gradient passes inside the codes' range
/// - `scale`: broadcasts to `x`, above 0; its gradient is `round(x / s) - x / s` inside the
///   range and the end's code outside
///
/// # Errors
/// When the shapes do not fit.
pub fn learned_step(x: &Tensor, scale: &Tensor, codes: Codes) -> Result<Tensor, TchError> {
    let (inside, by_scale) = {
        let _no_grad = tch::no_grad_guard();
        let position = x.f_div(scale)?;
        let clamped = position.f_clamp(codes.low, codes.high)?;
        let inside = clamped.f_eq_tensor(&position)?.f_to_kind(x.kind())?;
        let mut code = clamped;
        let code = code.f_round_()?;
        let by_scale = code.f_sub(&(position * &inside))?;
        (inside, by_scale)
    };
    x.f_mul(&inside)?.f_add(&scale.f_mul(&by_scale)?)
}

/// The codes that [`learned_step`] rounds to, of `x`'s shape.
///
/// # Errors
/// When the shapes do not fit.
pub fn codes_of(x: &Tensor, scale: &Tensor, codes: Codes) -> Result<Tensor, TchError> {
    x.f_div(scale)?.f_clamp(codes.low, codes.high)?.f_round()
}

/// Clips to `0..=clip` and rounds to `levels + 1` values there; the clip is learned.
///
/// - `x`: gradient passes strictly below the clip and from 0 on
/// - `clip`: one number above 0; its gradient is 1 where `x` reaches it, else 0
///
/// # Errors
/// When the shapes do not fit.
pub fn learned_clip(x: &Tensor, clip: &Tensor, levels: f64) -> Result<Tensor, TchError> {
    let (inside, beyond, rest) = {
        let _no_grad = tch::no_grad_guard();
        let beyond = x.f_ge_tensor(clip)?.f_to_kind(x.kind())?;
        let inside = x.f_ge(0.0)?.f_to_kind(x.kind())?.f_sub(&beyond)?;
        let scale = clip / levels;
        let value = x.f_div(&scale)?.f_clamp(0.0, levels)?.f_round()?.f_mul(&scale)?;
        let rest = value - x * &inside - clip * &beyond;
        (inside, beyond, rest)
    };
    x.f_mul(&inside)?.f_add(&clip.f_mul(&beyond)?)?.f_add(&rest)
}

/// Rounds to a grid that stays as it is: the gradient of `x` passes inside its range.
///
/// # Errors
/// When libtorch cannot.
pub fn fixed_grid(x: &Tensor, scale: f64, codes: Codes) -> Result<Tensor, TchError> {
    let scale = Tensor::from_slice(&[scale]).f_to_kind(x.kind())?.f_to_device(x.device())?;
    learned_step(x, &scale, codes)
}

/// `scale` where `x` is 0 or more, else `-scale`.
///
/// - `x`: gradient passes where it is within `bound` of 0 (the slope of a hard tanh)
/// - `scale`: broadcasts to `x`; its gradient is the sign
/// - `bound`: broadcasts to `x`; not learned
///
/// # Errors
/// When the shapes do not fit.
pub fn sign(x: &Tensor, scale: &Tensor, bound: &Tensor) -> Result<Tensor, TchError> {
    let (inside, signs, rest) = {
        let _no_grad = tch::no_grad_guard();
        let inside = x.f_abs()?.f_le_tensor(bound)?.f_to_kind(x.kind())?;
        let signs = signs_of(x)?;
        let rest = -(x * &inside);
        (inside, signs, rest)
    };
    let straight = x.f_mul(&inside)?.f_add(&rest)?;
    straight.f_add(&scale.f_mul(&signs)?)
}

/// 1 where `x` is 0 or more, else -1.
///
/// # Errors
/// When libtorch cannot.
pub fn signs_of(x: &Tensor) -> Result<Tensor, TchError> {
    x.f_ge(0.0)?.f_to_kind(x.kind())?.f_mul_scalar(2.0)?.f_sub_scalar(1.0)
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::quantization::training::reference::{assert_close, leaf, reference};

    fn backward(value: &Tensor, upstream: &[f64]) {
        let upstream = Tensor::from_slice(upstream).view_as(value);
        (value * upstream).sum(Kind::Double).backward();
    }

    #[test]
    fn learned_steps_and_their_gradients_equal_the_reference() {
        for case in reference().steps {
            let name = &case.name;
            let (x, scale) = (leaf(&case.x, &case.shape), leaf(&case.scale, &case.scale_shape));
            let codes = Codes { low: case.low, high: case.high };
            let value = learned_step(&x, &scale, codes).unwrap();
            assert_close(&value, &case.value, name);
            assert_close(&(codes_of(&x, &scale, codes).unwrap() * &scale), &case.value, name);
            backward(&value, &case.upstream);
            assert_close(&x.grad(), &case.by_x, name);
            assert_close(&scale.grad(), &case.by_scale, name);
        }
    }

    #[test]
    fn learned_clips_and_their_gradients_equal_the_reference() {
        let case = reference().pact;
        let (x, clip) = (leaf(&case.x, &[-1]), leaf(&[case.clip], &[1]));
        let value = learned_clip(&x, &clip, case.levels).unwrap();
        assert_close(&value, &case.value, "value");
        backward(&value, &case.upstream);
        assert_close(&x.grad(), &case.by_x, "gradient of x");
        assert_close(&clip.grad(), &[case.by_clip], "gradient of the clip");
    }

    #[test]
    fn signs_and_their_gradients_equal_the_reference() {
        let case = reference().signs;
        let (x, scale) = (leaf(&case.x, &[-1]), leaf(&[case.scale], &[1]));
        let value = sign(&x, &scale, &Tensor::from_slice(&[case.bound])).unwrap();
        assert_close(&value, &case.value, "value");
        backward(&value, &case.upstream);
        assert_close(&x.grad(), &case.by_x, "gradient of x");
        assert_close(&scale.grad(), &[case.by_scale], "gradient of the scale");
    }

    #[test]
    fn rounding_twice_is_rounding_once() {
        let x = Tensor::arange(64, (Kind::Float, tch::Device::Cpu)) * 0.11 - 3.0;
        let once = fixed_grid(&x, 0.25, Codes { low: -3.0, high: 4.0 }).unwrap();
        let twice = fixed_grid(&once, 0.25, Codes { low: -3.0, high: 4.0 }).unwrap();
        assert_eq!(once, twice);
    }
}
