//! What a quantized network costs on a device, in closed form: latency, energy, size and peak
//! memory for any bitwidths of every layer, a few tens of nanoseconds a layer.
//!
//! # From a profile to a cost
//!
//! A [`HardwareProfile`] is one device in TOML, a [`Workload`] the layers of one network. A
//! [`CostModel`] brings the two together for a batch and answers for any choice of widths:
//!
//! ```
//! use haq_simulator::{Bits, CostModel, HardwareProfile, LayerBits, LayerList, profile};
//!
//! let text = profile::builtin("bismo-edge").unwrap();
//! let device = HardwareProfile::parse(text, "bismo-edge.toml")?;
//! let layers = LayerList::parse(
//!     "name,op,in_channels,out_channels,kernel_h,kernel_w,stride_h,stride_w,\
//!      pad_top,pad_left,pad_bottom,pad_right,groups,in_h,in_w\n\
//!      stem,conv,3,16,3,3,1,1,1,1,1,1,1,32,32\n\
//!      body,conv,16,32,3,3,2,2,1,1,1,1,1,32,32\n",
//!     "network.csv",
//! )?;
//! let model = CostModel::new(&device, &layers.workload, 1)?;
//!
//! let four = Bits::new(4).unwrap();
//! let narrow = vec![LayerBits::new(four, four); model.n_layers()];
//! let wide = vec![LayerBits::EIGHT; model.n_layers()];
//! assert!(model.total(&narrow).latency_s < model.total(&wide).latency_s);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`CostModel::total`] sums a policy from a table, for searches;
//! - [`CostModel::network`] gives every layer's share, what bound it and the peak's step;
//! - [`CostModel::explain`] adds one layer's traffic at each memory level and its [`Roofline`];
//! - [`HardwareProfile::choices`] says which widths make a difference on a device at all;
//! - [`calibrate`] fits a profile to latencies measured on the device.
//!
//! # How a layer is costed
//!
//! A layer is `groups` matrix products of *positions* (P = batch · output height · output
//! width) by *reduction* (K = kernel area · input channels) by *outputs* (N).
//!
//! 1. Its widths are **promoted** to what the array multiplies at ([`Precision`]), never
//!    down. Storage is a matter of its own: packed, in powers of two, or as multiplied.
//! 2. The **array** takes `compute_cycles`, by [`Family`]:
//!    - systolic: folds of the array, each with load, stream, skew and drain; equal to
//!      SCALE-Sim, cycle by cycle ([`SystolicArray`]);
//!    - tensor core: the peak at the promoted width times one calibrated efficiency
//!      ([`TensorCoreArray`]);
//!    - fusion: `(8/w)·(8/a)` multiplications a unit and cycle, in the tiling its
//!      simulator would choose ([`FusionArray`]);
//!    - bit-serial: `w·a` cycles a word, or `a` where weights are parallel
//!      ([`BitSerialArray`]).
//! 3. **Traffic** across the furthest memory takes `memory_cycles`: what the best tiling for
//!    the buffers moves, or what streams past the array, or only the weights where
//!    activations stay on the chip.
//! 4. The layer takes the longer of the two where buffers are doubled and their sum where
//!    they are not, plus what cannot overlap, plus the device's overhead a layer.
//! 5. **Energy** is multiply-accumulates at the promoted widths, every bit read or written at
//!    every level, and idle power over the latency.
//!
//! A network adds the fixed overhead and, on a device with a cache for weights, the time of
//! those that do not fit. Its peak memory is all weights and the largest sum of activations
//! alive at one step.
//!
//! # What it does not know
//!
//! No tensors and no values, so no sparsity; no contention between layers; no operators
//! without weights except as tensors that stay alive. Energies are scaled from published
//! figures and good to a factor of about two; ratios between policies on one device are what
//! they are for. The crate reads no file but a profile, and its results are the same bits on
//! any thread.

pub mod bits;
pub mod cost;
pub mod profile;
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
