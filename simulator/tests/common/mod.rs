//! What the test files share: layers by a few numbers, shipped profiles, reference tables.

#![allow(dead_code, clippy::print_stderr)]

use std::{collections::HashMap, path::PathBuf};

use haq_simulator::{
    Bits, HardwareProfile, Layer, LayerBits, LayerKind,
    profile::{builtin, builtin_names},
};

pub fn bits(weight: u8, activation: u8) -> LayerBits {
    LayerBits::new(Bits::new(weight).unwrap(), Bits::new(activation).unwrap())
}

pub fn profile(name: &str) -> HardwareProfile {
    HardwareProfile::parse(builtin(name).unwrap(), name).unwrap()
}

pub fn profiles() -> impl Iterator<Item = HardwareProfile> {
    builtin_names().map(profile)
}

/// A square convolution with the same padding on all sides.
pub fn conv(name: &str, in_hw: u64, kernel: u64, stride: u64, pad: u64, c: (u64, u64)) -> Layer {
    Layer {
        name: name.to_owned(),
        kind: LayerKind::Conv,
        in_channels: c.0,
        out_channels: c.1,
        kernel_h: kernel,
        kernel_w: kernel,
        stride_h: stride,
        stride_w: stride,
        pad_top: pad,
        pad_left: pad,
        pad_bottom: pad,
        pad_right: pad,
        dilation_h: 1,
        dilation_w: 1,
        groups: 1,
        in_h: in_hw,
        in_w: in_hw,
        bias: false,
    }
}

pub fn depthwise(name: &str, in_hw: u64, kernel: u64, stride: u64, channels: u64) -> Layer {
    Layer {
        kind: LayerKind::Depthwise,
        groups: channels,
        ..conv(name, in_hw, kernel, stride, kernel / 2, (channels, channels))
    }
}

pub fn linear(name: &str, inputs: u64, outputs: u64) -> Layer {
    Layer { kind: LayerKind::Linear, ..conv(name, 1, 1, 1, 0, (inputs, outputs)) }
}

/// MobileNet-V1 at a width and an input size.
pub fn mobilenet_v1(width: f64, size: u64) -> Vec<Layer> {
    let channels = |count: u64| (count as f64 * width) as u64;
    let blocks = [
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        (512, 1),
        (512, 1),
        (512, 1),
        (512, 1),
        (512, 1),
        (1024, 2),
        (1024, 1),
    ];
    let mut layers = vec![conv("conv1", size, 3, 2, 1, (3, channels(32)))];
    let (mut hw, mut c) = (size / 2, channels(32));
    for (index, (out, stride)) in blocks.into_iter().enumerate() {
        layers.push(depthwise(&format!("b{}.dw", index + 1), hw, 3, stride, c));
        hw = hw.div_ceil(stride);
        layers.push(conv(&format!("b{}.pw", index + 1), hw, 1, 1, 0, (c, channels(out))));
        c = channels(out);
    }
    layers.push(linear("fc", c, 1000));
    layers
}

/// A row of a reference table: values by column.
pub struct Row(HashMap<String, String>);

impl Row {
    pub fn text(&self, column: &str) -> &str {
        self.0.get(column).unwrap_or_else(|| panic!("no column {column}"))
    }

    pub fn number(&self, column: &str) -> u64 {
        self.text(column).parse().unwrap_or_else(|_| panic!("{column} is {}", self.text(column)))
    }

    pub fn real(&self, column: &str) -> f64 {
        self.text(column).parse().unwrap_or_else(|_| panic!("{column} is {}", self.text(column)))
    }
}

/// The rows of a table under `shared/reference`, beside the repository; `None`, said aloud,
/// where it is not there.
pub fn reference(table: &str) -> Option<Vec<Row>> {
    let root = std::env::var_os("HAQ_SHARED_REFERENCE").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/reference")),
        PathBuf::from,
    );
    let path = root.join(table);
    let Ok(mut reader) = csv::Reader::from_path(&path) else {
        eprintln!("skipped: no reference table at {}", path.display());
        return None;
    };
    let headers = reader.headers().unwrap().clone();
    let row = |record: csv::StringRecord| {
        Row(headers.iter().map(str::to_owned).zip(record.iter().map(str::to_owned)).collect())
    };
    Some(reader.records().map(|record| row(record.unwrap())).collect())
}

/// A value of sorted errors at a share of the way.
pub fn quantile(errors: &mut [f64], share: f64) -> f64 {
    errors.sort_by(f64::total_cmp);
    errors[((errors.len() - 1) as f64 * share).round() as usize]
}

/// Says how far the model is from an anchor; `cargo test -- --nocapture` shows it.
///
/// - `errors`: one a row, as a share of the anchor's figure, of either sign
pub fn tell(anchor: &str, errors: &[f64]) {
    let mut sizes: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
    if sizes.is_empty() {
        return;
    }
    let percent = |share: f64| 100.0 * share;
    let (mean, median) = (percent(mean(&sizes)), percent(quantile(&mut sizes, 0.5)));
    let (p90, worst) = (percent(quantile(&mut sizes, 0.9)), percent(sizes[sizes.len() - 1]));
    eprintln!(
        "anchor | {anchor} | {} | {mean:.2} | {median:.2} | {p90:.2} | {worst:.2} |",
        sizes.len()
    );
}

pub fn mean(errors: &[f64]) -> f64 {
    errors.iter().sum::<f64>() / errors.len() as f64
}

/// ResNet-18 for 224 pixels.
pub fn resnet18() -> Vec<Layer> {
    let mut layers = vec![conv("conv1", 224, 7, 2, 3, (3, 64))];
    let (mut hw, mut c_in) = (56, 64);
    for (stage, width) in [64, 128, 256, 512].into_iter().enumerate() {
        for block in 0..2 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let name = |part: &str| format!("l{}.{block}.{part}", stage + 1);
            layers.push(conv(&name("conv1"), hw, 3, stride, 1, (c_in, width)));
            layers.push(conv(&name("conv2"), hw / stride, 3, 1, 1, (width, width)));
            if stride > 1 {
                layers.push(conv(&name("down"), hw, 1, stride, 0, (c_in, width)));
            }
            (hw, c_in) = (hw / stride, width);
        }
    }
    layers.push(linear("fc", 512, 1000));
    layers
}

pub fn builtin_text(name: &str) -> &'static str {
    builtin(name).unwrap()
}
