//! A dataset opened for a network: its three splits, each read only when asked for.

use std::{path::Path, sync::OnceLock};

use rayon::prelude::*;

use crate::data::{
    DataError, DataSource, DataSpec, Images, InputShape, Split, embedded,
    record::{RawImage, Records, Values, check_labels},
    source::{OpenFor, PartFiles, Parts},
    split,
};

/// Separates the shuffles of parts that share a seed.
const TRAIN_STREAM: u64 = 1;
const TEST_STREAM: u64 = 2;

/// A dataset whose splits can be loaded one by one.
pub struct Dataset {
    spec: DataSpec,
    purpose: OpenFor,
    parts: OpenParts,
}

enum OpenParts {
    Embedded(Part),
    Whole(Part),
    TrainAndTest { train: Part, test: Part },
}

/// One part, opened at first use.
struct Part {
    files: Option<PartFiles>,
    records: OnceLock<Box<dyn Records>>,
}

impl Part {
    fn of(files: Option<PartFiles>) -> Self {
        Self { files, records: OnceLock::new() }
    }

    fn open(&self, purpose: &OpenFor) -> Result<&dyn Records, DataError> {
        if let Some(records) = self.records.get() {
            return Ok(records.as_ref());
        }
        let records = match &self.files {
            Some(files) => files.open(purpose)?,
            None => Box::new(embedded::open(&purpose.input)?),
        };
        check_labels(records.as_ref(), purpose.n_classes)?;
        Ok(self.records.get_or_init(|| records).as_ref())
    }
}

/// All three splits of a dataset, disjoint.
#[derive(Debug)]
pub struct Splits {
    pub calibration: Images,
    pub search: Images,
    pub test: Images,
}

impl Splits {
    /// See [`Dataset::open`] for the arguments and [`Dataset::load`] for what can go wrong.
    pub fn load(
        spec: &DataSpec,
        input_shape: &[Option<usize>],
        n_classes: Option<usize>,
    ) -> Result<Self, DataError> {
        let dataset = Dataset::open(spec, input_shape, n_classes)?;
        Ok(Self {
            calibration: dataset.load(Split::Calibration)?,
            search: dataset.load(Split::Search)?,
            test: dataset.load(Split::Test)?,
        })
    }

    /// SHA-256 over the digests of the three splits, in hexadecimal.
    pub fn digest(&self) -> String {
        Images::digest_of(&[&self.calibration, &self.search, &self.test])
    }
}

impl Dataset {
    /// Recognises the dataset; reads nothing yet.
    ///
    /// - `input_shape`: the network's input with its batch axis (rank 4 or 2), or `[c, h, w]`;
    ///   `None` is a size that may vary
    /// - `n_classes`: of the network, where it is known; labels are checked against it
    ///
    /// # Errors
    /// A path that is not a dataset, and a shape that cannot be an image's.
    pub fn open(
        spec: &DataSpec,
        input_shape: &[Option<usize>],
        n_classes: Option<usize>,
    ) -> Result<Self, DataError> {
        let input = InputShape::new(input_shape, &spec.preprocessing)?;
        let parts = match &spec.source {
            DataSource::Embedded => OpenParts::Embedded(Part::of(None)),
            DataSource::Arrays { path, names } => {
                let files = PartFiles::Samples { path: path.clone(), names: names.clone() };
                OpenParts::Whole(Part::of(Some(files)))
            }
            DataSource::Path(path) => match Parts::find(path)? {
                Parts::Whole(files) => OpenParts::Whole(Part::of(Some(files))),
                Parts::TrainAndTest { train, test } => OpenParts::TrainAndTest {
                    train: Part::of(Some(train)),
                    test: Part::of(Some(test)),
                },
            },
        };
        let classes = spec.preprocessing.classes.clone();
        Ok(Self { spec: spec.clone(), purpose: OpenFor { input, n_classes, classes }, parts })
    }

    /// Reads one split; what only the others need is not decoded.
    ///
    /// # Errors
    /// Damaged files and records, images of another size than the network's, values that are not
    /// finite or not of the card's scale, and fewer images than were asked for.
    pub fn load(&self, split: Split) -> Result<Images, DataError> {
        let (part, candidates) = self.candidates(split)?;
        let records = part.open(&self.purpose)?;
        let asked = self.spec.limits.asked(split);
        if asked == Some(0) {
            return Err(DataError::Setting {
                what: "the number of images of a split",
                found: "0".into(),
                needed: "it needs to be above 0".into(),
            });
        }
        let n = split::count(split, asked, candidates.len()).ok_or_else(|| DataError::TooFew {
            path: self.path().to_owned(),
            split,
            asked: asked.unwrap_or(1),
            available: candidates.len(),
            total: records.len(),
        })?;
        let chosen = split::alternate_classes(records.labels(), candidates);
        self.read(records, &chosen[..n])
    }

    /// Every image that may be trained on: all but those of the search and the test split. Those
    /// of the calibration split are among them.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn load_training(&self) -> Result<Images, DataError> {
        let (part, search) = self.candidates(Split::Search)?;
        let (_, calibration) = self.candidates(Split::Calibration)?;
        let records = part.open(&self.purpose)?;
        let n = split::count(Split::Search, self.spec.limits.asked(Split::Search), search.len());
        let search = split::alternate_classes(records.labels(), search);
        let rest = match &self.parts {
            // What is not for calibration the embedded network was not trained on either.
            OpenParts::Embedded(_) => &[],
            _ => &search[n.unwrap_or(search.len())..],
        };
        let training = calibration.iter().chain(rest).copied().collect();
        self.read(records, &split::alternate_classes(records.labels(), training))
    }

    /// What messages call the dataset as a whole.
    fn path(&self) -> &Path {
        match &self.spec.source {
            DataSource::Path(path) | DataSource::Arrays { path, .. } => path,
            DataSource::Embedded => Path::new(embedded::NAME),
        }
    }

    /// The part a split comes from and the records of it that no other split may have.
    fn candidates(&self, split: Split) -> Result<(&Part, Vec<usize>), DataError> {
        let seed = self.spec.seed;
        match &self.parts {
            OpenParts::TrainAndTest { test, .. } if split == Split::Test => {
                let records = test.open(&self.purpose)?;
                let labels = records.labels();
                let all = split::shuffle_by_class(labels, 0..records.len(), seed, TEST_STREAM);
                Ok((test, all))
            }
            OpenParts::TrainAndTest { train, .. } => {
                let records = train.open(&self.purpose)?;
                let labels = records.labels();
                let all = split::shuffle_by_class(labels, 0..records.len(), seed, TRAIN_STREAM);
                Ok((train, self.divide_training(&all, split)))
            }
            OpenParts::Whole(part) => {
                let records = part.open(&self.purpose)?;
                let labels = records.labels();
                let all = split::shuffle_by_class(labels, 0..records.len(), seed, TRAIN_STREAM);
                let (test, training) = split::take_evenly(&all, all.len() / 2);
                match split {
                    Split::Test => Ok((part, test)),
                    _ => Ok((part, self.divide_training(&training, split))),
                }
            }
            OpenParts::Embedded(part) => {
                let records = part.open(&self.purpose)?;
                let labels = records.labels();
                let trained = split == Split::Calibration;
                let rows =
                    (0..records.len()).filter(|&row| embedded::was_trained_on(row) == trained);
                let stream = if trained { TRAIN_STREAM } else { TEST_STREAM };
                let all = split::shuffle_by_class(labels, rows, seed, stream);
                let (test, search) = split::take_evenly(&all, all.len() / 2);
                match split {
                    Split::Calibration => Ok((part, all)),
                    Split::Search => Ok((part, search)),
                    Split::Test => Ok((part, test)),
                }
            }
        }
    }

    fn divide_training(&self, training: &[usize], split: Split) -> Vec<usize> {
        let n = split::calibration_share(training.len(), &self.spec.limits);
        let (calibration, search) = split::take_evenly(training, n);
        if split == Split::Calibration { calibration } else { search }
    }

    fn read(&self, records: &dyn Records, chosen: &[usize]) -> Result<Images, DataError> {
        let preprocessing = &self.spec.preprocessing;
        let read_one = |&index: &usize| {
            let name = records.name(index);
            let image = records.read(index)?;
            check_values(&image, preprocessing.scale_max, &name)?;
            preprocessing.fit(image, &self.purpose.input, &name)
        };
        // Collected before the first error is looked for, so that the same one is reported each time.
        let images: Vec<Result<RawImage, DataError>> = chosen.par_iter().map(read_one).collect();
        let (values, shape) = join(images, records, chosen)?;
        if !records.is_8_bit() {
            check_scale(&values, preprocessing.scale_max, self.path())?;
        }
        Ok(Images {
            values,
            labels: records
                .labels()
                .map(|labels| chosen.iter().map(|&index| labels[index]).collect()),
            ids: chosen.iter().map(|&index| records.name(index)).collect(),
            n_classes: self.purpose.n_classes,
            shape,
            is_flat: self.purpose.input.features.is_some(),
            preprocessing: preprocessing.clone(),
        })
    }
}

/// All images one after the other, and the shape they share.
fn join(
    images: Vec<Result<RawImage, DataError>>,
    records: &dyn Records,
    chosen: &[usize],
) -> Result<(Values, [usize; 3]), DataError> {
    let mut shape = None;
    let (mut bytes, mut floats) = (Vec::new(), Vec::new());
    let n_images = images.len();
    for (image, &index) in images.into_iter().zip(chosen) {
        let image = image?;
        let found = [image.channels, image.height, image.width];
        let expected = *shape.get_or_insert(found);
        if found != expected {
            let [c, h, w] = expected;
            return Err(DataError::WrongSize {
                record: records.name(index),
                found: image.shape_text(),
                expected: format!("{c}x{h}x{w} as in {}", records.name(chosen[0])),
                advice: "give --resize and --crop (or `resize` and `crop` in the card)",
            });
        }
        match image.values {
            Values::U8(values) => {
                bytes.reserve(if bytes.is_empty() { n_images * values.len() } else { 0 });
                bytes.extend_from_slice(&values);
            }
            Values::F32(values) => floats.extend_from_slice(&values),
        }
    }
    let values = if floats.is_empty() { Values::U8(bytes) } else { Values::F32(floats) };
    Ok((values, shape.unwrap_or_default()))
}

/// Every value is finite and, where values are scaled, from 0 to the scale.
fn check_values(image: &RawImage, scale_max: f32, record: &str) -> Result<(), DataError> {
    let is_scaled = scale_max > 1.0;
    if matches!(image.values, Values::U8(_)) && (scale_max >= 255.0 || !is_scaled) {
        return Ok(());
    }
    for index in 0..image.values.len() {
        let value = image.values.get(index);
        if !value.is_finite() {
            return Err(DataError::NotFinite { record: record.into(), index, value });
        }
        if is_scaled && !(0.0..=scale_max).contains(&value) {
            let record = record.into();
            return Err(DataError::OutOfScale { record, index, value, scale_max });
        }
    }
    Ok(())
}

/// Values that all lie far below the scale were meant for another one: floats from 0 to 1, say.
fn check_scale(values: &Values, scale_max: f32, path: &Path) -> Result<(), DataError> {
    let largest = values.largest();
    if scale_max > 1.0 && largest < scale_max / 8.0 {
        return Err(DataError::DoubtfulScale { path: path.to_owned(), largest, scale_max });
    }
    Ok(())
}
