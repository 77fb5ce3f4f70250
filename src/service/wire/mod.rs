//! The shapes of answers, as the API's description shows them.

mod files;
mod fleet;
mod results;
mod searches;

pub use files::{
    DataList, Health, ListedData, ListedModel, ListedProfile, ModelList, ProfileDetail,
    ProfileList, Uploaded,
};
pub use fleet::{FleetReport, FleetWorker, Handled, SetAside};
pub use results::{
    Change, ComparedSearch, Comparison, Episode, EpisodeList, Front, FrontPoint, LayerWidths,
    PointColumns, Points, PolicyLayer, PolicyLayers, unit,
};
pub use searches::{BudgetLimit, Cost, LayerShape, SearchDetail, SearchList, Standing, Summary};

/// Version of every object.
pub const SCHEMA: u32 = 1;
