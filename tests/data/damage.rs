//! Whatever is wrong with a dataset is said with file and record.

use std::fs;

use haq::data::{Dataset, Split};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::*;

/// A case of damage: what the folder holds, and the message.
struct Damage {
    name: &'static str,
    files: Vec<(&'static str, Vec<u8>)>,
    /// The dataset inside the folder; empty for the folder itself.
    path: &'static str,
    expected: &'static str,
}

fn damage() -> Vec<Damage> {
    let png = |side: u32| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let image = image::GrayImage::from_pixel(side, side, image::Luma([9]));
        image.write_to(&mut bytes, image::ImageFormat::Png).expect("memory takes any bytes");
        bytes.into_inner()
    };
    let jpeg = {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let image = image::GrayImage::from_fn(32, 32, |x, y| image::Luma([(x * y) as u8]));
        image.write_to(&mut bytes, image::ImageFormat::Jpeg).expect("memory takes any bytes");
        bytes.into_inner()
    };
    let mut cut_cifar = cifar_bytes(3, 10, 0);
    cut_cifar.truncate(2 * 3073 + 100);
    let mut cut_idx = idx_images(6, 32);
    cut_idx.truncate(16 + 4 * 1024 + 10);
    let mut float_idx = idx_images(6, 32);
    float_idx[2] = 0x0d;
    let mut cut_gzip = gzip(&idx_images(6, 32));
    cut_gzip.truncate(cut_gzip.len() - 4);
    let case = |name, files, path, expected| Damage { name, files, path, expected };
    let images = "t10k-images-idx3-ubyte";
    vec![
        case(
            "truncated CIFAR",
            vec![("test_batch.bin", cut_cifar)],
            "",
            "DIR/test_batch.bin: record 2 is cut short: 100 of 3073 bytes are there",
        ),
        case(
            "empty CIFAR",
            vec![("test_batch.bin", vec![])],
            "",
            "DIR/test_batch.bin: has no records",
        ),
        case(
            "label out of range",
            vec![("test_batch.bin", cifar_bytes(12, 12, 0))],
            "",
            "test_batch.bin record 10 has label 10; the network has 10 classes, \
             so labels go from 0 to 9",
        ),
        case(
            "truncated IDX",
            vec![(images, cut_idx)],
            "",
            "DIR/t10k-images-idx3-ubyte: record 4 is cut short: 10 of 1024 bytes are there",
        ),
        case(
            "truncated gzip",
            vec![("t10k-images-idx3-ubyte.gz", cut_gzip)],
            "",
            "DIR/t10k-images-idx3-ubyte.gz: cannot be read: ",
        ),
        case(
            "IDX of floats",
            vec![(images, float_idx)],
            "",
            "DIR/t10k-images-idx3-ubyte: header: values are of type 0x0d; unsigned bytes (0x08) \
             can be read",
        ),
        case(
            "IDX that is none",
            vec![(images, b"\x89PNG and more that is no IDX".to_vec())],
            "",
            "DIR/t10k-images-idx3-ubyte: header: an IDX file starts with two zero bytes",
        ),
        case(
            "labels that are fewer",
            vec![(images, idx_images(6, 32)), ("t10k-labels-idx1-ubyte", idx_labels(5))],
            "",
            "DIR/t10k-labels-idx1-ubyte: 6 images but 5 labels",
        ),
        case(
            "empty folder",
            vec![],
            "",
            "DIR: no file of a known format is in this folder; a dataset",
        ),
        case(
            "unknown ending",
            vec![("set.tar", vec![1])],
            "set.tar",
            "DIR/set.tar: the ending of this file is not known; a dataset is a CIFAR",
        ),
        case(
            "a class without images",
            vec![("cat/.keep", vec![])],
            "",
            "DIR: class folders: 1 folders for a network of 10 classes: which label each has is not \
             known; add a classes.txt",
        ),
        case("only hidden files", vec![("3/.keep", vec![])], "", "DIR: has no JPEG or PNG images"),
        case(
            "a text among images",
            vec![("3/a.png", png(32)), ("3/notes.txt", vec![b'x'])],
            "",
            "DIR/3/notes.txt: is not an image that can be decoded: its ending is none of jpg, jpeg \
             and png",
        ),
        case(
            "a text called an image",
            vec![("3/a.png", b"hello".to_vec())],
            "",
            "DIR/3/a.png: is not an image that can be decoded: it starts neither like a JPEG nor",
        ),
        case(
            "truncated JPEG",
            vec![("3/a.jpg", jpeg[..jpeg.len() - 20].to_vec())],
            "",
            "DIR/3/a.jpg: is not an image that can be decoded: it is cut short after ",
        ),
        case(
            "truncated PNG",
            vec![("3/a.png", png(32)[..60].to_vec())],
            "",
            "DIR/3/a.png: is not an image that can be decoded: ",
        ),
        case(
            "another size",
            vec![("3/a.png", png(30))],
            "",
            "3/a.png is 1x30x30; the network takes 1x32x32: give --resize and --crop",
        ),
        case(
            "a label that is a name",
            vec![("labels.csv", b"a.png,cat\n".to_vec()), ("a.png", png(32))],
            "",
            "DIR/labels.csv: line 1: label is `cat`; it needs to be a whole number",
        ),
        case(
            "a file that is not there",
            vec![("labels.csv", b"file,label\nb.png,1\n".to_vec()), ("a.png", png(32))],
            "",
            "DIR/labels.csv: line 2: `b.png` is neither in the folder nor in its `images` folder",
        ),
        case(
            "a file listed twice",
            vec![("labels.csv", b"a.png,1\na.png,2\n".to_vec()), ("a.png", png(32))],
            "",
            "DIR/labels.csv: row 1: lists `a.png` again, after row 0",
        ),
        case(
            "a class that is not listed",
            vec![("classes.txt", b"cat\ndog\n".to_vec()), ("cow/a.png", png(32))],
            "",
            "DIR/classes.txt: names: has no line `cow`",
        ),
        case(
            "an archive that is none",
            vec![("set.npz", vec![0; 100])],
            "set.npz",
            "DIR/set.npz: zip directory: is missing: no zip archive, or one that is cut short",
        ),
        case(
            "tensors that are none",
            vec![("set.safetensors", vec![255; 100])],
            "set.safetensors",
            "DIR/set.safetensors: header: claims 18446744073709551615 bytes in a file of 100",
        ),
    ]
}

#[test]
fn damaged_datasets_are_refused_with_file_and_record() {
    let input = [None, Some(1), Some(32), Some(32)];
    for Damage { name, files, path, expected } in damage() {
        let folder = TempDir::new().expect("a folder");
        for (file, bytes) in files {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().expect("inside the folder")).expect("a folder");
            fs::write(file, bytes).expect("written");
        }
        let spec = match path {
            "" => at(folder.path()),
            path => at(&folder.path().join(path)),
        };
        let message = error_of(&spec, &input, Some(10));
        assert!(message.starts_with(expected), "{name}: {message}");
    }
    let folder = TempDir::new().expect("a folder");
    let missing = error_of(&at(&folder.path().join("none")), &input, None);
    assert!(missing.starts_with("DIR/none: cannot be read: "), "{missing}");
}

#[test]
fn arrays_without_images_and_values_that_are_no_numbers_are_refused() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("set.npz");
    let input = [None, Some(1), Some(2), Some(2)];
    let nan = tch::Tensor::from_slice(&[9f32, 9., f32::NAN, 9.]).repeat([8]).view([8, 1, 2, 2]);
    let bytes = tch::Tensor::from_slice(&[9u8; 32]).view([8, 1, 2, 2]);
    let cube = tch::Tensor::from_slice(&[9u8; 32]).view([2, 2, 2, 2, 2]);
    let unit = tch::Tensor::from_slice(&[0.5f32; 32]).view([8, 1, 2, 2]);
    let floats = tch::Tensor::from_slice(&[1f32; 8]);
    for (name, named, expected) in [
        ("NaN", vec![("images", &nan)], " value 2 is NaN; every value needs to be finite"),
        (
            "names",
            vec![("x", &bytes), ("y", &bytes)],
            "array `images`: is missing; the file has x, y",
        ),
        ("axes", vec![("images", &cube)], "array `images`: has shape [2, 2, 2, 2, 2]; it needs"),
        (
            "0 to 1",
            vec![("images", &unit)],
            "the largest value is 0.5, but values are divided by 255",
        ),
        (
            "labels",
            vec![("images", &bytes), ("labels", &floats)],
            "array `labels`: holds floats; labels need to be whole numbers",
        ),
    ] {
        tch::Tensor::write_npz(&named, &path).expect("written");
        let message = error_of(&at(&path), &input, Some(2));
        assert!(message.contains(expected), "{name}: {message}");
    }
}

/// A small valid dataset of each format: its files and what the network takes.
fn intact() -> Vec<(&'static str, Vec<u8>)> {
    let waves = image::GrayImage::from_fn(32, 32, |x, y| image::Luma([(x * 7 + y * 5) as u8]));
    let encoded = |format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        waves.write_to(&mut bytes, format).expect("memory takes any bytes");
        bytes.into_inner()
    };
    let folder = TempDir::new().expect("a folder");
    let (npz, tensors) = (folder.path().join("x.npz"), folder.path().join("x.safetensors"));
    let images = tch::Tensor::from_slice(&[99u8; 4 * 1024]).view([4, 1, 32, 32]);
    tch::Tensor::write_npz(&[("images", &images)], &npz).expect("written");
    tch::Tensor::write_safetensors(&[("images", &images)], &tensors).expect("written");
    let row = format!("{}3\n", "250,".repeat(1024));
    vec![
        ("test_batch.bin", cifar_bytes(4, 4, 0)),
        ("t10k-images-idx3-ubyte", idx_images(4, 32)),
        ("t10k-images-idx3-ubyte.gz", gzip(&idx_images(4, 32))),
        ("3/a.png", encoded(image::ImageFormat::Png)),
        ("3/a.jpg", encoded(image::ImageFormat::Jpeg)),
        ("set.npz", fs::read(npz).expect("just written")),
        ("set.safetensors", fs::read(tensors).expect("just written")),
        ("set.csv", row.repeat(4).into_bytes()),
        ("set.csv.gz", gzip(row.repeat(4).as_bytes())),
    ]
}

proptest! {
    #[test]
    fn no_damage_makes_the_program_panic(
        which in 0usize..9,
        kept in prop_oneof![Just(1.0), 0.0f64..1.0],
        flips in prop::collection::vec((prop_oneof![0.0f64..0.05, 0.0f64..1.0], any::<u8>()), 0..6),
    ) {
        let (file, mut bytes) = intact().swap_remove(which);
        bytes.truncate((bytes.len() as f64 * kept) as usize);
        for (place, byte) in flips {
            let place = (bytes.len() as f64 * place) as usize;
            bytes.iter_mut().skip(place).take(1).for_each(|b| *b = byte);
        }
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().expect("inside the folder")).expect("a folder");
        fs::write(&path, bytes).expect("written");
        let is_file = file.starts_with("set");
        let spec = at(if is_file { &path } else { folder.path() });
        // Of a single image calibration has the first claim.
        let loaded = Dataset::open(&spec, &[None, None, Some(32), Some(32)], Some(10))
            .and_then(|dataset| dataset.load(Split::Calibration));
        if let Ok(images) = loaded {
            prop_assert_eq!(images.to_tensor().size()[0] as usize, images.len());
        }
    }
}
