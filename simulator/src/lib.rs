//! What a quantized network costs on a device, in closed form.

pub mod bits;
pub mod cost;
pub mod workload;

mod bit_serial;
mod calibrate;
mod choices;
mod cost_model;
mod device;
mod energy;
mod footprint;
mod fusion;
mod layers_csv;
mod precision;
pub mod profile;
mod roofline;
mod shape;
mod systolic;
mod tensor_core;
mod tiling;
mod traffic;

pub use bit_serial::{BitSerialArray, SerialOperands};
pub use bits::{Bits, LayerBits};
pub use calibrate::{
    Calibration, CalibrationError, FittedValue, Measurement, MeasurementsError, Residual, calibrate,
};
pub use choices::Choices;
pub use cost::{Bound, Cost, CostKind, LayerCost, NetworkCost};
pub use cost_model::{CostModel, LayerDetail};
pub use energy::EnergyModel;
pub use fusion::FusionArray;
pub use layers_csv::{LayerList, LayersError};
pub use precision::{NativePair, Precision, PrecisionMode, Promotion, Storage};
pub use profile::{Compute, Family, HardwareProfile, ProfileError};
pub use roofline::Roofline;
pub use shape::CostError;
pub use systolic::{Dataflow, DepthwiseMapping, Fill, FoldTraffic, SystolicArray};
pub use tensor_core::TensorCoreArray;
pub use tiling::TilingGoal;
pub use traffic::Traffic;
pub use workload::{Layer, LayerKind, LayerOutput, LiveTensor, Workload, WorkloadError};
