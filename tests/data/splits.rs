//! Three splits: disjoint, balanced, decided by the seed, loaded one by one.

use std::{collections::BTreeSet, fs};

use haq::data::{DataError, DataSource, DataSpec, Dataset, Images, Split, SplitLimits, Splits};
use tempfile::TempDir;

use crate::*;

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
    assert_eq!(first.search.prefix_digest(10), fewer.search.digest());
    assert_ne!(first.search.prefix_digest(11), fewer.search.digest());
    assert_eq!(fewer.test.ids(), first.test.ids());
}

#[test]
fn training_has_all_but_what_judges() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("test_batch.bin"), cifar_bytes(120, 10, 0)).expect("written");
    for search in [None, Some(10)] {
        let limits = SplitLimits { search, calibration: Some(10), ..NO_LIMITS };
        let spec = DataSpec { limits, ..at(folder.path()) };
        let dataset = Dataset::open(&spec, &CIFAR_INPUT, Some(10)).expect("recognised");
        let ids = |images: &Images| images.ids().iter().cloned().collect::<BTreeSet<String>>();
        let load = |split| ids(&dataset.load(split).expect("valid files"));
        let training = ids(&dataset.load_training().expect("valid files"));
        let judges: BTreeSet<String> = &load(Split::Search) | &load(Split::Test);
        assert!(training.is_disjoint(&judges));
        assert!(training.is_superset(&load(Split::Calibration)));
        assert_eq!(training.len() + judges.len(), 120, "no image is left over");
    }
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
        (
            SplitLimits { search: Some(0), ..NO_LIMITS },
            "the number of images of a split is 0; it needs to be above 0",
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
