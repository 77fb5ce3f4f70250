//! Convolutions, pooling and padding.

use tch::{TchError, Tensor};

use crate::network::attributes::{Border, Window};

fn wide<const N: usize>(numbers: [usize; N]) -> [i64; N] {
    numbers.map(|n| n as i64)
}

/// What libtorch takes as padding; only for symmetric windows.
fn symmetric(window: &Window) -> [i64; 2] {
    wide([window.padding[0], window.padding[1]])
}

/// The window's padding applied to the images, so that none is left to do.
fn padded(x: &Tensor, window: &Window, value: f64) -> Result<Tensor, TchError> {
    let [top, left, bottom, right] = wide(window.padding);
    x.f_pad([left, right, top, bottom], "constant", value)
}

pub(super) fn conv(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    window: &Window,
    groups: usize,
) -> Result<Tensor, TchError> {
    let (stride, dilation) = (wide(window.stride), wide(window.dilation));
    if window.is_symmetric() {
        return x.f_conv2d(weight, bias, stride, symmetric(window), dilation, groups as i64);
    }
    let x = padded(x, window, 0.0)?;
    x.f_conv2d(weight, bias, stride, [0, 0], dilation, groups as i64)
}

pub(super) fn conv_transpose(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    window: &Window,
    groups: usize,
    output_padding: [usize; 2],
) -> Result<Tensor, TchError> {
    let (stride, dilation) = (wide(window.stride), wide(window.dilation));
    // Libtorch takes symmetric padding only: compute all, then cut the border off.
    let whole =
        x.f_conv_transpose2d(weight, bias, stride, [0, 0], [0, 0], groups as i64, dilation)?;
    let [top, left, bottom, right] = wide(window.padding);
    let [more_rows, more_columns] = wide(output_padding);
    let crop = [-left, more_columns - right, -top, more_rows - bottom];
    if crop == [0; 4] {
        return Ok(whole);
    }
    let cropped = whole.f_pad(crop.map(|n| n.min(0)), "constant", 0.0)?;
    // What is added behind the last row holds no product, only the bias.
    let added = crop.map(|n| n.max(0));
    if added == [0; 4] {
        return Ok(cropped);
    }
    match bias {
        None => cropped.f_pad(added, "constant", 0.0),
        Some(bias) => {
            let bias = bias.f_reshape([1, -1, 1, 1])?;
            cropped.f_sub(&bias)?.f_pad(added, "constant", 0.0)?.f_add(&bias)
        }
    }
}

/// One axis after the other, by the indices that the padded axis shows.
pub(super) fn pad_border(
    x: &Tensor,
    border: Border,
    before: &[usize],
    after: &[usize],
) -> Result<Tensor, TchError> {
    let mut output = x.shallow_clone();
    for (axis, (&before, &after)) in before.iter().zip(after).enumerate() {
        if before == 0 && after == 0 {
            continue;
        }
        let (n, before, after) = (x.size()[axis], before as i64, after as i64);
        let index = |i: i64| match border {
            Border::Edge => i.clamp(0, n - 1),
            Border::Reflect if i < 0 => -i,
            Border::Reflect if i >= n => 2 * (n - 1) - i,
            Border::Reflect => i,
        };
        let shown: Vec<i64> = (-before..n + after).map(index).collect();
        let shown = Tensor::from_slice(&shown).f_to_device(x.device())?;
        output = output.f_index_select(axis as i64, &shown)?;
    }
    Ok(output)
}

pub(super) fn max_pool(x: &Tensor, window: &Window, ceil: bool) -> Result<Tensor, TchError> {
    let (kernel, stride) = (wide(window.kernel), wide(window.stride));
    let dilation = wide(window.dilation);
    if fits_half_the_kernel(window) {
        return x.f_max_pool2d(kernel, stride, symmetric(window), dilation, ceil);
    }
    let x = padded(x, window, f64::NEG_INFINITY)?;
    x.f_max_pool2d(kernel, stride, [0, 0], dilation, ceil)
}

pub(super) fn average_pool(
    x: &Tensor,
    window: &Window,
    ceil: bool,
    count_padding: bool,
) -> Result<Tensor, TchError> {
    let (kernel, stride) = (wide(window.kernel), wide(window.stride));
    let pool =
        |x: &Tensor, padding| x.f_avg_pool2d(kernel, stride, padding, ceil, count_padding, None);
    if fits_half_the_kernel(window) {
        return pool(x, symmetric(window));
    }
    let mean = pool(&padded(x, window, 0.0)?, [0, 0])?;
    if count_padding {
        return Ok(mean);
    }
    // Means over windows that hold zeros of the padding: divide by the share that is image.
    let one_map = x.f_slice(0, 0, 1, 1)?.f_slice(1, 0, 1, 1)?.f_ones_like()?;
    let share = pool(&padded(&one_map, window, 0.0)?, [0, 0])?;
    mean.f_div(&share)
}

/// Libtorch pools with at most half a kernel of padding, the same on both sides.
fn fits_half_the_kernel(window: &Window) -> bool {
    window.is_symmetric() && (0..2).all(|axis| window.padding[axis] * 2 <= window.kernel[axis])
}

/// Every channel is summed in the same order, whatever the layout: channels with equal numbers get
/// equal means.
pub(super) fn global_average_pool(x: &Tensor) -> Result<Tensor, TchError> {
    let maps = x.f_flatten(2, -1)?.f_contiguous()?;
    let means = maps.f_mean_dim([2].as_slice(), false, None::<tch::Kind>)?;
    let mut shape = x.size();
    shape[2..].fill(1);
    means.f_reshape(shape)
}

pub(super) fn pad(
    x: &Tensor,
    before: &[i64],
    after: &[i64],
    value: f32,
) -> Result<Tensor, TchError> {
    let last_axis_first: Vec<i64> =
        before.iter().zip(after).rev().flat_map(|(before, after)| [*before, *after]).collect();
    x.f_pad(last_axis_first, "constant", f64::from(value))
}
