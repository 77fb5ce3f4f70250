//! The horizontal axis of plots with a bar for each layer.

use plotters::prelude::DrawingBackend;

use crate::report::{
    ReportError, RunView,
    canvas::{Anchor, Area, Canvas, Font, printable},
    theme,
};

/// Widest bar, in pixels.
const WIDEST: f64 = 40.0;
/// Longest name, in pixels.
const LONGEST_NAME: f64 = 132.0;
/// Room a turned name needs, in pixels.
const NAME_PITCH: f64 = 14.0;

/// One slot for each layer, with its name below.
#[derive(Debug, Clone)]
pub struct LayerAxis {
    pub area: Area,
    names: Vec<String>,
}

impl LayerAxis {
    pub fn new(area: Area, names: Vec<String>) -> Self {
        Self { area, names }
    }

    /// How much room the names need below the bars, in pixels.
    pub fn names_height(names: &[String]) -> f64 {
        let font = Font::new(theme::TINY, theme::MUTED);
        let longest = names.iter().map(|name| font.width(name)).fold(0.0, f64::max);
        longest.min(LONGEST_NAME) + 12.0
    }

    fn pitch(&self) -> f64 {
        self.area.width() / self.names.len().max(1) as f64
    }

    /// Left and right edge of a layer's bar.
    pub fn bar(&self, index: usize) -> (f64, f64) {
        let pitch = self.pitch();
        let width = (pitch * 0.74).clamp(0.5, WIDEST);
        let centre = self.area.left + (index as f64 + 0.5) * pitch;
        (centre - width / 2.0, centre + width / 2.0)
    }

    /// Whether a number has room over each bar.
    pub fn has_numbers(&self) -> bool {
        self.pitch() >= 12.0
    }

    pub fn number_size(&self) -> f64 {
        if self.pitch() >= 20.0 { theme::SMALL } else { theme::TINY }
    }

    /// The names, turned upwards; with many layers only every second, third, and so on.
    pub fn draw_names<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), ReportError> {
        let font = Font::new(theme::TINY, theme::MUTED).anchor(Anchor::End).upwards();
        let every = (NAME_PITCH / self.pitch()).ceil().max(1.0) as usize;
        for (index, name) in self.names.iter().enumerate().step_by(every) {
            let (left, right) = self.bar(index);
            let x = (left + right) / 2.0 + theme::TINY * 0.36;
            canvas.text((x, self.area.bottom + 8.0), &font.fit_end(name, LONGEST_NAME), font)?;
        }
        Ok(())
    }
}

/// What each of the first `n_layers` layers is called, shortly; numbered where the run does
/// not say.
pub fn layer_names(run: &RunView, n_layers: usize) -> Vec<String> {
    let layers = &run.description.layers;
    let names: Vec<String> = (0..n_layers)
        .map(|index| match layers.get(index) {
            Some(layer) if !layer.name.trim().is_empty() => layer.name.clone(),
            _ => format!("layer {index}"),
        })
        .collect();
    short_names(names)
}

/// Names without what says nothing: a beginning that all share, such as `/model/`, and an
/// ending that repeats the operation, as ONNX exporters write it.
pub fn short_names(names: Vec<String>) -> Vec<String> {
    let names: Vec<String> = names.iter().map(|name| printable(name)).collect();
    let shared = shared_beginning(&names);
    names.iter().map(|name| without_operation(&name[shared..]).to_owned()).collect()
}

fn without_operation(name: &str) -> &str {
    let endings = ["/Conv", "/ConvTranspose", "/Gemm", "/MatMul"];
    let short = endings.iter().find_map(|ending| name.strip_suffix(ending));
    short.filter(|short| !short.is_empty()).unwrap_or(name)
}

/// Bytes of the longest beginning that ends in `/` or `.` and that all names have.
fn shared_beginning(names: &[String]) -> usize {
    let [first, others @ ..] = names else { return 0 };
    if others.is_empty() {
        return 0;
    }
    let ends = first.char_indices().filter(|(_, c)| matches!(c, '/' | '.')).map(|(i, _)| i + 1);
    let shared = ends.filter(|&end| {
        names.iter().all(|name| name.len() > end && name.starts_with(&first[..end]))
    });
    shared.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_that_says_nothing_is_left_out() {
        for (names, expected) in [
            (vec!["/model/conv1", "/model/conv2"], 7),
            (vec!["a.b.c", "a.b.d", "a.x"], 2),
            (vec!["conv1", "conv2"], 0),
            (vec!["a/", "a/b"], 0),
            (vec!["ä/ö", "ä/ü"], 3),
            (vec!["only/one"], 0),
            (vec![], 0),
        ] {
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            assert_eq!(shared_beginning(&names), expected, "{names:?}");
        }
    }
}
