//! Fits the few numbers of a profile that no datasheet gives to measured latencies.
//!
//! Levenberg-Marquardt on the relative errors, over the logarithms of the efficiencies, the
//! outer bandwidth and the time a layer takes to start. A number that none of the
//! measurements depends on stays as it is.

mod fit;
mod measurements;

pub use measurements::{Measurement, MeasurementsError};

use thiserror::Error;

use crate::{
    bits::{Bits, LayerBits},
    cost_model::CostModel,
    profile::{
        Compute, HardwareProfile,
        patch::{Place, set},
    },
    shape::CostError,
    workload::Workload,
};

/// A profile fitted to measurements.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// The calibrated profile; its source is the old text with the fitted values in it.
    pub profile: HardwareProfile,
    /// What was fitted, with the values before and after.
    pub fitted: Vec<FittedValue>,
    /// One for each measurement, in their order.
    pub residuals: Vec<Residual>,
}

/// One value of a profile before and after.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedValue {
    /// The key in the profile.
    pub key: String,
    pub before: f64,
    pub after: f64,
}

/// How well one measurement is met.
#[derive(Debug, Clone, PartialEq)]
pub struct Residual {
    pub layer: String,
    pub bits: LayerBits,
    pub measured_s: f64,
    /// Modelled before and after the calibration.
    pub before_s: f64,
    pub after_s: f64,
}

impl Residual {
    /// Relative error after the calibration; above 0 when the model is too slow.
    pub fn error(&self) -> f64 {
        self.after_s / self.measured_s - 1.0
    }

    pub fn error_before(&self) -> f64 {
        self.before_s / self.measured_s - 1.0
    }
}

impl Calibration {
    /// Mean of the absolute relative errors.
    pub fn mean_error(&self) -> f64 {
        mean(self.residuals.iter().map(|residual| residual.error().abs()))
    }

    pub fn mean_error_before(&self) -> f64 {
        mean(self.residuals.iter().map(|residual| residual.error_before().abs()))
    }
}

/// Why a profile cannot be calibrated.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum CalibrationError {
    #[error(transparent)]
    Cost(#[from] CostError),
    #[error("no measurement; a table needs at least one line after its header")]
    Empty,
    #[error("measured layer {0:?} is not in the network")]
    UnknownLayer(String),
}

/// Fits a profile to measured latencies of a network's layers, taken at one batch.
///
/// # Errors
/// A workload that cannot be costed, no measurements, or one of a layer that is not there.
pub fn calibrate(
    profile: &HardwareProfile,
    workload: &Workload,
    batch: u64,
    measurements: &[Measurement],
) -> Result<Calibration, CalibrationError> {
    if measurements.is_empty() {
        return Err(CalibrationError::Empty);
    }
    let rows = measurements
        .iter()
        .map(|measurement| {
            let of_name = |layer: &crate::workload::Layer| layer.name == measurement.layer;
            let index = workload.layers.iter().position(of_name);
            let index =
                index.ok_or_else(|| CalibrationError::UnknownLayer(measurement.layer.clone()))?;
            Ok((index, measurement))
        })
        .collect::<Result<Vec<_>, CalibrationError>>()?;

    let base = without_measurements(profile);
    CostModel::new(&base, workload, batch)?;
    let latencies_s = |profile: &HardwareProfile| -> Vec<f64> {
        let model = CostModel::new(profile, workload, batch).expect("it was built before");
        rows.iter().map(|(index, row)| model.layer(*index, row.bits).latency_s).collect()
    };
    let knobs = Knob::of(&base);
    let with = |values: &[f64]| {
        let mut changed = base.clone();
        for (knob, value) in knobs.iter().zip(values) {
            knob.turn(&mut changed, value.exp());
        }
        changed
    };
    let errors = |values: &[f64]| -> Vec<f64> {
        let modelled = latencies_s(&with(values));
        modelled.iter().zip(&rows).map(|(s, (_, row))| s / row.latency_s - 1.0).collect()
    };
    let start: Vec<f64> = knobs.iter().map(|knob| knob.start(&base, measurements)).collect();
    let found = fit::least_squares(&start, &errors);

    let mut calibrated = profile.source().to_owned();
    let mut fitted = Vec::new();
    for (index, knob) in knobs.iter().enumerate() {
        if !fit::matters(&found, index, &errors) {
            continue;
        }
        let after = knob.bounded(found[index].exp());
        calibrated = knob.write(&base, &calibrated, after);
        fitted.push(FittedValue { key: knob.key(&base), before: knob.value(&base), after });
    }
    let profile = HardwareProfile::parse(&calibrated, profile.name())
        .expect("a profile stays one when values within their ranges change");
    let (before, after) = (latencies_s(&base), latencies_s(&without_measurements(&profile)));
    let residuals = rows
        .iter()
        .zip(before.into_iter().zip(after))
        .map(|((_, row), (before_s, after_s))| Residual {
            layer: row.layer.clone(),
            bits: row.bits,
            measured_s: row.latency_s,
            before_s,
            after_s,
        })
        .collect();
    Ok(Calibration { profile, fitted, residuals })
}

/// The analytic part of a profile.
fn without_measurements(profile: &HardwareProfile) -> HardwareProfile {
    HardwareProfile { measured: Default::default(), ..profile.clone() }
}

/// A value that can be fitted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Knob {
    Efficiency,
    /// The efficiency of one native width of a GPU.
    EfficiencyAt(Bits),
    Bandwidth,
    LayerOverhead,
}

impl Knob {
    fn of(profile: &HardwareProfile) -> Vec<Knob> {
        let mut knobs = vec![Knob::Efficiency, Knob::Bandwidth, Knob::LayerOverhead];
        if let Compute::TensorCore(array) = profile.compute() {
            let widths = array.efficiency_by_bits.iter();
            knobs.extend(widths.map(|(width, _)| Knob::EfficiencyAt(*width)));
        }
        knobs
    }

    fn value(self, profile: &HardwareProfile) -> f64 {
        match self {
            Knob::Efficiency => profile.efficiency,
            Knob::EfficiencyAt(width) => match profile.compute() {
                Compute::TensorCore(array) => array.efficiency(width).unwrap_or(1.0),
                _ => 1.0,
            },
            Knob::Bandwidth => profile.bandwidth_bytes_per_s(),
            Knob::LayerOverhead => profile.per_layer_overhead_s,
        }
    }

    /// The logarithm to start from. An overhead of 0 has none: it starts at a part of the
    /// shortest measurement.
    fn start(self, profile: &HardwareProfile, measurements: &[Measurement]) -> f64 {
        let shortest = measurements.iter().map(|row| row.latency_s).fold(f64::INFINITY, f64::min);
        let value = self.value(profile);
        if value > 0.0 { value.ln() } else { (shortest * 0.05).ln() }
    }

    /// The nearest value a profile may have.
    fn bounded(self, value: f64) -> f64 {
        match self {
            Knob::Efficiency | Knob::EfficiencyAt(_) => value.clamp(1e-9, 1.0),
            Knob::Bandwidth => value.clamp(1e-15, 1e18),
            Knob::LayerOverhead => value.clamp(0.0, 1e18),
        }
    }

    fn turn(self, profile: &mut HardwareProfile, value: f64) {
        let value = self.bounded(value);
        match self {
            Knob::Efficiency => profile.efficiency = value,
            Knob::EfficiencyAt(width) => {
                if let Compute::TensorCore(array) = &mut profile.compute {
                    let mut of_width = array.efficiency_by_bits.iter_mut();
                    if let Some((_, e)) = of_width.find(|(native, _)| *native == width) {
                        *e = value;
                    }
                }
            }
            Knob::Bandwidth => {
                let clock_hz = profile.clock_hz;
                let level = profile.memory.last_mut().expect("a profile has memory levels");
                level.bits_per_cycle = Some(value * 8.0 / clock_hz);
            }
            Knob::LayerOverhead => profile.per_layer_overhead_s = value,
        }
    }

    fn key(self, profile: &HardwareProfile) -> String {
        match self {
            Knob::Efficiency => "compute.efficiency".to_owned(),
            Knob::EfficiencyAt(width) => format!("compute.efficiency_by_bits.{width}"),
            Knob::Bandwidth => format!("bandwidth of {}, bytes/s", profile.furthest().name),
            Knob::LayerOverhead => "per_layer_overhead_s".to_owned(),
        }
    }

    /// The text of a profile with the value in it.
    fn write(self, profile: &HardwareProfile, text: &str, value: f64) -> String {
        match self {
            Knob::Efficiency => set(text, Place::Table("compute", "efficiency"), &short(value)),
            Knob::EfficiencyAt(width) => {
                // The table stands in one value: all of it is written, as the text has it now.
                let current = HardwareProfile::parse(text, profile.name())
                    .expect("a profile stays one when values within their ranges change");
                let mut changed = current;
                self.turn(&mut changed, value);
                let Compute::TensorCore(array) = changed.compute() else { return text.to_owned() };
                let entry = |(bits, e): &(Bits, f64)| {
                    let e = if *bits == width { short(*e) } else { e.to_string() };
                    format!("\"{bits}\" = {e}")
                };
                let entries: Vec<String> = array.efficiency_by_bits.iter().map(entry).collect();
                let table = format!("{{ {} }}", entries.join(", "));
                set(text, Place::Table("compute", "efficiency_by_bits"), &table)
            }
            Knob::Bandwidth if profile.furthest().bandwidth_by_cycle => {
                let bytes = short(value / profile.clock_hz);
                set(text, Place::LastMemory("bw_bytes_per_cycle"), &bytes)
            }
            Knob::Bandwidth => set(text, Place::LastMemory("bw_bytes_per_s"), &short(value)),
            Knob::LayerOverhead => set(text, Place::Root("per_layer_overhead_s"), &short(value)),
        }
    }
}

/// Six digits, as TOML writes a float.
fn short(value: f64) -> String {
    format!("{value:.5e}")
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len();
    if count == 0 { 0.0 } else { values.sum::<f64>() / count as f64 }
}
