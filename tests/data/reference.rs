//! Against PIL (`tests/reference/make_data_reference.py`) and on the shared data.

use std::path::{Path, PathBuf};

use haq::data::{Card, DataSpec, Dataset, Overrides, Split, Splits};
use serde::Deserialize;
use tempfile::TempDir;

use crate::*;

#[derive(Deserialize)]
struct Reference {
    resized: Vec<Resized>,
    photographs: Vec<Photograph>,
}

/// A pattern after PIL's resize and a crop from the centre.
#[derive(Deserialize)]
struct Resized {
    resize: usize,
    crop: usize,
    height: u32,
    width: u32,
    interpolation: String,
    /// `[3, crop, crop]`.
    pixels: Vec<u8>,
}

/// Every `stride`-th pixel of a photograph as PIL decodes it.
#[derive(Deserialize)]
struct Photograph {
    file: String,
    stride: usize,
    pixels: Vec<u8>,
    /// Of the normalised image.
    channel_means: Vec<f64>,
}

fn reference() -> Reference {
    let json = include_str!("../reference/data_reference.json");
    serde_json::from_str(json).expect("the reference is part of the source tree")
}

/// The same waves and edge that the script draws.
fn pattern(height: u32, width: u32) -> image::RgbImage {
    image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb(std::array::from_fn(|c| {
            let waves = (x * 5 + y * 3 + c as u32 * 40) % 256;
            (if x * height > y * width { 255 - waves / 2 } else { waves }) as u8
        }))
    })
}

#[test]
fn resizing_agrees_with_pil_to_a_level() {
    for Resized { resize, crop, height, width, interpolation, pixels } in reference().resized {
        let name = format!("{interpolation} from {height}x{width} to {resize}");
        let folder = TempDir::new().expect("a folder");
        for copy in ["a.png", "b.png", "c.png"] {
            pattern(height, width).save(folder.path().join(copy)).expect("an image");
        }
        let json = format!(
            r#"{{"scale": "pixel", "mean": 0, "std": 1, "resize": {resize}, "crop": {crop},
               "interpolation": "{interpolation}"}}"#
        );
        let spec = DataSpec { preprocessing: card(&json), ..at(folder.path()) };
        let dataset = Dataset::open(&spec, &[None, Some(3), Some(crop), Some(crop)], None)
            .expect("a folder of images");
        let images = dataset.load(Split::Test).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = values(&images);
        assert_eq!(found.len(), pixels.len(), "{name}");
        for (index, (found, expected)) in found.iter().zip(pixels).enumerate() {
            // PIL rounds to bytes between its two passes.
            let difference = (found - f32::from(expected)).abs();
            assert!(difference <= 1.0, "{name}: value {index} is {found}, PIL has {expected}");
        }
    }
}

#[test]
fn shared_photographs_are_decoded_and_normalised_as_pil_does_it() {
    let (Some(data), Some(model)) =
        (shared("imagenet_sample"), shared("models/efficientnet_lite0_imagenet.onnx"))
    else {
        return;
    };
    let spec = shared_spec(&model, &data);
    let splits = Splits::load(&spec, &[None, Some(3), Some(224), Some(224)], Some(1000))
        .expect("the shared set");
    let all = [&splits.calibration, &splits.search, &splits.test];
    assert_eq!(all.map(Images::len), [100, 200, 300]);
    assert_disjoint(&splits);
    for Photograph { file, stride, pixels, channel_means } in reference().photographs {
        let image = all
            .into_iter()
            .find_map(|images| {
                let at = images.ids().iter().position(|id| id.ends_with(&file))?;
                Some(images.batch(at..at + 1))
            })
            .expect("each photograph is in one of the splits");
        let sampled = image.slice(2, 0, 224, stride as i64).slice(3, 0, 224, stride as i64);
        let expected = tch::Tensor::from_slice(&pixels).view([1, 3, 16, 16]);
        let [mean, std] = [&spec.preprocessing.mean, &spec.preprocessing.std]
            .map(|values| tch::Tensor::from_slice(values).view([3, 1, 1]));
        let expected = (expected.to_kind(tch::Kind::Float) / 255.0 - mean) / &std;
        // In grey levels.
        let difference = ((sampled - expected) * std * 255.0).abs();
        let largest = difference.max().double_value(&[]);
        let typical = difference.mean(tch::Kind::Float).double_value(&[]);
        assert!(largest < 3.5 && typical < 0.1, "{file}: {largest} at most, {typical} on average");
        for (channel, expected) in channel_means.into_iter().enumerate() {
            let found = image.get(0).get(channel as i64).mean(tch::Kind::Double).double_value(&[]);
            assert!((found - expected).abs() < 1e-3, "{file}: {found} for {expected}");
        }
    }
}

/// The shared data, or a note that this test has nothing to look at.
fn shared(what: &str) -> Option<PathBuf> {
    let root = std::env::var_os("HAQ_SHARED_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data")),
        PathBuf::from,
    );
    let path = root.join(what);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "skipped: {} is absent; HAQ_SHARED_DATA says where the shared data is",
        path.display()
    );
    None
}

fn shared_spec(model: &Path, data: &Path) -> DataSpec {
    let card = Card::beside(model).expect("a readable card").expect("a card beside the model");
    let preprocessing = Card::resolve(Some(&card), &Overrides::default()).expect("complete");
    DataSpec { preprocessing, ..at(data) }
}

#[test]
fn shared_cifar_gives_all_test_images_and_balanced_training_splits() {
    let (Some(data), Some(model)) = (shared("cifar10"), shared("models/resnet20_cifar10.onnx"))
    else {
        return;
    };
    let spec = shared_spec(&model, &data);
    let splits = Splits::load(&spec, &CIFAR_INPUT, Some(10)).expect("the shared set");
    assert_eq!(class_counts(&splits.test), [1000; 10]);
    assert_eq!(class_counts(&splits.search), [200; 10]);
    assert!(class_counts(&splits.calibration).iter().all(|n| (102..=103).contains(n)));
    assert_disjoint(&splits);
}

#[test]
fn shared_mnist_is_recognised() {
    let Some(data) = shared("mnist") else { return };
    let splits = Splits::load(&at(&data), &[None, Some(1), Some(28), Some(28)], Some(10))
        .expect("the shared set");
    assert_eq!(splits.test.len(), 10_000);
    assert_eq!(class_counts(&splits.search), [200; 10]);
}
