//! Shared data and stored arrays for the network tests.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::{collections::HashMap, io::Read, path::PathBuf};

use haq::network::Executable;
use tch::{Kind, Tensor};

/// A file of the shared data; says so and returns none where it is absent.
pub fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var("HAQ_SHARED_DATA")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data").into());
    let path = PathBuf::from(root).join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there; set HAQ_SHARED_DATA", path.display());
    None
}

pub fn reference(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "reference", name].iter().collect()
}

pub fn npz(path: &std::path::Path) -> HashMap<String, Tensor> {
    Tensor::read_npz(path).expect("the stored arrays can be read").into_iter().collect()
}

pub struct Labelled {
    /// `[n, c, h, w]`, normalised as the model's card says.
    pub images: Tensor,
    /// `[n]`, i64.
    pub labels: Tensor,
}

/// The whole CIFAR-10 test set.
pub fn cifar10_test() -> Option<Labelled> {
    let bytes = std::fs::read(shared("cifar10/test_batch.bin")?).expect("the file can be read");
    let records = Tensor::from_slice(&bytes).reshape([-1, 3073]);
    let mean = Tensor::from_slice(&[0.485f32, 0.456, 0.406]).reshape([3, 1, 1]);
    let std = Tensor::from_slice(&[0.229f32, 0.224, 0.225]).reshape([3, 1, 1]);
    let pixels = records.narrow(1, 1, 3072).reshape([-1, 3, 32, 32]).to_kind(Kind::Float) / 255.0;
    Some(Labelled {
        images: (pixels - mean) / std,
        labels: records.select(1, 0).to_kind(Kind::Int64),
    })
}

/// Rows 1438 to 1797 of the digits.
pub fn digits_test() -> Option<Labelled> {
    let file = std::fs::File::open(shared("digits/digits.csv.gz")?).expect("the file opens");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("it is gzip");
    let numbers: Vec<f32> = text
        .split([',', '\n'])
        .filter(|t| !t.is_empty())
        .map(|t| t.trim().parse().unwrap())
        .collect();
    let rows = Tensor::from_slice(&numbers).reshape([-1, 65]).narrow(0, 1437, 360);
    Some(Labelled {
        images: (rows.narrow(1, 0, 64).reshape([-1, 1, 8, 8]) / 16.0 - 0.3053) / 0.376,
        labels: rows.select(1, 64).to_kind(Kind::Int64),
    })
}

/// How many labels are the class with the largest logit.
pub fn right_answers(executable: &Executable, data: &Labelled, batch: i64) -> i64 {
    let images = data.images.split(batch, 0);
    let labels = data.labels.split(batch, 0);
    let right = |(images, labels): (&Tensor, &Tensor)| {
        let logits = executable.run(images).expect("the network runs");
        logits.argmax(1, false).eq_tensor(labels).sum(Kind::Int64).int64_value(&[])
    };
    images.iter().zip(&labels).map(right).sum()
}
