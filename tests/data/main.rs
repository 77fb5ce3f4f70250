//! Datasets in their real formats, made in a temporary folder, split and normalised; and the shared
//! data where it is there.

// A skipped test says so.
#![allow(clippy::print_stderr)]

mod damage;
mod formats;
mod reference;
mod splits;

use std::{collections::HashSet, io::Write, path::Path};

use flate2::{Compression, write::GzEncoder};
use haq::data::{
    Card, DataSource, DataSpec, Images, Overrides, Preprocessing, SplitLimits, Splits,
};

const NO_LIMITS: SplitLimits = SplitLimits { calibration: None, search: None, test: None };
const CIFAR_INPUT: [Option<usize>; 4] = [None, Some(3), Some(32), Some(32)];

fn card(json: &str) -> Preprocessing {
    let card = Card::parse("card.json", json.as_bytes()).expect("a valid card");
    Card::resolve(Some(&card), &Overrides::default()).expect("a complete card")
}

/// (pixel/255 - 0.5) / 0.25 for every channel.
fn plain() -> Preprocessing {
    card(r#"{"input": {"scale": "pixel/255 then (x-mean)/std", "mean": 0.5, "std": 0.25}}"#)
}

fn at(path: &Path) -> DataSpec {
    DataSpec {
        source: DataSource::Path(path.to_owned()),
        preprocessing: plain(),
        seed: 7,
        limits: NO_LIMITS,
    }
}

fn normalised(byte: u8) -> f32 {
    (f32::from(byte) / 255.0 - 0.5) / 0.25
}

fn values(images: &Images) -> Vec<f32> {
    Vec::<f32>::try_from(images.to_tensor().flatten(0, -1)).expect("a float tensor")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes any bytes")
}

/// Records whose label is `index % n_classes` and whose every pixel is `first + index`.
fn cifar_bytes(n: usize, n_classes: usize, first: u8) -> Vec<u8> {
    let record = |index: usize| {
        let mut record = vec![first.wrapping_add(index as u8); 3073];
        record[0] = (index % n_classes) as u8;
        record
    };
    (0..n).flat_map(record).collect()
}

fn idx_images(n: usize, side: usize) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 3];
    for size in [n, side, side] {
        bytes.extend((size as u32).to_be_bytes());
    }
    bytes.extend((0..n).flat_map(|index| vec![index as u8; side * side]));
    bytes
}

fn idx_labels(n: usize) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 1];
    bytes.extend((n as u32).to_be_bytes());
    bytes.extend((0..n).map(|index| (index % 2) as u8));
    bytes
}

fn assert_disjoint(splits: &Splits) {
    let ids: Vec<&String> = [&splits.calibration, &splits.search, &splits.test]
        .into_iter()
        .flat_map(|images| images.ids())
        .collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "an image serves two splits");
}

fn class_counts(images: &Images) -> Vec<usize> {
    let labels = images.labels().expect("a labelled set");
    let n_classes = images.n_classes().expect("a labelled set");
    (0..n_classes as i64).map(|c| labels.iter().filter(|&&label| label == c).count()).collect()
}

fn error_of(spec: &DataSpec, input: &[Option<usize>], n_classes: Option<usize>) -> String {
    let message = match Splits::load(spec, input, n_classes) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("the dataset was accepted"),
    };
    let DataSource::Path(path) = &spec.source else { return message };
    let folder = if path.is_dir() { path.as_path() } else { path.parent().expect("a folder") };
    message.replace(&folder.display().to_string(), "DIR")
}
