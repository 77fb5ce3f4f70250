//! What a quantized network costs on a device, in closed form.

pub mod bits;
pub mod cost;
pub mod workload;

pub use bits::{Bits, LayerBits};
pub use cost::{Bound, Cost, CostKind, LayerCost};
pub use workload::{Layer, LayerKind, LiveTensor, Workload};
