//! What a quantized network costs on a device, in closed form.

pub mod bits;
pub mod cost;
pub mod workload;

mod bit_serial;
mod choices;
mod cost_model;
mod device;
mod energy;
mod footprint;
mod fusion;
mod layers_csv;
mod precision;
pub mod profile;
mod shape;
mod systolic;
mod tiling;
mod traffic;

pub use bit_serial::{BitSerialArray, SerialOperands};
pub use bits::{Bits, LayerBits};
pub use choices::Choices;
pub use cost::{Bound, Cost, CostKind, LayerCost, NetworkCost};
pub use cost_model::{CostModel, LayerDetail};
pub use energy::EnergyModel;
pub use fusion::FusionArray;
pub use layers_csv::{LayerList, LayersError};
pub use precision::{NativePair, Precision, PrecisionMode, Promotion, Storage};
pub use profile::{Compute, Family, HardwareProfile, ProfileError};
pub use shape::CostError;
pub use systolic::{Dataflow, DepthwiseMapping, Fill, SystolicArray};
pub use tiling::TilingGoal;
pub use traffic::Traffic;
pub use workload::{Layer, LayerKind, LayerOutput, LiveTensor, Workload, WorkloadError};
