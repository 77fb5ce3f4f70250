//! The digits that are part of the program: 1,797 images of 8 × 8 grey values from 0 to 16.
//!
//! Even rows trained the embedded network, so that calibration comes from them; search and test come
//! from the odd rows.

use std::path::Path;

use flate2::read::GzDecoder;

use crate::data::{DataError, InputShape, csv::Csv};

static DIGITS: &[u8] = include_bytes!("../../assets/digits.csv.gz");

/// What messages call the embedded digits.
pub(super) const NAME: &str = "built-in digits";

pub(super) fn open(input: &InputShape) -> Result<Csv, DataError> {
    Csv::read(Path::new(NAME), GzDecoder::new(DIGITS), input)
}

/// Whether the embedded network was trained on a row.
pub(super) fn was_trained_on(row: usize) -> bool {
    row.is_multiple_of(2)
}
