//! Measured latencies as a table of layer, widths and seconds.

use thiserror::Error;

use crate::{
    bits::{Bits, LayerBits},
    layers_csv::cells,
};

/// The latency of one layer at one pair of widths.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    pub layer: String,
    pub bits: LayerBits,
    /// Seconds for one batch; above 0.
    pub latency_s: f64,
}

/// What is wrong with a table of measurements.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{origin}:{line}: {problem}")]
pub struct MeasurementsError {
    pub origin: String,
    pub line: usize,
    pub problem: String,
}

const COLUMNS: [&str; 4] = ["layer", "weight_bits", "activation_bits", "latency_s"];

impl Measurement {
    /// Reads a CSV with the columns `layer,weight_bits,activation_bits,latency_s`, in any
    /// order; `origin` names it in messages.
    ///
    /// # Errors
    /// [`MeasurementsError`] naming origin and line of the first problem.
    pub fn parse_table(text: &str, origin: &str) -> Result<Vec<Self>, MeasurementsError> {
        let error = |line: usize, problem: String| MeasurementsError {
            origin: origin.to_owned(),
            line: line + 1,
            problem,
        };
        let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
        let mut lines = lines.filter(|(_, line)| !line.trim().is_empty());
        let expected = || format!("no header line; it needs {}", COLUMNS.join(","));
        let (header_line, header) = lines.next().ok_or_else(|| error(0, expected()))?;
        let header: Vec<String> = cells(header).iter().map(|cell| cell.to_lowercase()).collect();
        let mut positions = [0; 4];
        for (position, column) in positions.iter_mut().zip(COLUMNS) {
            *position = header.iter().position(|name| name == column).ok_or_else(|| {
                error(header_line, format!("no column {column}; it needs {}", COLUMNS.join(",")))
            })?;
        }
        lines
            .map(|(line, row)| {
                Self::parse_row(&cells(row), positions).map_err(|problem| error(line, problem))
            })
            .collect()
    }

    fn parse_row(cells: &[String], positions: [usize; 4]) -> Result<Self, String> {
        let cell = |index: usize| {
            let cell = cells.get(positions[index]).filter(|cell| !cell.is_empty());
            cell.ok_or_else(|| format!("{} is empty", COLUMNS[index]))
        };
        let width = |index: usize| {
            let cell = cell(index)?;
            cell.parse().ok().and_then(Bits::new).ok_or_else(|| {
                format!("{} is {cell:?}; it needs to be a number from 1 to 16", COLUMNS[index])
            })
        };
        let latency = cell(3)?;
        let latency_s: f64 =
            latency.parse().ok().filter(|s: &f64| s.is_finite() && *s > 0.0).ok_or_else(|| {
                format!("latency_s is {latency:?}; it needs to be a number of seconds above 0")
            })?;
        Ok(Self { layer: cell(0)?.clone(), bits: LayerBits::new(width(1)?, width(2)?), latency_s })
    }
}
