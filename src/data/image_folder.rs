//! Folders of JPEG and PNG images: one folder a class, or a `labels.csv`, or no labels at all.

use std::{
    collections::HashMap,
    fs, io,
    io::Cursor,
    path::{Path, PathBuf},
};

use ::csv::{ReaderBuilder, StringRecord};
use image::{DynamicImage, ImageFormat, ImageReader};

use crate::data::{
    DataError,
    arrays::channels_first,
    record::{RawImage, Records, Values},
};

const LABELS_FILE: &str = "labels.csv";
const CLASSES_FILE: &str = "classes.txt";
const FILE_COLUMNS: [&str; 5] = ["file", "filename", "path", "image", "name"];
const LABEL_COLUMNS: [&str; 4] = ["label", "class", "target", "index"];

/// Image files and their labels; decoded when read.
#[derive(Debug)]
pub(super) struct ImageFolder {
    root: PathBuf,
    files: Vec<PathBuf>,
    labels: Option<Vec<i64>>,
}

impl ImageFolder {
    /// - `classes`: names in label order, where the model's card has them
    /// - `n_classes`: of the network, so that a folder with some of its classes is not taken for all
    pub(super) fn open(
        root: &Path,
        classes: Option<&[String]>,
        n_classes: Option<usize>,
    ) -> Result<Self, DataError> {
        let (files, labels) = if root.join(LABELS_FILE).is_file() {
            let (files, labels) = read_labels_csv(root)?;
            (files, Some(labels))
        } else {
            let (folders, files) = list(root)?;
            match folders.is_empty() {
                true => (files.into_iter().filter(|file| has_image_ending(file)).collect(), None),
                false => {
                    let (files, labels) = read_class_folders(root, &folders, classes, n_classes)?;
                    (files, Some(labels))
                }
            }
        };
        if files.is_empty() {
            return Err(DataError::Empty { path: root.to_owned(), what: "JPEG or PNG images" });
        }
        Ok(Self { root: root.to_owned(), files, labels })
    }
}

/// Whether a folder looks like images to someone who has not opened it.
pub(super) fn looks_like_images(root: &Path) -> Result<bool, DataError> {
    let (folders, files) = list(root)?;
    Ok(!folders.is_empty()
        || files.iter().any(|file| {
            has_image_ending(file) || file.file_name().is_some_and(|name| name == LABELS_FILE)
        }))
}

/// Folders and files directly inside, by name; hidden ones are left out.
fn list(root: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DataError> {
    let mut entries = fs::read_dir(root)
        .and_then(|entries| {
            entries.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>()
        })
        .map_err(DataError::unreadable(root))?;
    entries.retain(|path| !name_of(path).starts_with('.'));
    entries.sort();
    Ok(entries.into_iter().partition(|path| path.is_dir()))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn has_image_ending(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    matches!(ending.as_str(), "jpg" | "jpeg" | "png")
}

type LabelledFiles = (Vec<PathBuf>, Vec<i64>);

fn read_class_folders(
    root: &Path,
    folders: &[PathBuf],
    classes: Option<&[String]>,
    n_classes: Option<usize>,
) -> Result<LabelledFiles, DataError> {
    let names: Vec<String> = folders.iter().map(|folder| name_of(folder)).collect();
    let class_labels = class_labels(root, &names, classes, n_classes)?;
    let (mut files, mut labels) = (Vec::new(), Vec::new());
    for (folder, label) in folders.iter().zip(class_labels) {
        for file in list(folder)?.1 {
            if !has_image_ending(&file) {
                let reason = "its ending is none of jpg, jpeg and png".into();
                return Err(DataError::NotAnImage { path: file, reason });
            }
            files.push(file);
            labels.push(label);
        }
    }
    Ok((files, labels))
}

/// A label for each class folder: by `classes.txt`, by the number that is its name, by the card's
/// class names, or else by its place in the alphabet, which is only safe when all classes are there.
fn class_labels(
    root: &Path,
    names: &[String],
    classes: Option<&[String]>,
    n_classes: Option<usize>,
) -> Result<Vec<i64>, DataError> {
    let file = root.join(CLASSES_FILE);
    if file.is_file() {
        let text = fs::read_to_string(&file).map_err(DataError::unreadable(&file))?;
        let listed: Vec<&str> = text.lines().map(str::trim).collect();
        return names
            .iter()
            .map(|name| {
                label_among(name, listed.iter().copied()).ok_or_else(|| {
                    DataError::malformed(&file, "names", format!("has no line `{name}`"))
                })
            })
            .collect();
    }
    if let Ok(numbers) = names.iter().map(|name| name.parse()).collect::<Result<Vec<i64>, _>>() {
        return Ok(numbers);
    }
    if let Some(classes) = classes {
        let listed = || classes.iter().map(String::as_str);
        let labels: Option<Vec<i64>> =
            names.iter().map(|name| label_among(name, listed())).collect();
        if let Some(labels) = labels {
            return Ok(labels);
        }
    }
    if let Some(n_classes) = n_classes.filter(|&n_classes| n_classes != names.len()) {
        return Err(DataError::malformed(
            root,
            "class folders",
            format!(
                "{} folders for a network of {n_classes} classes: which label each has is not \
                 known; add a {CLASSES_FILE} with all class names in label order, or a \
                 {LABELS_FILE} of file,label",
                names.len()
            ),
        ));
    }
    Ok((0..names.len() as i64).collect())
}

fn label_among<'a>(name: &str, mut classes: impl Iterator<Item = &'a str>) -> Option<i64> {
    classes.position(|class| class == name).map(|label| label as i64)
}

/// Rows of file,label; files are looked for in the folder and in its `images` folder.
fn read_labels_csv(root: &Path) -> Result<LabelledFiles, DataError> {
    let path = root.join(LABELS_FILE);
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_path(&path)
        .map_err(|error| super::csv::csv_error(&path, error))?;
    let (mut files, mut labels) = (Vec::new(), Vec::new());
    let mut columns = None;
    let mut row = StringRecord::new();
    while reader.read_record(&mut row).map_err(|error| super::csv::csv_error(&path, error))? {
        let place = format!("line {}", row.position().map_or(0, |at| at.line()));
        let is_first = columns.is_none();
        let header = if is_first { header_columns(&row) } else { None };
        let (file, label) = *columns.get_or_insert(header.unwrap_or((0, 1)));
        if header.is_some() {
            continue;
        }
        let (Some(file), Some(label)) = (row.get(file), row.get(label)) else {
            return Err(DataError::malformed(&path, place, "needs a file and a label"));
        };
        let label = label.trim().parse().map_err(|_| {
            let what = format!("label is `{label}`; it needs to be a whole number");
            DataError::malformed(&path, place.clone(), what)
        })?;
        files.push(find_file(root, file.trim()).ok_or_else(|| {
            let what = format!("`{file}` is neither in the folder nor in its `images` folder");
            DataError::malformed(&path, place, what)
        })?);
        labels.push(label);
    }
    check_unique(&path, &files)?;
    Ok((files, labels))
}

/// A file listed twice could serve two splits.
fn check_unique(path: &Path, files: &[PathBuf]) -> Result<(), DataError> {
    let mut first_rows = HashMap::new();
    for (row, file) in files.iter().enumerate() {
        if let Some(first) = first_rows.insert(file, row) {
            let place = format!("row {row}");
            let what = format!("lists `{}` again, after row {first}", name_of(file));
            return Err(DataError::malformed(path, place, what));
        }
    }
    Ok(())
}

fn header_columns(row: &StringRecord) -> Option<(usize, usize)> {
    let find = |names: &[&str]| {
        row.iter().position(|field| names.contains(&field.trim().to_ascii_lowercase().as_str()))
    };
    Some((find(&FILE_COLUMNS)?, find(&LABEL_COLUMNS)?))
}

fn find_file(root: &Path, file: &str) -> Option<PathBuf> {
    [root.join(file), root.join("images").join(file)].into_iter().find(|path| path.is_file())
}

impl Records for ImageFolder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn labels(&self) -> Option<&[i64]> {
        self.labels.as_deref()
    }

    fn name(&self, index: usize) -> String {
        let file = &self.files[index];
        file.strip_prefix(&self.root).unwrap_or(file).to_string_lossy().into_owned()
    }

    fn is_8_bit(&self) -> bool {
        true
    }

    fn read(&self, index: usize) -> Result<RawImage, DataError> {
        decode(&self.files[index])
    }
}

/// A JPEG or PNG file as 8-bit grey or RGB planes; transparency is dropped, as PIL's
/// `convert("RGB")` drops it.
fn decode(path: &Path) -> Result<RawImage, DataError> {
    let bytes = fs::read(path).map_err(DataError::unreadable(path))?;
    let refuse = |reason: String| DataError::NotAnImage { path: path.to_owned(), reason };
    let reader = ImageReader::new(Cursor::new(&bytes))
        .with_guessed_format()
        .map_err(DataError::unreadable(path))?;
    match reader.format() {
        Some(ImageFormat::Jpeg) => check_jpeg_is_whole(path, &bytes)?,
        Some(ImageFormat::Png) => {}
        _ => return Err(refuse("it starts neither like a JPEG nor like a PNG file".into())),
    }
    let image = reader.decode().map_err(|error| match error {
        image::ImageError::IoError(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
            refuse("it is cut short".into())
        }
        error => refuse(error.to_string()),
    })?;
    Ok(planes(image))
}

/// The decoder fills what is missing with grey, so that the end is looked for here.
fn check_jpeg_is_whole(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    const START_OF_SCAN: u8 = 0xda;
    let mut at = 2;
    // Segments are skipped by their length: a thumbnail inside one has an end of its own.
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        if marker == 0xff {
            at += 1;
            continue;
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
        if marker == START_OF_SCAN {
            break;
        }
    }
    let scan = bytes.get(at..).unwrap_or_default();
    match scan.windows(2).any(|pair| pair == [0xff, 0xd9]) {
        true => Ok(()),
        false => Err(DataError::NotAnImage {
            path: path.to_owned(),
            reason: format!("it is cut short after {} bytes", bytes.len()),
        }),
    }
}

fn planes(image: DynamicImage) -> RawImage {
    let (height, width) = (image.height() as usize, image.width() as usize);
    if !image.color().has_color() {
        let grey = image.into_luma8().into_raw();
        return RawImage { channels: 1, height, width, values: Values::U8(grey) };
    }
    let planar = channels_first(image.into_rgb8().as_raw(), 3);
    RawImage { channels: 3, height, width, values: Values::U8(planar) }
}
