//! Datasets in their real formats, made in a temporary folder, split and normalised; and the shared
//! data where it is there.

use std::{
    collections::HashSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use haq::data::{
    Card, DataError, DataSource, DataSpec, Dataset, Images, Overrides, Preprocessing, Split,
    SplitLimits, Splits,
};
use tempfile::TempDir;

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

/// A grey image file of one value; the format follows the ending.
fn write_image(path: &Path, width: u32, height: u32, value: u8) {
    fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
    image::GrayImage::from_pixel(width, height, image::Luma([value])).save(path).expect("an image");
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

#[test]
fn cifar_takes_the_test_split_from_the_test_batch() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("data_batch_1.bin"), cifar_bytes(30, 10, 0)).expect("written");
    fs::write(folder.path().join("data_batch_2.bin"), cifar_bytes(30, 10, 30)).expect("written");
    fs::write(folder.path().join("test_batch.bin"), cifar_bytes(20, 10, 100)).expect("written");
    let splits = Splits::load(&at(folder.path()), &CIFAR_INPUT, Some(10)).expect("valid files");
    assert_disjoint(&splits);
    for (name, images, n) in [
        ("calibration", &splits.calibration, 20),
        ("search", &splits.search, 40),
        ("test", &splits.test, 20),
    ] {
        assert_eq!(class_counts(images), vec![n / 10; 10], "{name}");
        assert_eq!(images.to_tensor().size(), [n as i64, 3, 32, 32], "{name}");
        assert!(images.ids().iter().all(|id| id.starts_with("test_batch") == (name == "test")));
    }
    // Label and pixels of a record stay together: record i of the test batch holds 100 + i.
    let pixels = values(&splits.test);
    for (index, id) in splits.test.ids().iter().enumerate() {
        let record: u8 = id.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("a number");
        assert_eq!(splits.test.labels().expect("labels")[index], i64::from(record % 10));
        assert_eq!(pixels[index * 3072], normalised(100 + record));
    }
}

#[test]
fn batches_are_slices_of_the_whole_tensor() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("test_batch.bin"), cifar_bytes(200, 10, 0)).expect("written");
    let splits = Splits::load(&at(folder.path()), &CIFAR_INPUT, None).expect("valid files");
    let images = &splits.test;
    assert_eq!(images.len(), 100);
    let whole = images.to_tensor();
    for range in [0..100, 0..1, 60..70, 63..100, 5..5] {
        let (start, n) = (range.start as i64, range.len() as i64);
        assert!(images.batch(range).equal(&whole.narrow(0, start, n)));
    }
}

#[test]
fn cifar_100_is_labelled_by_its_fine_classes() {
    let folder = TempDir::new().expect("a folder");
    let records = |n: u8| -> Vec<u8> {
        (0..n).flat_map(|index| [vec![1, index % 4], vec![index; 3072]].concat()).collect()
    };
    fs::write(folder.path().join("train.bin"), records(24)).expect("written");
    fs::write(folder.path().join("test.bin"), records(8)).expect("written");
    let splits = Splits::load(&at(folder.path()), &CIFAR_INPUT, Some(100)).expect("valid files");
    assert_eq!(splits.test.labels().expect("labels").iter().sum::<i64>(), 2 * (1 + 2 + 3));
    assert_eq!(splits.search.len(), 16);
}

#[test]
fn idx_is_read_plain_and_packed_with_and_without_a_test_part() {
    let input = [None, Some(1), Some(4), Some(4)];
    for (name, train, has_test, is_packed) in [
        ("MNIST's names, packed", "train", true, true),
        ("MNIST's names, plain", "train", true, false),
        ("a smaller training part", "train10k", true, true),
        ("only a test part", "", true, false),
        ("only a training part", "train", false, false),
    ] {
        let folder = TempDir::new().expect("a folder");
        let write = |file: String, bytes: Vec<u8>| {
            let (file, bytes) = match is_packed {
                true => (format!("{file}.gz"), gzip(&bytes)),
                false => (file, bytes),
            };
            fs::write(folder.path().join(file), bytes).expect("written");
        };
        if !train.is_empty() {
            write(format!("{train}-images-idx3-ubyte"), idx_images(12, 4));
            write(format!("{train}-labels-idx1-ubyte"), idx_labels(12));
        }
        if has_test {
            write("t10k-images-idx3-ubyte".into(), idx_images(12, 4));
            write("t10k-labels-idx1-ubyte".into(), idx_labels(12));
        }
        let splits = Splits::load(&at(folder.path()), &input, Some(2))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let sizes = [&splits.calibration, &splits.search, &splits.test].map(Images::len);
        let expected = if has_test && !train.is_empty() { [4, 8, 12] } else { [2, 4, 6] };
        assert_eq!(sizes, expected, "{name}");
        assert_disjoint(&splits);
        for (index, &label) in splits.search.labels().expect("labels").iter().enumerate() {
            let pixel = values(&splits.search)[index * 16];
            let byte = ((pixel * 0.25 + 0.5) * 255.0).round() as i64;
            assert_eq!(byte % 2, label, "{name}");
        }
    }
}

#[test]
fn image_folders_are_labelled_by_folder_file_or_not_at_all() {
    let input = [None, Some(1), Some(6), Some(6)];
    let folder = || TempDir::new().expect("a folder");
    let classes = folder();
    let listed = folder();
    let bare = folder();
    let parted = folder();
    for index in 0..12u8 {
        let class = ["ant", "bee"][usize::from(index % 2)];
        let ending = ["png", "jpg", "jpeg"][usize::from(index % 3)];
        let name = format!("{index}.{ending}");
        write_image(&classes.path().join(class).join(&name), 6, 6, index * 10);
        write_image(&listed.path().join("images").join(&name), 6, 6, index * 10);
        write_image(&bare.path().join(&name), 6, 6, index * 10);
        write_image(&parted.path().join("train").join(class).join(&name), 6, 6, index * 10);
        write_image(&parted.path().join("val").join(class).join(&name), 6, 6, index * 10);
    }
    let rows = (0..12)
        .map(|index| format!("{index}.{},{},x\n", ["png", "jpg", "jpeg"][index % 3], index % 2));
    let rows: String = rows.collect();
    fs::write(listed.path().join("labels.csv"), format!("file,label,name\n{rows}"))
        .expect("written");
    for (name, folder, sizes) in [
        ("one folder a class", &classes, [2, 4, 6]),
        ("labels.csv", &listed, [2, 4, 6]),
        ("train and val", &parted, [4, 8, 12]),
        ("no labels", &bare, [2, 4, 6]),
    ] {
        let splits = Splits::load(&at(folder.path()), &input, Some(2))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!([&splits.calibration, &splits.search, &splits.test].map(Images::len), sizes);
        assert_eq!(splits.test.labels().is_none(), name == "no labels", "{name}");
        for (index, id) in splits.test.ids().iter().enumerate() {
            let file = Path::new(id).file_stem().and_then(|stem| stem.to_str()).expect("a name");
            let number: u8 = file.parse().expect("files are named by numbers");
            // JPEG keeps a uniform grey to within a level.
            let found = values(&splits.test)[index * 36];
            assert!((found - normalised(number * 10)).abs() < 0.02, "{name}: {id}");
            if let Some(labels) = splits.test.labels() {
                assert_eq!(labels[index], i64::from(number % 2), "{name}: {id}");
            }
        }
    }
    // Without a header the first two columns are file and label.
    fs::write(listed.path().join("labels.csv"), rows).expect("written");
    Splits::load(&at(listed.path()), &input, Some(2)).expect("a headerless list");
}

#[test]
fn class_folders_get_their_labels_by_list_number_card_or_alphabet() {
    let input = [None, Some(1), Some(2), Some(2)];
    let by_card = r#"{"input": {"scale": "pixel/255", "mean": 0, "std": 1},
                      "classes": ["zebra", "yak", "ant"]}"#;
    for (name, folders, list, preprocessing, n_classes, expected) in [
        ("alphabet", ["ant", "yak"], None, plain(), 2, [0, 1]),
        ("numbers", ["2", "10"], None, plain(), 20, [2, 10]),
        ("classes.txt", ["ant", "yak"], Some("yak\nbee\nant\n"), plain(), 3, [2, 0]),
        ("the card", ["ant", "yak"], None, card(by_card), 3, [2, 1]),
    ] {
        let folder = TempDir::new().expect("a folder");
        for (class, value) in folders.iter().zip([10u8, 200]) {
            for index in 0..6 {
                write_image(&folder.path().join(class).join(format!("{index}.png")), 2, 2, value);
            }
        }
        if let Some(list) = list {
            fs::write(folder.path().join("classes.txt"), list).expect("written");
        }
        let spec = DataSpec { preprocessing, ..at(folder.path()) };
        let splits = Splits::load(&spec, &input, Some(n_classes))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        for (id, label) in splits.test.ids().iter().zip(splits.test.labels().expect("labels")) {
            let class = usize::from(id.starts_with(folders[1]));
            assert_eq!(*label, expected[class], "{name}: {id}");
        }
    }
}

#[test]
fn images_are_resized_and_cropped_as_the_card_says() {
    let folder = TempDir::new().expect("a folder");
    for index in 0..6 {
        // Black on the left half, white on the right.
        let image = image::RgbImage::from_fn(40, 20, |x, _| image::Rgb([(x / 20 * 255) as u8; 3]));
        image.save(folder.path().join(format!("{index}.png"))).expect("an image");
    }
    let json = r#"{"input": {"scale": "pixel/255", "mean": 0, "std": 1, "resize": 10, "crop": 8,
                   "interpolation": "bicubic"}}"#;
    let spec = DataSpec { preprocessing: card(json), ..at(folder.path()) };
    let splits = Splits::load(&spec, &[None, Some(3), Some(8), Some(8)], None).expect("valid");
    assert_eq!(splits.test.shape(), [3, 8, 8]);
    // The edge of 20 x 10 lies at column 10, which the crop moves to column 4.
    let row: Vec<f32> = values(&splits.test)[..8].iter().map(|v| v.round()).collect();
    assert_eq!(row, [0., 0., 0., 0., 1., 1., 1., 1.]);
}

#[test]
fn pixels_of_arrays_come_from_npz_and_safetensors_in_either_layout() {
    let input = [None, Some(3), Some(2), Some(4)];
    // Image i: channel c holds 10 i + c everywhere.
    let first = tch::Tensor::from_slice(
        &(0..12u8).flat_map(|i| (0..3u8).flat_map(move |c| [10 * i + c; 8])).collect::<Vec<u8>>(),
    )
    .view([12, 3, 2, 4]);
    let last = first.permute([0, 2, 3, 1]).contiguous();
    let floats = first.to_kind(tch::Kind::Float);
    let labels = tch::Tensor::from_slice(&(0..12i64).map(|i| i % 3).collect::<Vec<_>>());
    for (name, images) in [("first", &first), ("last", &last), ("floats", &floats)] {
        for ending in ["npz", "safetensors"] {
            let folder = TempDir::new().expect("a folder");
            let path = folder.path().join(format!("set.{ending}"));
            let named = [("images", images.shallow_clone()), ("labels", labels.shallow_clone())];
            match ending {
                "npz" => tch::Tensor::write_npz(&named, &path).expect("written"),
                _ => tch::Tensor::write_safetensors(&named, &path).expect("written"),
            }
            let splits = Splits::load(&at(&path), &input, Some(3))
                .unwrap_or_else(|error| panic!("{name}.{ending}: {error}"));
            assert_eq!(class_counts(&splits.test), [2, 2, 2], "{name}.{ending}");
            let found = values(&splits.test);
            for (index, id) in splits.test.ids().iter().enumerate() {
                let image: u8 = id.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("number");
                for channel in 0..3u8 {
                    let plane = 24 * index + 8 * usize::from(channel);
                    let expected = [normalised(10 * image + channel); 8];
                    assert_eq!(found[plane..plane + 8], expected, "{name}.{ending}: {id}");
                }
            }
        }
    }
}

#[test]
fn a_csv_is_read_packed_or_plain_and_its_values_need_to_fit_the_scale() {
    let rows: String = (0..12).map(|i| format!("{i},{},16,0,{}\n", i + 1, i % 2)).collect();
    let folder = TempDir::new().expect("a folder");
    let packed = folder.path().join("set.csv.gz");
    fs::write(&packed, gzip(rows.as_bytes())).expect("written");
    let plain_text = folder.path().join("set.csv");
    fs::write(&plain_text, &rows).expect("written");
    let input = [None, Some(1), Some(2), Some(2)];
    let of_16 = r#"{"input": {"scale": "value/16 (values are 0..16) then (x-mean)/std",
                   "mean": [0.5], "std": [0.5]}}"#;
    for path in [&packed, &plain_text] {
        let spec = DataSpec { preprocessing: card(of_16), ..at(path) };
        let splits = Splits::load(&spec, &input, Some(2)).expect("valid rows");
        assert_eq!(values(&splits.test)[2..4], [1.0, -1.0]);
        assert_eq!(class_counts(&splits.search), [2, 2]);
    }
    assert_eq!(
        error_of(&at(&plain_text), &input, Some(2)),
        "DIR/set.csv: the largest value is 16, but values are divided by 255; give the scale these \
         values have (`scale_max` in the card)"
    );
    let of_8 = r#"{"input": {"scale": "value/8", "mean": 0.5, "std": 0.5}}"#;
    let spec = DataSpec { preprocessing: card(of_8), ..at(&plain_text) };
    let message = error_of(&spec, &input, Some(2));
    assert!(message.ends_with("the card says values go from 0 to 8"), "{message}");
}

#[test]
fn a_flat_input_takes_vectors_and_a_channels_last_input_is_permuted() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("t10k-images-idx3-ubyte"), idx_images(12, 4)).expect("written");
    let splits = Splits::load(&at(folder.path()), &[None, Some(16)], None).expect("valid");
    assert_eq!(splits.test.to_tensor().size(), [6, 16]);

    let cifar = TempDir::new().expect("a folder");
    let mut record = cifar_bytes(1, 1, 0);
    record[1..1025].fill(255);
    fs::write(cifar.path().join("test_batch.bin"), record.repeat(6)).expect("written");
    for (order, expected) in [("RGB", [1.0, 0.0, 0.0]), ("BGR", [0.0, 0.0, 1.0])] {
        let json = format!(
            r#"{{"input": {{"scale": "pixel/255", "mean": 0, "std": 1, "layout": "NHWC",
               "channel_order": "{order}"}}}}"#
        );
        let spec = DataSpec { preprocessing: card(&json), ..at(cifar.path()) };
        let input = [None, Some(32), Some(32), Some(3)];
        let splits = Splits::load(&spec, &input, None).expect("valid");
        assert_eq!(splits.test.to_tensor().size(), [3, 32, 32, 3]);
        assert_eq!(values(&splits.test)[..3], expected, "{order}");
    }
}

#[test]
fn splits_follow_the_seed_and_nothing_else() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("test_batch.bin"), cifar_bytes(120, 10, 0)).expect("written");
    let load = |seed, limits| {
        let spec = DataSpec { seed, limits, ..at(folder.path()) };
        Splits::load(&spec, &CIFAR_INPUT, Some(10)).expect("valid files")
    };
    let first = load(1, NO_LIMITS);
    let again = load(1, NO_LIMITS);
    let other = load(2, NO_LIMITS);
    assert_eq!(first.test.ids(), again.test.ids());
    assert_eq!(first.digest(), again.digest());
    assert_ne!(first.test.ids(), other.test.ids());
    assert_ne!(first.digest(), other.digest());
    assert_disjoint(&first);
    assert_disjoint(&other);
    // A limit takes a balanced beginning of the same split; other splits stay as they are.
    let fewer = load(1, SplitLimits { search: Some(10), ..NO_LIMITS });
    assert_eq!(fewer.search.ids(), &first.search.ids()[..10]);
    assert_eq!(class_counts(&fewer.search), [1; 10]);
    assert_eq!(fewer.test.ids(), first.test.ids());
}

#[test]
fn one_split_is_loaded_without_looking_at_the_others() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("data_batch_1.bin"), b"damaged").expect("written");
    fs::write(folder.path().join("test_batch.bin"), cifar_bytes(20, 10, 0)).expect("written");
    let dataset = Dataset::open(&at(folder.path()), &CIFAR_INPUT, Some(10)).expect("recognised");
    assert_eq!(dataset.load(Split::Test).expect("the whole test batch").len(), 20);
    assert!(matches!(dataset.load(Split::Search), Err(DataError::Truncated { .. })));
}

#[test]
fn the_embedded_digits_keep_the_trained_rows_for_calibration() {
    let json = r#"{"input": {"scale": "value/16 (values are 0..16) then (x-mean)/std",
                  "mean": [0.3053], "std": [0.376], "channel_order": "grey"}}"#;
    let spec = DataSpec {
        source: DataSource::Embedded,
        preprocessing: card(json),
        seed: 0,
        limits: NO_LIMITS,
    };
    let input = [None, Some(1), Some(8), Some(8)];
    let splits = Splits::load(&spec, &input, Some(10)).expect("the digits are built in");
    let sizes = [&splits.calibration, &splits.search, &splits.test].map(Images::len);
    assert_eq!(sizes, [899, 449, 449]);
    assert_disjoint(&splits);
    let row = |id: &String| -> usize {
        id.rsplit(' ').next().and_then(|row| row.parse().ok()).expect("ids end in the row")
    };
    assert!(splits.calibration.ids().iter().all(|id| row(id) % 2 == 0));
    assert!(splits.search.ids().iter().chain(splits.test.ids()).all(|id| row(id) % 2 == 1));
    let (search, test) = (class_counts(&splits.search), class_counts(&splits.test));
    assert!(search.iter().zip(&test).all(|(a, b)| a.abs_diff(*b) <= 2), "{search:?} {test:?}");
    // Mean and deviation of the card are those of the training rows.
    let tensor = splits.calibration.to_tensor();
    assert!(tensor.mean(tch::Kind::Float).double_value(&[]).abs() < 0.02);
    assert!((tensor.std(true).double_value(&[]) - 1.0).abs() < 0.02);
}

#[test]
fn too_few_images_are_refused_with_what_there_is() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("test_batch.bin"), cifar_bytes(60, 10, 0)).expect("written");
    for (limits, expected) in [
        (
            SplitLimits { test: Some(31), ..NO_LIMITS },
            "DIR: test needs 31 images; 30 can serve it (60 in all, and no image serves two splits)",
        ),
        (
            SplitLimits { calibration: Some(20), search: Some(11), ..NO_LIMITS },
            "DIR: calibration needs 20 images; 19 can serve it (60 in all, and no image serves two \
             splits)",
        ),
    ] {
        let spec = DataSpec { limits, ..at(folder.path()) };
        assert_eq!(error_of(&spec, &CIFAR_INPUT, Some(10)), expected);
    }
    let limits = SplitLimits { calibration: Some(20), search: Some(10), ..NO_LIMITS };
    let spec = DataSpec { limits, ..at(folder.path()) };
    let splits = Splits::load(&spec, &CIFAR_INPUT, Some(10)).expect("just enough");
    assert_eq!((splits.calibration.len(), splits.search.len()), (20, 10));
    assert_disjoint(&splits);
}

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
