//! From raw values to a network's input: channels, resize, crop, then (value/scale − mean)/std.

use image::{
    GrayImage,
    imageops::{self, FilterType},
};
use serde::{Deserialize, Serialize};

use crate::data::{
    DataError,
    record::{RawImage, Values},
};

/// Order of a network's input axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Layout {
    Nchw,
    Nhwc,
}

/// What happens to an image's size before the crop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// The shorter side becomes so many pixels, the other follows the aspect.
    ShorterSide(usize),
    /// Both sides, whatever the aspect.
    Exact { height: usize, width: usize },
}

/// How pixels are interpolated; the window grows when an image shrinks, as in PIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    Nearest,
    #[default]
    Bilinear,
    Bicubic,
    Lanczos,
}

impl Interpolation {
    fn filter(self) -> FilterType {
        match self {
            Self::Nearest => FilterType::Nearest,
            Self::Bilinear => FilterType::Triangle,
            // Catmull-Rom is the cubic with a = -0.5, which is PIL's.
            Self::Bicubic => FilterType::CatmullRom,
            Self::Lanczos => FilterType::Lanczos3,
        }
    }
}

/// How a network wants its images: what a card or the command line says, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Values are divided by this; 255 for pixels that become 0 to 1.
    pub scale_max: f32,
    /// Subtracted after scaling; one a channel, or one for all.
    pub mean: Vec<f32>,
    /// Divides what is left; above 0, one a channel, or one for all.
    pub std: Vec<f32>,
    /// Channels go blue, green, red; `mean` and `std` then too.
    pub bgr: bool,
    pub layout: Layout,
    pub resize: Option<Resize>,
    /// Height and width of the part kept from the centre.
    pub crop: Option<(usize, usize)>,
    pub interpolation: Interpolation,
    /// Names in label order, where the card has them: they label a folder's class folders.
    pub classes: Option<Vec<String>>,
}

impl Preprocessing {
    /// That leaves values as they are.
    pub fn none() -> Self {
        Self {
            scale_max: 1.0,
            mean: vec![0.0],
            std: vec![1.0],
            bgr: false,
            layout: Layout::Nchw,
            resize: None,
            crop: None,
            interpolation: Interpolation::default(),
            classes: None,
        }
    }
}

/// What a network takes; `None` where any size will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputShape {
    pub channels: usize,
    pub height: Option<usize>,
    pub width: Option<usize>,
    /// The input is `[N, features]`: so many values an image, channel by channel.
    pub features: Option<usize>,
}

impl InputShape {
    /// - `shape`: the network's input with its batch axis (rank 4, or 2 for `[N, features]`), or
    ///   without (rank 3)
    ///
    /// # Errors
    /// Other ranks, sizes of 0, and means or deviations that do not fit the channels.
    pub fn new(shape: &[Option<usize>], preprocessing: &Preprocessing) -> Result<Self, DataError> {
        preprocessing.check()?;
        let refuse = || DataError::InputShape { found: show_shape(shape) };
        if shape.contains(&Some(0)) {
            return Err(refuse());
        }
        let n_means = preprocessing.mean.len();
        let input = match (shape, preprocessing.layout) {
            ([_, features], _) => {
                return Ok(Self {
                    channels: n_means,
                    height: None,
                    width: None,
                    features: *features,
                });
            }
            ([_, c, h, w] | [c, h, w], Layout::Nchw) | ([_, h, w, c] | [h, w, c], Layout::Nhwc) => {
                Self { channels: c.unwrap_or(n_means), height: *h, width: *w, features: None }
            }
            _ => return Err(refuse()),
        };
        for (what, values) in [("mean", &preprocessing.mean), ("std", &preprocessing.std)] {
            if values.len() != 1 && values.len() != input.channels {
                return Err(DataError::Setting {
                    what,
                    found: format!("{} values", values.len()),
                    needed: format!(
                        "the network's input {} has {} channels",
                        show_shape(shape),
                        input.channels
                    ),
                });
            }
        }
        Ok(input)
    }

    /// Values an image has, where the network says so.
    pub(super) fn n_values(&self) -> Option<usize> {
        self.features.or_else(|| Some(self.channels * self.height? * self.width?))
    }

    fn accepts(&self, image: &RawImage) -> bool {
        image.channels == self.channels
            && self.height.is_none_or(|height| height == image.height)
            && self.width.is_none_or(|width| width == image.width)
            && self.features.is_none_or(|features| features == image.values.len())
    }

    pub(super) fn text(&self) -> String {
        if let Some(features) = self.features {
            return format!("{features} values");
        }
        let side = |side: Option<usize>| side.map_or("any".into(), |side| side.to_string());
        format!("{}x{}x{}", self.channels, side(self.height), side(self.width))
    }
}

fn show_shape(shape: &[Option<usize>]) -> String {
    let sizes = shape.iter().map(|size| size.map_or("?".into(), |size| size.to_string()));
    format!("[{}]", sizes.collect::<Vec<_>>().join(", "))
}

impl Preprocessing {
    /// What [`crate::data::Card::resolve`] guarantees, for values that came another way.
    fn check(&self) -> Result<(), DataError> {
        let positive = |value: &f32| value.is_finite() && *value > 0.0;
        for (what, values, is_valid) in [
            ("the scale", std::slice::from_ref(&self.scale_max), positive(&self.scale_max)),
            ("mean", &self.mean, self.mean.iter().all(|mean| mean.is_finite())),
            ("std", &self.std, self.std.iter().all(positive)),
        ] {
            if values.is_empty() || !is_valid {
                return Err(DataError::Setting {
                    what,
                    found: format!("{values:?}"),
                    needed: "it needs finite numbers, and scale and std above 0".into(),
                });
            }
        }
        Ok(())
    }

    /// An image of a dataset as the network takes it, not yet normalised.
    ///
    /// # Errors
    /// [`DataError::WrongSize`] when the sizes differ and nothing says how to bridge that.
    pub(super) fn fit(
        &self,
        image: RawImage,
        input: &InputShape,
        record: &str,
    ) -> Result<RawImage, DataError> {
        let image = with_channels(image, input.channels);
        let image = match self.target_size(&image) {
            Some((height, width)) => resize(image, height, width, self.interpolation, record)?,
            None => image,
        };
        let image = match self.crop {
            Some((height, width)) => crop_centre(image, height, width, record)?,
            None => image,
        };
        if !input.accepts(&image) {
            return Err(DataError::WrongSize {
                record: record.into(),
                found: image.shape_text(),
                expected: input.text(),
                advice: "give --resize and --crop (or `resize` and `crop` in the card), or images \
                         of that size",
            });
        }
        Ok(if self.bgr { reverse_channels(image) } else { image })
    }

    /// Height and width after the resize; the longer side is cut to a whole pixel, as in torchvision.
    fn target_size(&self, image: &RawImage) -> Option<(usize, usize)> {
        match self.resize? {
            Resize::Exact { height, width } => Some((height, width)),
            Resize::ShorterSide(side) if image.height <= image.width => {
                Some((side, side * image.width / image.height))
            }
            Resize::ShorterSide(side) => Some((side * image.height / image.width, side)),
        }
    }
}

/// Grey becomes three equal channels, three become grey (ITU-R 601, rounded as PIL does it);
/// anything else is left for the size check.
fn with_channels(image: RawImage, channels: usize) -> RawImage {
    let plane = image.height * image.width;
    let values = match (image.channels, channels, &image.values) {
        (1, 3, Values::U8(grey)) => Values::U8(grey.repeat(3)),
        (1, 3, Values::F32(grey)) => Values::F32(grey.repeat(3)),
        (3, 1, Values::U8(rgb)) => {
            let luma = |i: usize| {
                let [r, g, b] = [rgb[i], rgb[plane + i], rgb[2 * plane + i]].map(u32::from);
                ((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16) as u8
            };
            Values::U8((0..plane).map(luma).collect())
        }
        _ => return image,
    };
    RawImage { channels, values, ..image }
}

fn reverse_channels(image: RawImage) -> RawImage {
    fn reversed<T: Copy>(values: &[T], plane: usize) -> Vec<T> {
        values.chunks_exact(plane).rev().flatten().copied().collect()
    }
    let plane = image.height * image.width;
    let values = match &image.values {
        Values::U8(values) => Values::U8(reversed(values, plane)),
        Values::F32(values) => Values::F32(reversed(values, plane)),
    };
    RawImage { values, ..image }
}

fn resize(
    image: RawImage,
    height: usize,
    width: usize,
    interpolation: Interpolation,
    record: &str,
) -> Result<RawImage, DataError> {
    if (image.height, image.width) == (height, width) {
        return Ok(image);
    }
    let (Values::U8(bytes), Some([old_height, old_width, new_height, new_width])) =
        (&image.values, as_u32([image.height, image.width, height, width]))
    else {
        return Err(DataError::WrongSize {
            record: record.into(),
            found: image.shape_text(),
            expected: format!("{height}x{width} after the resize"),
            advice: "only 8-bit images can be resized; store them as bytes or in the final size",
        });
    };
    let mut resized = Vec::with_capacity(image.channels * height * width);
    for plane in bytes.chunks_exact(image.height * image.width) {
        let plane = GrayImage::from_raw(old_width, old_height, plane.to_vec())
            .expect("a plane has height times width bytes");
        // One direction after the other, since PIL rounds and clips to bytes in between.
        let filter = interpolation.filter();
        let plane = imageops::resize(&plane, new_width, old_height, filter);
        let plane = imageops::resize(&plane, new_width, new_height, filter);
        resized.extend_from_slice(plane.as_raw());
    }
    Ok(RawImage { channels: image.channels, height, width, values: Values::U8(resized) })
}

/// The sizes, where all are above 0 and small enough for an image buffer.
fn as_u32(sizes: [usize; 4]) -> Option<[u32; 4]> {
    let fits = sizes.iter().all(|&size| size > 0 && size <= 1 << 16);
    fits.then(|| sizes.map(|size| size as u32))
}

fn crop_centre(
    image: RawImage,
    height: usize,
    width: usize,
    record: &str,
) -> Result<RawImage, DataError> {
    if height > image.height || width > image.width {
        return Err(DataError::WrongSize {
            record: record.into(),
            found: image.shape_text(),
            expected: format!("{height}x{width} cut from the centre"),
            advice: "give a larger --resize or a smaller --crop",
        });
    }
    // Half a pixel goes to the even neighbour, as in torchvision's CenterCrop.
    let start =
        |whole: usize, part: usize| ((whole - part) as f64 / 2.0).round_ties_even() as usize;
    let (top, left) = (start(image.height, height), start(image.width, width));
    let (mut bytes, mut floats) = (Vec::new(), Vec::new());
    for channel in 0..image.channels {
        for row in top..top + height {
            let begin = (channel * image.height + row) * image.width + left;
            match &image.values {
                Values::U8(values) => bytes.extend_from_slice(&values[begin..begin + width]),
                Values::F32(values) => floats.extend_from_slice(&values[begin..begin + width]),
            }
        }
    }
    let values = match image.values {
        Values::U8(_) => Values::U8(bytes),
        Values::F32(_) => Values::F32(floats),
    };
    Ok(RawImage { channels: image.channels, height, width, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preprocessing(mean: &[f32]) -> Preprocessing {
        Preprocessing { scale_max: 255.0, mean: mean.to_vec(), ..Preprocessing::none() }
    }

    fn bytes(channels: usize, height: usize, width: usize, values: &[u8]) -> RawImage {
        RawImage { channels, height, width, values: Values::U8(values.to_vec()) }
    }

    #[test]
    fn input_shapes_are_taken_as_images_or_refused() {
        let nhwc = Preprocessing { layout: Layout::Nhwc, ..preprocessing(&[0.5]) };
        let rgb = preprocessing(&[0.1, 0.2, 0.3]);
        let grey = preprocessing(&[0.5]);
        for (name, shape, preprocessing, expected) in [
            ("with batch", vec![None, Some(3), Some(8), Some(9)], &rgb, "3x8x9"),
            ("without batch", vec![Some(3), Some(8), Some(9)], &rgb, "3x8x9"),
            ("channels last", vec![Some(1), Some(8), Some(9), Some(4)], &nhwc, "4x8x9"),
            ("dynamic", vec![None, None, None, None], &rgb, "3xanyxany"),
            ("vectors", vec![None, Some(64)], &grey, "64 values"),
            ("five axes", vec![None; 5], &grey, "the network's input shape is [?, ?, ?, ?, ?]; "),
            ("no rows", vec![None, Some(1), Some(0), Some(4)], &grey, "the network's input shape"),
            (
                "three means for one channel",
                vec![None, Some(1), Some(8), Some(8)],
                &rgb,
                "mean is 3 values; the network's input [?, 1, 8, 8] has 1 channels",
            ),
            ("no mean", vec![None, Some(1), Some(8), Some(8)], &preprocessing(&[]), "mean is []; "),
        ] {
            let found = match InputShape::new(&shape, preprocessing) {
                Ok(input) => input.text(),
                Err(error) => error.to_string(),
            };
            assert!(found.starts_with(expected), "{name}: {found}");
        }
    }

    #[test]
    fn channels_are_repeated_weighed_and_reversed() {
        let grey = bytes(1, 1, 2, &[7, 9]);
        // Red, green, blue and white, in planes.
        let colours = bytes(3, 2, 2, &[255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255]);
        assert_eq!(with_channels(grey.clone(), 3), bytes(3, 1, 2, &[7, 9, 7, 9, 7, 9]));
        assert_eq!(with_channels(colours, 1), bytes(1, 2, 2, &[76, 150, 29, 255]));
        assert_eq!(with_channels(grey.clone(), 4), grey);
        let planes = bytes(3, 1, 2, &[1, 2, 3, 4, 5, 6]);
        assert_eq!(reverse_channels(planes), bytes(3, 1, 2, &[5, 6, 3, 4, 1, 2]));
    }

    #[test]
    fn the_centre_is_cut_as_torchvision_cuts_it() {
        for (width, side, first) in [(5, 3, 1), (5, 2, 2), (7, 2, 2), (9, 2, 4), (4, 4, 0)] {
            let row: Vec<u8> = (0..width as u8).collect();
            let image = crop_centre(bytes(1, 1, width, &row), 1, side, "x").expect("smaller");
            assert_eq!(image.values.get(0), f32::from(first as u8), "{side} of {width}");
        }
        let error = crop_centre(bytes(1, 1, 2, &[0, 0]), 1, 3, "x.png").expect_err("larger");
        assert_eq!(
            error.to_string(),
            "x.png is 1x1x2; the network takes 1x3 cut from the centre: give a larger --resize or \
             a smaller --crop"
        );
    }

    #[test]
    fn the_shorter_side_decides_the_size() {
        let shorter =
            Preprocessing { resize: Some(Resize::ShorterSide(256)), ..preprocessing(&[0.5]) };
        for (height, width, expected) in
            [(375, 500, (256, 341)), (500, 375, (341, 256)), (100, 100, (256, 256))]
        {
            let image = bytes(1, height, width, &[]);
            assert_eq!(shorter.target_size(&image), Some(expected), "{height}x{width}");
        }
    }
}
