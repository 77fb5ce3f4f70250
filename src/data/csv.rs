//! CSV or CSV.gz of pixels: one image a row, the label last (or where a header says `label`).

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use ::csv::{ReaderBuilder, StringRecord};
use flate2::read::MultiGzDecoder;

use crate::data::{
    DataError, InputShape,
    record::{RawImage, Records, Values},
};

/// All rows of a file.
#[derive(Debug)]
pub(super) struct Csv {
    path: PathBuf,
    values: Values,
    labels: Option<Vec<i64>>,
    /// Channels, height and width of a row.
    shape: [usize; 3],
}

impl Csv {
    pub(super) fn open(path: &Path, input: &InputShape) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::unreadable(path))?;
        match path.extension().is_some_and(|extension| extension == "gz") {
            true => Self::read(path, MultiGzDecoder::new(file), input),
            false => Self::read(path, file, input),
        }
    }

    /// - `name`: what messages call the text
    ///
    /// # Errors
    /// Rows of different length, fields that are no number, labels that are no class index.
    pub(super) fn read(
        name: &Path,
        text: impl Read,
        input: &InputShape,
    ) -> Result<Self, DataError> {
        let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
        let mut row = StringRecord::new();
        let mut rows = Rows { name, columns: None, values: Values::U8(vec![]), labels: vec![] };
        while reader.read_record(&mut row).map_err(|error| csv_error(name, error))? {
            let is_first = rows.columns.is_none();
            let columns = *rows.columns.get_or_insert_with(|| Columns::of(&row, input));
            if !(is_first && is_header(&row)) {
                rows.push(&row, columns)?;
            }
        }
        rows.finish(input)
    }
}

/// Where in a row what is.
#[derive(Debug, Clone, Copy)]
struct Columns {
    n: usize,
    label: Option<usize>,
}

impl Columns {
    fn of(first: &StringRecord, input: &InputShape) -> Self {
        let n = first.len();
        let named = first.iter().position(|field| {
            matches!(field.trim().to_ascii_lowercase().as_str(), "label" | "class" | "target")
        });
        let label = match named {
            Some(label) => Some(label),
            None if input.n_values() == Some(n) => None,
            None => n.checked_sub(1),
        };
        Self { n, label }
    }

    fn n_values(&self) -> usize {
        self.n - usize::from(self.label.is_some())
    }
}

/// Whether most fields are names; a single one that is no number is a damaged row instead.
fn is_header(row: &StringRecord) -> bool {
    let names = row.iter().filter(|field| field.trim().parse::<f32>().is_err()).count();
    2 * names > row.len()
}

pub(super) fn csv_error(name: &Path, error: ::csv::Error) -> DataError {
    let place = error.position().map_or("text".into(), |at| format!("line {}", at.line()));
    match error.into_kind() {
        ::csv::ErrorKind::Io(source) => DataError::Unreadable { path: name.to_owned(), source },
        ::csv::ErrorKind::Utf8 { .. } => DataError::malformed(name, place, "is not text"),
        kind => DataError::malformed(name, place, format!("{kind:?}")),
    }
}

/// What has been read so far.
struct Rows<'a> {
    name: &'a Path,
    columns: Option<Columns>,
    values: Values,
    labels: Vec<i64>,
}

impl Rows<'_> {
    fn push(&mut self, row: &StringRecord, columns: Columns) -> Result<(), DataError> {
        let line = row.position().map_or(0, |at| at.line());
        let malformed =
            |what: String| DataError::malformed(self.name, format!("line {line}"), what);
        if row.len() != columns.n {
            let what = format!("has {} fields; the first line has {}", row.len(), columns.n);
            return Err(malformed(what));
        }
        for (index, field) in row.iter().enumerate() {
            let field = field.trim();
            let no_number = || malformed(format!("field {} is `{field}`, no number", index + 1));
            if columns.label == Some(index) {
                let label: f64 = field.parse().map_err(|_| no_number())?;
                if label.fract() != 0.0 || label.abs() > 1e15 {
                    return Err(malformed(format!("label is `{field}`; it needs to be whole")));
                }
                self.labels.push(label as i64);
            } else {
                self.values.push(field.parse().map_err(|_| no_number())?);
            }
        }
        Ok(())
    }

    fn finish(self, input: &InputShape) -> Result<Csv, DataError> {
        let empty = || DataError::Empty { path: self.name.to_owned(), what: "rows of pixels" };
        let columns = self.columns.filter(|c| c.n_values() > 0).ok_or_else(empty)?;
        if self.values.len() == 0 {
            return Err(empty());
        }
        let shape = image_shape(columns.n_values(), input).ok_or_else(|| {
            let found = match columns.label {
                Some(_) => format!("{} pixels and a label", columns.n_values()),
                None => format!("{} pixels", columns.n_values()),
            };
            DataError::WrongSize {
                record: format!("{}: a row", self.name.display()),
                found,
                expected: input.text(),
                advice: "give rows of as many pixels as the network's input has",
            }
        })?;
        let labels = columns.label.is_some().then_some(self.labels);
        Ok(Csv { path: self.name.to_owned(), values: self.values, labels, shape })
    }
}

/// Channels, height and width of `n_values` in a row; a square where the network leaves it open.
pub(super) fn image_shape(n_values: usize, input: &InputShape) -> Option<[usize; 3]> {
    if input.features == Some(n_values) {
        let channels = if n_values.is_multiple_of(input.channels) { input.channels } else { 1 };
        return Some([channels, 1, n_values / channels]);
    }
    let plane = n_values.is_multiple_of(input.channels).then_some(n_values / input.channels)?;
    let (height, width) = match (input.height, input.width) {
        (Some(height), Some(width)) => (height, width),
        (Some(height), None) => (height, plane / height),
        (None, Some(width)) => (plane / width, width),
        (None, None) => (plane.isqrt(), plane.isqrt()),
    };
    (input.features.is_none() && height * width == plane && plane > 0).then_some([
        input.channels,
        height,
        width,
    ])
}

impl Records for Csv {
    fn len(&self) -> usize {
        self.values.len() / self.shape.iter().product::<usize>()
    }

    fn labels(&self) -> Option<&[i64]> {
        self.labels.as_deref()
    }

    fn name(&self, index: usize) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{name} row {index}")
    }

    fn is_8_bit(&self) -> bool {
        false
    }

    fn read(&self, index: usize) -> Result<RawImage, DataError> {
        let [channels, height, width] = self.shape;
        let n_values = channels * height * width;
        let values = self.values.slice(index * n_values..(index + 1) * n_values);
        Ok(RawImage { channels, height, width, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_BY_TWO: InputShape =
        InputShape { channels: 1, height: Some(2), width: Some(2), features: None };

    fn read(text: &str) -> Result<Csv, DataError> {
        Csv::read(Path::new("x.csv"), text.as_bytes(), &TWO_BY_TWO)
    }

    #[test]
    fn labels_stand_last_or_where_the_header_says_or_nowhere() {
        for (name, text, labels) in [
            ("no header", "1,2,3,4,7\n5,6,7,8,9\n", Some(vec![7, 9])),
            ("header", "a,b,c,d,digit\n1,2,3,4,7\n5,6,7,8,9\n", Some(vec![7, 9])),
            ("label first", "label,a,b,c,d\n7,1,2,3,4\n9,5,6,7,8\n", Some(vec![7, 9])),
            ("as a float", "1,2,3,4,7.0\n5,6,7,8,9\n", Some(vec![7, 9])),
            ("no labels", "1,2,3,4\n5,6,7,8\n", None),
        ] {
            let rows = read(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(rows.labels, labels, "{name}");
            assert_eq!(rows.values, Values::U8(vec![1, 2, 3, 4, 5, 6, 7, 8]), "{name}");
        }
    }

    #[test]
    fn values_that_are_no_bytes_are_kept_as_floats() {
        let rows = read("1,2,3,4,0\n5,6.5,-7,300,1\n").expect("valid rows");
        assert_eq!(rows.values, Values::F32(vec![1., 2., 3., 4., 5., 6.5, -7., 300.]));
    }

    #[test]
    fn a_bad_row_is_named() {
        for (text, expected) in [
            ("1,2,3,4,0\n1,2,3,4\n", "x.csv: line 2: has 4 fields; the first line has 5"),
            ("1,2,3,4,0\n1,?,3,4,0\n", "x.csv: line 2: field 2 is `?`, no number"),
            ("1,2,3,4,0.5\n", "x.csv: line 1: label is `0.5`; it needs to be whole"),
            ("a,b,c,d,label\n", "x.csv: has no rows of pixels"),
            ("", "x.csv: has no rows of pixels"),
            (
                "1,2,3,4,5,6,7\n",
                "x.csv: a row is 6 pixels and a label; the network takes 1x2x2: give rows of as \
                 many pixels as the network's input has",
            ),
        ] {
            assert_eq!(read(text).expect_err(text).to_string(), expected);
        }
    }
}
