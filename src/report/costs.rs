//! Where the cost goes: each layer's share of latency, energy and weight size.

use plotters::prelude::{DrawingBackend, RGBColor};

use crate::{
    domain::{Bound, CostKind, LayerCost, show_cost},
    report::{
        ReportError, RunView,
        axis::{Axis, cost_name},
        canvas::{Area, Canvas, Figure, Font},
        frame::{Frame, Swatch, draw_hatched, draw_header, plot_area},
        layer_axis::{LayerAxis, layer_names},
        theme,
    },
};

/// Peak memory belongs to a moment, not to a layer, and has no share.
const KINDS: [(CostKind, RGBColor); 3] = [
    (CostKind::Latency, theme::BLUE),
    (CostKind::Energy, theme::GREEN),
    (CostKind::Size, theme::ORANGE),
];
const GAP: f64 = 24.0;

/// Each layer's share of three costs under the chosen policy.
#[derive(Debug, Clone)]
pub struct CostFigure<'a> {
    run: &'a RunView,
}

impl<'a> CostFigure<'a> {
    /// # Errors
    /// [`ReportError::Empty`] while the run has no policy within its budgets.
    pub fn of_best(run: &'a RunView) -> Result<Self, ReportError> {
        match run.best_layers.is_empty() {
            true => Err(ReportError::Empty(format!(
                "run {} has no policy within its budgets, and so no cost of its layers",
                run.id
            ))),
            false => Ok(Self { run }),
        }
    }

    fn title(&self) -> String {
        let description = &self.run.description;
        format!("{} · {} · where the cost goes", description.model, description.profile)
    }

    fn subtitle(&self) -> String {
        let memory =
            self.run.best_layers.iter().filter(|layer| layer.bound == Bound::Memory).count();
        format!(
            "{} · chosen policy · {memory} of {} layers wait for memory",
            self.run.label(),
            self.run.best_layers.len()
        )
    }

    fn draw_panel<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        layers: &LayerAxis,
        area: Area,
        (kind, colour): (CostKind, RGBColor),
    ) -> Result<(), ReportError> {
        let costs: Vec<f64> =
            self.run.best_layers.iter().map(|layer| layer_cost(layer, kind)).collect();
        let shares = shares(&costs);
        let largest = shares.iter().copied().fold(0.0, f64::max);
        let y = Axis::over(0.0, (largest * 105.0).max(1.0), 4);
        let frame = Frame { area, x: Axis::none(), y };
        frame.draw_y(canvas, "", |tick| format!("{} %", frame.y.label(tick)))?;
        for (index, layer) in self.run.best_layers.iter().enumerate() {
            let (left, right) = layers.bar(index);
            let bar = Area::new(left, frame.py(shares[index] * 100.0), right, area.bottom);
            let waits = layer.bound == Bound::Memory && kind == CostKind::Latency;
            if waits && bar.height() > 1.0 {
                draw_hatched(canvas, bar, colour)?;
            } else {
                canvas.fill(bar, colour)?;
            }
        }
        frame.draw_base(canvas)?;
        let words = cost_name(kind, self.run.description.batch);
        let total = show_cost(kind, costs.iter().filter(|cost| cost.is_finite()).sum());
        let font = Font::new(theme::SMALL, theme::INK).bold();
        let words = format!("{words}: {total}");
        canvas.text((area.left, area.top - 7.0), &words, font)
    }
}

/// A layer's own part of a cost, in seconds, joules or bytes.
pub fn layer_cost(layer: &LayerCost, kind: CostKind) -> f64 {
    match kind {
        CostKind::Latency => layer.latency_s,
        CostKind::Energy => layer.energy_j,
        CostKind::Size | CostKind::Memory => layer.size_bytes as f64,
    }
}

/// Each layer's share of one cost, 0 to 1; empty for peak memory, which belongs to no layer.
pub fn cost_shares(layers: &[LayerCost], kind: CostKind) -> Vec<f64> {
    match kind {
        CostKind::Memory => Vec::new(),
        kind => shares(&layers.iter().map(|layer| layer_cost(layer, kind)).collect::<Vec<_>>()),
    }
}

/// Each value as a share of their sum; 0 for what is no number, and where there is no sum.
pub fn shares(values: &[f64]) -> Vec<f64> {
    let sum: f64 = values.iter().filter(|value| value.is_finite()).sum();
    let share = |value: &f64| value / sum;
    values.iter().map(share).map(|share| if share.is_finite() { share } else { 0.0 }).collect()
}

impl Figure for CostFigure<'_> {
    fn description(&self) -> String {
        format!("{}. {}", self.title(), self.subtitle())
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), ReportError> {
        let legend = [
            (Swatch::Filled(theme::BLUE.into()), "latency, bound by compute".to_owned()),
            (Swatch::Hatched(theme::BLUE), "latency, bound by memory".to_owned()),
            (Swatch::Filled(theme::GREEN.into()), "energy".to_owned()),
            (Swatch::Filled(theme::ORANGE.into()), "weight size".to_owned()),
        ];
        let top = draw_header(canvas, &self.title(), &self.subtitle(), &legend)? + 14.0;
        let names = layer_names(self.run, self.run.best_layers.len());
        let bottom = canvas.height - 26.0 - LayerAxis::names_height(&names);
        let area = plot_area(canvas.width, top, bottom);
        let layers = LayerAxis::new(area, names);
        let height = (area.height() - 2.0 * GAP) / KINDS.len() as f64;
        for (index, kind) in KINDS.into_iter().enumerate() {
            let top = area.top + index as f64 * (height + GAP);
            let panel = Area::new(area.left, top, area.right, top + height);
            self.draw_panel(canvas, &layers, panel, kind)?;
        }
        layers.draw_names(canvas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_or_are_nothing() {
        assert_eq!(shares(&[1.0, 3.0]), [0.25, 0.75]);
        assert_eq!(shares(&[0.0, 0.0]), [0.0, 0.0]);
        assert_eq!(shares(&[1.0, f64::NAN]), [1.0, 0.0]);
        assert_eq!(shares(&[1.0, f64::INFINITY]), [1.0, 0.0]);
    }
}
