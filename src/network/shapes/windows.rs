//! Output shapes of convolutions and pooling.

use super::fact::{Dim, Fact};
use crate::network::{attributes::Window, error::show_shape};

/// The output of a convolution: `[n, out, h, w]`.
pub(super) fn conv(
    x: &Fact,
    weight: &Fact,
    bias: Option<&Fact>,
    window: &Window,
    groups: usize,
) -> Result<Vec<Dim>, String> {
    check_padded(image(x)?, window)?;
    let [n, channels, height, width] = *image(x)?;
    let [out, in_per_group, kernel_h, kernel_w] = weight.shape[..] else {
        let shape = show_shape(&weight.shape);
        return Err(format!("its weight has shape {shape}; it needs 4 dimensions"));
    };
    if let (Some(channels), Some(in_per_group)) = (channels.known(), in_per_group.known())
        && in_per_group.checked_mul(groups) != Some(channels)
    {
        let weight = show_shape(&weight.shape);
        return Err(format!(
            "its input has {channels} channels; a weight of shape {weight} in {groups} groups \
             needs {}",
            in_per_group.saturating_mul(groups)
        ));
    }
    if let Some(out) = out.known()
        && out % groups != 0
    {
        return Err(format!("{out} output channels can not be split into {groups} groups"));
    }
    let kernel = window.kernel.map(Dim::Known);
    if kernel[0].contradicts(kernel_h) || kernel[1].contradicts(kernel_w) {
        let weight = show_shape(&weight.shape);
        return Err(format!("kernel {:?} does not fit a weight of shape {weight}", window.kernel));
    }
    check_bias(bias, out)?;
    Ok(vec![n, out, slide(height, window, 0, false)?, slide(width, window, 1, false)?])
}

/// The output of a transposed convolution: `[n, out, h, w]`.
pub(super) fn conv_transpose(
    x: &Fact,
    weight: &Fact,
    bias: Option<&Fact>,
    window: &Window,
    groups: usize,
    output_padding: [usize; 2],
) -> Result<Vec<Dim>, String> {
    let [n, channels, height, width] = *image(x)?;
    let [in_channels, out_per_group, kernel_h, kernel_w] = weight.shape[..] else {
        let shape = show_shape(&weight.shape);
        return Err(format!("its weight has shape {shape}; it needs 4 dimensions"));
    };
    let kernel = window.kernel.map(Dim::Known);
    if channels.contradicts(in_channels)
        || kernel[0].contradicts(kernel_h)
        || kernel[1].contradicts(kernel_w)
        || in_channels.known().is_some_and(|n| n % groups != 0)
    {
        let (x, weight) = (show_shape(&x.shape), show_shape(&weight.shape));
        return Err(format!("a weight of shape {weight} does not fit an input of shape {x}"));
    }
    let out = match out_per_group {
        Dim::Known(out) => Dim::Known(out.checked_mul(groups).ok_or("its output is too large")?),
        _ => Dim::Unknown,
    };
    check_bias(bias, out)?;
    let spread = |length: Dim, axis: usize| {
        let Dim::Known(n) = length else { return Ok(Dim::Unknown) };
        let (before, after) = window.padding_of(axis);
        let full = n
            .checked_sub(1)
            .and_then(|n| n.checked_mul(window.stride[axis]))
            .and_then(|n| n.checked_add(window.extent(axis) + output_padding[axis]));
        full.and_then(|full| full.checked_sub(before + after))
            .map(Dim::Known)
            .ok_or_else(|| format!("padding {before} and {after} leave nothing of an axis"))
    };
    Ok(vec![n, out, spread(height, 0)?, spread(width, 1)?])
}

/// The output of a pooling window: `[n, c, h, w]`.
pub(super) fn pool(x: &Fact, window: &Window, ceil: bool) -> Result<Vec<Dim>, String> {
    check_padded(image(x)?, window)?;
    let [n, channels, height, width] = *image(x)?;
    Ok(vec![n, channels, slide(height, window, 0, ceil)?, slide(width, window, 1, ceil)?])
}

/// The images with their padding, which may be made on the way, must not be too large either.
fn check_padded(image: &[Dim; 4], window: &Window) -> Result<(), String> {
    let longer = |axis: usize| {
        let (before, after) = window.padding_of(axis);
        image[axis + 2].known().unwrap_or(1).checked_add(before + after)
    };
    let known = |dim: Dim| dim.known().unwrap_or(1);
    let size = [Some(known(image[0])), Some(known(image[1])), longer(0), longer(1)]
        .into_iter()
        .try_fold(1usize, |n, length| n.checked_mul(length?));
    if size.is_some_and(|size| size <= super::MAX_TENSOR) {
        return Ok(());
    }
    Err(format!("padding {:?} makes its input too large", window.padding))
}

/// The shape of images, checked to be `[n, c, h, w]`.
fn image(x: &Fact) -> Result<&[Dim; 4], String> {
    x.shape
        .as_slice()
        .try_into()
        .map_err(|_| format!("its input has shape {}; it needs 4 dimensions", show_shape(&x.shape)))
}

/// A bias needs one number for each output channel.
pub(super) fn check_bias(bias: Option<&Fact>, out: Dim) -> Result<(), String> {
    match bias {
        Some(bias) if bias.rank() != 1 || bias.shape[0].contradicts(out) => Err(format!(
            "its bias has shape {}; {out} output channels need [{out}]",
            show_shape(&bias.shape)
        )),
        _ => Ok(()),
    }
}

/// Positions of a window along one axis.
fn slide(length: Dim, window: &Window, axis: usize, ceil: bool) -> Result<Dim, String> {
    let (before, after) = window.padding_of(axis);
    let (extent, stride) = (window.extent(axis), window.stride[axis]);
    let Dim::Known(n) = length else {
        let keeps = stride == 1 && before + after + 1 == extent;
        return Ok(if keeps { length } else { Dim::Unknown });
    };
    let room = n.checked_add(before + after).ok_or("its padding is too large")?;
    let span = room.checked_sub(extent).ok_or_else(|| {
        format!("its window covers {extent} of an axis that has {n} and {} of padding", room - n)
    })?;
    let mut positions = if ceil { span.div_ceil(stride) } else { span / stride } + 1;
    if ceil && (positions - 1) * stride >= n + before {
        // A window may not start in the padding behind the image.
        positions -= 1;
    }
    Ok(Dim::Known(positions))
}
