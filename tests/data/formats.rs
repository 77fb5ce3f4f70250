//! Every format gives the pixels and labels that were written, in the network's layout.

use std::{fs, path::Path};

use haq::{
    data::{DataSource, DataSpec, Images, Preprocessing, Splits, sample_shapes},
    network::{Array, TensorFile},
};
use tempfile::TempDir;

use crate::*;

/// A grey image file of one value; the format follows the ending.
fn write_image(path: &Path, width: u32, height: u32, value: u8) {
    fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
    image::GrayImage::from_pixel(width, height, image::Luma([value])).save(path).expect("an image");
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
fn arrays_by_the_networks_input_names_make_one_sample() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("samples.safetensors");
    let counted = |from: usize, n: usize| (from..from + n).map(|x| x as f32).collect::<Vec<_>>();
    let file = |n_second: usize| {
        let first = Array::f32(vec![12, 2], counted(0, 24));
        let second = Array::f32(vec![n_second, 1, 3], counted(100, 3 * n_second));
        let arrays = [("ids".into(), first), ("mask".into(), second)].into();
        TensorFile { arrays, texts: Default::default() }.to_bytes()
    };
    fs::write(&path, file(12)).expect("written");
    assert_eq!(sample_shapes(&path, &["mask", "ids"]).unwrap(), Some(vec![vec![1, 3], vec![2]]));
    assert_eq!(sample_shapes(&path, &["ids", "other"]).unwrap(), None);
    let names = vec!["ids".to_owned(), "mask".to_owned()];
    let source = DataSource::Arrays { path: path.clone(), names };
    let spec = DataSpec { source, preprocessing: Preprocessing::none(), ..at(&path) };
    let splits = Splits::load(&spec, &[None, Some(5)], None).expect("a dataset");
    let rows: Vec<f32> =
        [&splits.calibration, &splits.search, &splits.test].into_iter().flat_map(values).collect();
    assert_eq!(rows.len(), 12 * 5);
    for row in rows.chunks(5) {
        let sample = row[0] / 2.0;
        let mask = 100.0 + 3.0 * sample;
        assert_eq!(row, [2.0 * sample, 2.0 * sample + 1.0, mask, mask + 1.0, mask + 2.0]);
    }
    fs::write(&path, file(11)).expect("written");
    let message = Splits::load(&spec, &[None, Some(5)], None).unwrap_err().to_string();
    assert!(message.contains("has 11 samples; `ids` has 12"), "{message}");
}
