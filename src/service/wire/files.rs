//! What a search may name: devices, networks, data; and the service itself.

use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
pub struct ProfileList {
    pub schema: u32,
    pub profiles: Vec<ListedProfile>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ListedProfile {
    pub name: String,
    /// built in, file or uploaded.
    pub source: String,
    /// What kind of device; what is wrong with it, where it cannot be read.
    pub description: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ProfileDetail {
    pub schema: u32,
    pub name: String,
    pub source: String,
    pub toml: String,
    pub description: String,
    pub weight_bits: Vec<u8>,
    pub activation_bits: Vec<u8>,
    /// Images at once where a search does not say.
    pub batch: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ModelList {
    pub schema: u32,
    pub models: Vec<ListedModel>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ListedModel {
    /// As a submission names it; `embedded` is what is searched where none is named.
    pub id: String,
    pub name: String,
    pub bytes: u64,
    /// built in, folder or uploaded.
    pub kind: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DataList {
    pub schema: u32,
    pub data: Vec<ListedData>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ListedData {
    /// As a submission names it.
    pub path: String,
    pub name: String,
}

/// A file that was handed in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Uploaded {
    pub schema: u32,
    /// As a submission names it.
    #[schema(example = "sha256:9f86d081884c7d65…")]
    pub id: String,
    pub name: String,
    pub bytes: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// ok, or stopping.
    pub status: &'static str,
    pub version: &'static str,
}
