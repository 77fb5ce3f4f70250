//! Where a layer stands under the roof of a device: its rate against what arithmetic and
//! bandwidth allow.
//!
//! Source: Williams, Waterman and Patterson, "Roofline", CACM 52 (2009).

use serde::{Deserialize, Serialize};

/// One layer's point in a roofline plot, and the roof above it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    /// Multiply-accumulates for each byte across the furthest level; `None` when nothing
    /// crosses it.
    pub intensity_macs_per_byte: Option<f64>,
    /// Multiply-accumulates a second, overheads included.
    pub macs_per_s: f64,
    /// The flat part of the roof: the array's rate at the layer's promoted widths.
    pub peak_macs_per_s: f64,
    /// The roof above this layer: the lower of the peak and intensity times bandwidth.
    pub attainable_macs_per_s: f64,
}

impl Roofline {
    pub(crate) fn new(
        macs: f64,
        bytes: f64,
        latency_s: f64,
        peak_macs_per_s: f64,
        bandwidth_bytes_per_s: f64,
    ) -> Self {
        let intensity = (bytes > 0.0).then(|| macs / bytes);
        let by_bandwidth =
            intensity.map_or(f64::INFINITY, |intensity| intensity * bandwidth_bytes_per_s);
        Self {
            intensity_macs_per_byte: intensity,
            macs_per_s: macs / latency_s,
            peak_macs_per_s,
            attainable_macs_per_s: peak_macs_per_s.min(by_bandwidth),
        }
    }
}
