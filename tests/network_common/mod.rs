//! Shared data and stored arrays for the network tests.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::{collections::HashMap, io::Read, path::PathBuf};

use haq::network::{Executable, keep_freed_memory};
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

/// The 600 photographs of the ImageNet sample.
pub fn imagenet_sample() -> Option<Labelled> {
    let folder = shared("imagenet_sample")?;
    let list = std::fs::read_to_string(folder.join("labels.csv")).expect("the labels can be read");
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for line in list.lines().skip(1) {
        let mut fields = line.split(',');
        let (file, label) = (fields.next().unwrap(), fields.next().unwrap());
        let path = [folder.join(file), folder.join("images").join(file)];
        let path = path.iter().find(|path| path.exists()).expect("the image is there");
        let image = image::open(path).expect("it is an image").into_rgb8();
        pixels.push(Tensor::from_slice(image.as_raw()).reshape([224, 224, 3]));
        labels.push(label.parse::<i64>().unwrap());
    }
    let pixels = Tensor::stack(&pixels, 0).permute([0, 3, 1, 2]).to_kind(Kind::Float);
    Some(Labelled { images: (pixels - 127.0) / 128.0, labels: Tensor::from_slice(&labels) })
}

/// How many labels are the class with the largest logit. Each processor core takes batches.
pub fn right_answers(executable: &Executable, data: &Labelled, batch: i64) -> i64 {
    keep_freed_memory();
    tch::set_num_threads(1);
    let batches = data.images.split(batch, 0).into_iter().zip(data.labels.split(batch, 0));
    let queue = std::sync::Mutex::new(batches);
    let work = |executable: Executable| {
        tch::set_num_threads(1);
        let mut right = 0;
        loop {
            let next = queue.lock().expect("no worker panicked").next();
            let Some((images, labels)) = next else { return right };
            let logits = executable.run(&images).expect("the network runs");
            right += logits.argmax(1, false).eq_tensor(&labels).sum(Kind::Int64).int64_value(&[]);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let start = |executable: Executable| scope.spawn(|| work(executable));
        let workers: Vec<_> = (0..cores).map(|_| start(executable.share())).collect();
        workers.into_iter().map(|worker| worker.join().expect("no worker panicked")).sum()
    })
}
