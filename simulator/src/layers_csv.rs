//! A network as a table of layers: this project's columns, or SCALE-Sim's topology files.

use thiserror::Error;

use crate::{
    bits::{Bits, LayerBits},
    workload::{Layer, LayerKind, Workload},
};

/// Layers read from a table, with the widths it gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerList {
    pub workload: Workload,
    /// One for each layer; `None` where the table has no widths or leaves them empty.
    pub bits: Vec<Option<LayerBits>>,
}

/// What is wrong with a table of layers.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LayersError {
    #[error("{origin}: no header line; it needs {expected}")]
    NoHeader { origin: String, expected: String },
    #[error("{origin}:{line}: no column {column}; it needs {expected}")]
    NoColumn { origin: String, line: usize, column: String, expected: String },
    #[error("{origin}:{line}: unknown column {column:?}; known are {known}")]
    UnknownColumn { origin: String, line: usize, column: String, known: String },
    #[error("{origin}:{line}: {problem}")]
    Row { origin: String, line: usize, problem: String },
    #[error("{origin}: no layer after the header line")]
    Empty { origin: String },
}

const REQUIRED: [&str; 15] = [
    "name",
    "op",
    "in_channels",
    "out_channels",
    "kernel_h",
    "kernel_w",
    "stride_h",
    "stride_w",
    "pad_top",
    "pad_left",
    "pad_bottom",
    "pad_right",
    "groups",
    "in_h",
    "in_w",
];
const OPTIONAL: [&str; 5] = ["weight_bits", "activation_bits", "dilation_h", "dilation_w", "bias"];

/// SCALE-Sim's columns for convolutions, in their order; a header that starts so is taken
/// for one of its topology files. Its maps include the padding.
const SCALE_SIM: [&str; 8] = [
    "layer name",
    "ifmap height",
    "ifmap width",
    "filter height",
    "filter width",
    "channels",
    "num filter",
    "strides",
];
/// Its columns for matrix products of `M × K` by `K × N`.
const SCALE_SIM_GEMM: [&str; 4] = ["layer", "m", "n", "k"];

impl LayerList {
    /// Reads a table; `origin` names it in messages.
    ///
    /// # Errors
    /// [`LayersError`] naming origin, line and column of the first problem.
    pub fn parse(text: &str, origin: &str) -> Result<Self, LayersError> {
        let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
        let mut lines = lines.filter(|(_, line)| !line.trim().is_empty());
        let (header_line, header) = lines.next().ok_or_else(|| LayersError::NoHeader {
            origin: origin.to_owned(),
            expected: REQUIRED.join(","),
        })?;
        let format = Format::of(&cells(header), origin, header_line + 1)?;
        let (mut layers, mut bits) = (Vec::new(), Vec::new());
        for (line, row) in lines {
            let error =
                |problem| LayersError::Row { origin: origin.to_owned(), line: line + 1, problem };
            let (layer, widths) = format.layer(&cells(row)).map_err(error)?;
            layer.check().map_err(|problem| error(format!("{}: {problem}", layer.name)))?;
            layers.push(layer);
            bits.push(widths);
        }
        if layers.is_empty() {
            return Err(LayersError::Empty { origin: origin.to_owned() });
        }
        Ok(Self { workload: Workload::of_layers(layers), bits })
    }
}

/// Cells of a line, without the spaces and quotes around them.
pub(crate) fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    cells.push(cell);
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

enum Format {
    /// The names of the columns, in the table's order.
    Named(Vec<String>),
    ScaleSim,
    ScaleSimGemm,
}

impl Format {
    fn of(header: &[String], origin: &str, line: usize) -> Result<Self, LayersError> {
        let names: Vec<String> = header.iter().map(|name| name.to_lowercase()).collect();
        // The first column of SCALE-Sim's files is spelled in several ways.
        if names.len() >= 8 && names[1..8].iter().zip(&SCALE_SIM[1..]).all(|(a, b)| same(a, b)) {
            return Ok(Format::ScaleSim);
        }
        if names.len() >= 4 && names[1..4].iter().zip(&SCALE_SIM_GEMM[1..]).all(|(a, b)| a == b) {
            return Ok(Format::ScaleSimGemm);
        }
        let known = || REQUIRED.iter().chain(&OPTIONAL);
        if let Some(column) = REQUIRED.iter().find(|name| !names.iter().any(|n| n == *name)) {
            return Err(LayersError::NoColumn {
                origin: origin.to_owned(),
                line,
                column: (*column).to_owned(),
                expected: format!("{}, or the columns of a SCALE-Sim topology", REQUIRED.join(",")),
            });
        }
        let unknown = names.iter().enumerate().find(|(index, name)| {
            !known().any(|known| known == name) || names[..*index].contains(name)
        });
        match unknown {
            Some((_, column)) => Err(LayersError::UnknownColumn {
                origin: origin.to_owned(),
                line,
                column: column.clone(),
                known: known().copied().collect::<Vec<_>>().join(", "),
            }),
            None => Ok(Format::Named(names)),
        }
    }

    fn layer(&self, cells: &[String]) -> Result<(Layer, Option<LayerBits>), String> {
        match self {
            Format::Named(names) => Row { names, cells }.layer(),
            Format::ScaleSim => scale_sim_conv(cells).map(|layer| (layer, None)),
            Format::ScaleSimGemm => scale_sim_gemm(cells).map(|layer| (layer, None)),
        }
    }
}

/// Whether two headings say the same, however they are spaced.
fn same(a: &str, b: &str) -> bool {
    let plain = |text: &str| text.replace([' ', '_'], "");
    plain(a) == plain(b)
}

/// One line of a table with named columns.
struct Row<'a> {
    names: &'a [String],
    cells: &'a [String],
}

impl Row<'_> {
    fn layer(&self) -> Result<(Layer, Option<LayerBits>), String> {
        if self.cells.len() != self.names.len() {
            return Err(format!(
                "{} cells; the header has {} columns",
                self.cells.len(),
                self.names.len()
            ));
        }
        let (in_channels, groups) = (self.count("in_channels")?, self.count("groups")?);
        let kind = match self.text("op")?.to_lowercase().as_str() {
            "conv" if groups > 1 && groups == in_channels => LayerKind::Depthwise,
            "conv" => LayerKind::Conv,
            "depthwise" | "dw" => LayerKind::Depthwise,
            "linear" | "fc" | "gemm" | "matmul" => LayerKind::Linear,
            other => {
                return Err(format!("op is {other:?}; it needs to be conv, depthwise or linear"));
            }
        };
        let layer = Layer {
            name: self.text("name")?.to_owned(),
            kind,
            in_channels,
            out_channels: self.count("out_channels")?,
            kernel_h: self.count("kernel_h")?,
            kernel_w: self.count("kernel_w")?,
            stride_h: self.count("stride_h")?,
            stride_w: self.count("stride_w")?,
            pad_top: self.count("pad_top")?,
            pad_left: self.count("pad_left")?,
            pad_bottom: self.count("pad_bottom")?,
            pad_right: self.count("pad_right")?,
            dilation_h: self.count_or("dilation_h", 1)?,
            dilation_w: self.count_or("dilation_w", 1)?,
            groups,
            in_h: self.count("in_h")?,
            in_w: self.count("in_w")?,
            bias: self.count_or("bias", 1)? != 0,
        };
        Ok((layer, self.bits()?))
    }

    fn text(&self, column: &str) -> Result<&str, String> {
        let index = self.names.iter().position(|name| name == column);
        let cell = index.and_then(|index| self.cells.get(index)).map(String::as_str);
        cell.filter(|cell| !cell.is_empty()).ok_or_else(|| format!("{column} is empty"))
    }

    fn count(&self, column: &str) -> Result<u64, String> {
        count(column, self.text(column)?)
    }

    fn count_or(&self, column: &str, default: u64) -> Result<u64, String> {
        self.text(column).map_or(Ok(default), |cell| count(column, cell))
    }

    fn bits(&self) -> Result<Option<LayerBits>, String> {
        let width = |column: &str| match self.text(column) {
            Err(_) => Ok(None),
            Ok(cell) => cell.parse().ok().and_then(Bits::new).map(Some).ok_or_else(|| {
                format!("{column} is {cell:?}; it needs to be a whole number from 1 to 16")
            }),
        };
        match (width("weight_bits")?, width("activation_bits")?) {
            (Some(weight), Some(activation)) => Ok(Some(LayerBits::new(weight, activation))),
            (None, None) => Ok(None),
            _ => Err("weight_bits and activation_bits need to be given together".to_owned()),
        }
    }
}

fn count(column: &str, cell: &str) -> Result<u64, String> {
    cell.parse().map_err(|_| format!("{column} is {cell:?}; it needs to be a whole number"))
}

/// The counts of a SCALE-Sim line after its name.
fn scale_sim_counts<const N: usize>(
    cells: &[String],
    columns: &[&str],
) -> Result<[u64; N], String> {
    let mut counts = [0; N];
    for (index, value) in counts.iter_mut().enumerate() {
        let column = columns[index + 1];
        let cell = cells.get(index + 1).ok_or_else(|| format!("{column} is missing"))?;
        *value = count(column, cell)?;
    }
    Ok(counts)
}

fn scale_sim_conv(cells: &[String]) -> Result<Layer, String> {
    let [in_h, in_w, kernel_h, kernel_w, in_channels, out_channels, stride] =
        scale_sim_counts(cells, &SCALE_SIM)?;
    Ok(Layer {
        name: cells[0].clone(),
        kind: LayerKind::Conv,
        in_channels,
        out_channels,
        kernel_h,
        kernel_w,
        stride_h: stride,
        stride_w: stride,
        pad_top: 0,
        pad_left: 0,
        pad_bottom: 0,
        pad_right: 0,
        dilation_h: 1,
        dilation_w: 1,
        groups: 1,
        in_h,
        in_w,
        bias: true,
    })
}

fn scale_sim_gemm(cells: &[String]) -> Result<Layer, String> {
    let [rows, out_channels, in_channels] = scale_sim_counts(cells, &SCALE_SIM_GEMM)?;
    Ok(Layer { in_h: rows, ..Layer::linear(cells[0].clone(), in_channels, out_channels) })
}
