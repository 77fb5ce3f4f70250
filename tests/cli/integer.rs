//! `haq evaluate --integer`: what is printed beside the quantized network.

use predicates::str::contains;

use crate::common::Folder;

const SMALL: &[&str] = &["evaluate", "--calibration", "64", "--images", "96"];

#[test]
fn integers_are_shown_beside_the_floats_that_round_as_they_do() {
    let folder = Folder::new();
    let answer = folder.json(&[SMALL, &["--bits", "4,5", "--integer"]].concat());
    let integer = &answer["integer"];
    assert!(integer["same_class"].as_f64().unwrap() > 0.98, "{integer}");
    let top1 = |object: &serde_json::Value| object["quality"]["top1"].as_f64().unwrap();
    assert!((top1(integer) - top1(&integer["fake_quantized"])).abs() < 0.02, "{integer}");
    assert!(integer["images_per_s"].as_f64().unwrap() > 0.0);
    let packed = folder.json(&[SMALL, &["--bits", "4,5", "--integer", "packed"]].concat());
    assert_eq!(packed["integer"]["quality"], integer["quality"]);
    let without = folder.json(&[SMALL, &["--bits", "4,5"]].concat());
    assert!(without.get("integer").is_none());
    assert_eq!(without["quality"], answer["quality"]);
}

#[test]
fn the_text_says_how_often_both_give_one_class() {
    let folder = Folder::new();
    let arguments = [SMALL, &["--bits", "8,8", "--integer"]].concat();
    let shown = folder.haq(&arguments).assert().success();
    shown.stdout(contains("integer    top1")).stdout(contains("the same class to 100.00 %"));
    let (message, code) = folder.failure(&[SMALL, &["--bits", "8,8", "--integer", "fp8"]].concat());
    assert!(message.contains("int8") && message.contains("packed") && code == 2, "{message}");
}
