//! Images and labels of a dataset, split in three and normalised for a network.
//!
//! Reading order: [`DataSpec`] says what is wanted, `source` recognises the format, one file a
//! format reads it, `split` decides which image serves what, [`Dataset`] brings them together and
//! [`Images`] is what the rest of the program sees.

mod arrays;
mod card;
mod cifar;
mod csv;
mod dataset;
mod embedded;
mod error;
mod idx;
mod image_folder;
mod images;
mod npz;
mod packed;
mod preprocess;
mod record;
mod safetensors;
mod source;
mod split;

use std::path::PathBuf;

pub use arrays::sample_shapes;
pub use card::{Card, Overrides};
pub use dataset::{Dataset, Splits};
pub use error::DataError;
pub use images::Images;
pub use preprocess::{InputShape, Interpolation, Layout, Preprocessing, Resize};
pub use split::{DEFAULT_CALIBRATION_IMAGES, DEFAULT_SEARCH_IMAGES, Split, SplitLimits};

/// Where the images are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataSource {
    /// The digits that are part of the program.
    Embedded,
    /// A folder or a file; the format is recognised by names and endings.
    Path(PathBuf),
    /// Arrays of a .npz or .safetensors file that together are a sample, in this order: the inputs
    /// of a network that takes no images.
    Arrays { path: PathBuf, names: Vec<String> },
}

/// Which images, how they become a network's input, and who gets which.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSpec {
    pub source: DataSource,
    pub preprocessing: Preprocessing,
    /// Decides which image belongs to which split; same seed, same splits.
    pub seed: u64,
    pub limits: SplitLimits,
}
