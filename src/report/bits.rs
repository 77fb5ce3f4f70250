//! Bits of every layer: weights upwards, activations downwards, as HAQ draws them.

use plotters::prelude::DrawingBackend;

use crate::{
    domain::{Bits, BitwidthPolicy},
    report::{
        ReportError, RunView,
        axis::Axis,
        canvas::{Anchor, Area, Canvas, Figure, Font},
        frame::{Frame, Swatch, draw_hatched, draw_header, plot_area},
        layer_axis::{LayerAxis, layer_names},
        theme,
    },
};

/// Half the height of the strip between both halves, which says what kind a layer is.
const STRIP: f64 = 9.0;

/// The bits of one policy, layer by layer.
#[derive(Debug, Clone)]
pub struct BitsFigure<'a> {
    run: &'a RunView,
    policy: &'a BitwidthPolicy,
    caption: String,
}

impl<'a> BitsFigure<'a> {
    /// The policy a run chose.
    ///
    /// # Errors
    /// [`ReportError::Empty`] while the run has none.
    pub fn of_best(run: &'a RunView) -> Result<Self, ReportError> {
        let best = run.best().ok_or_else(|| {
            ReportError::Empty(format!("run {} has no policy within its budgets", run.id))
        })?;
        Self::new(run, &best.policy, format!("{} · episode {}", run.label(), best.index))
    }

    /// Any policy for the run's network; `caption` says which.
    ///
    /// # Errors
    /// [`ReportError::Empty`] for a policy without layers.
    pub fn new(
        run: &'a RunView,
        policy: &'a BitwidthPolicy,
        caption: String,
    ) -> Result<Self, ReportError> {
        match policy.is_empty() {
            true => Err(ReportError::Empty("the policy has no layers".into())),
            false => Ok(Self { run, policy, caption }),
        }
    }

    fn most_bits(&self) -> u8 {
        let widest = self.policy.weight_bits().chain(self.policy.activation_bits()).max();
        widest.unwrap_or(Bits::EIGHT).max(Bits::EIGHT).get()
    }

    fn title(&self) -> String {
        let description = &self.run.description;
        format!("{} · {} · bits of each layer", description.model, description.profile)
    }

    fn subtitle(&self) -> String {
        let (weights, activations) = self.run.mean_bits(self.policy);
        format!(
            "{} · on average {weights:.2} bits a weight, {activations:.2} bits a layer's input",
            self.caption
        )
    }

    fn kind(&self, index: usize) -> &str {
        self.run.description.layers.get(index).map_or("", |layer| layer.kind.as_str())
    }

    fn is_pinned(&self, index: usize) -> bool {
        self.run.description.layers.get(index).is_some_and(|layer| layer.pinned)
    }

    fn legend(&self) -> Vec<(Swatch, String)> {
        let mut legend = vec![
            (Swatch::Filled(theme::BLUE.into()), "weights, upwards".to_owned()),
            (Swatch::Filled(theme::ORANGE.into()), "activations, downwards".to_owned()),
        ];
        if (0..self.policy.len()).any(|index| self.is_pinned(index)) {
            legend.push((Swatch::Hatched(theme::MUTED), "pinned, not searched".into()));
        }
        if (0..self.policy.len()).any(|index| self.kind(index) == "depthwise") {
            legend.push((Swatch::Filled(theme::INK.into()), "depthwise layer".into()));
        }
        legend
    }

    /// One half: its grid, bars and numbers; `sign` is −1 for the half that hangs.
    fn draw_half<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        layers: &LayerAxis,
        base: f64,
        bit_height: f64,
        half: Half,
    ) -> Result<(), ReportError> {
        let (sign, colour) = match half {
            Half::Weights => (1.0, theme::BLUE),
            Half::Activations => (-1.0, theme::ORANGE),
        };
        let Area { left, right, .. } = layers.area;
        let font = Font::new(theme::SMALL, theme::MUTED).anchor(Anchor::End);
        for bits in (0..=self.most_bits()).step_by(2) {
            let y = base - sign * f64::from(bits) * bit_height;
            canvas.line((left, y), (right, y), theme::GRID, 1.0)?;
            canvas.text((left - 8.0, y + theme::SMALL * 0.36), &bits.to_string(), font)?;
        }
        let numbers = Font::new(layers.number_size(), theme::INK).anchor(Anchor::Middle);
        for (index, layer) in self.policy.layers().iter().enumerate() {
            let bits = match half {
                Half::Weights => layer.weight,
                Half::Activations => layer.activation,
            };
            let end = base - sign * f64::from(bits.get()) * bit_height;
            let (from, to) = layers.bar(index);
            let bar = Area::new(from, base.min(end), to, base.max(end));
            if self.is_pinned(index) {
                draw_hatched(canvas, bar, colour)?;
            } else {
                canvas.fill(bar, colour)?;
            }
            if layers.has_numbers() {
                let y = if sign > 0.0 { end - 4.0 } else { end + numbers.size * 0.72 + 4.0 };
                canvas.text(((from + to) / 2.0, y), &bits.to_string(), numbers)?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum Half {
    Weights,
    Activations,
}

impl Figure for BitsFigure<'_> {
    fn description(&self) -> String {
        format!("{}. {}", self.title(), self.subtitle())
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), ReportError> {
        let top = draw_header(canvas, &self.title(), &self.subtitle(), &self.legend())?;
        let names = layer_names(self.run, self.policy.len());
        let names_height = LayerAxis::names_height(&names);
        let area = plot_area(canvas.width, top, canvas.height - 26.0 - names_height);
        let layers = LayerAxis::new(area, names);
        let middle = (area.top + area.bottom) / 2.0;
        // Room for the number beyond the longest bar.
        let bit_height = (area.height() / 2.0 - STRIP - 16.0) / f64::from(self.most_bits());
        self.draw_half(canvas, &layers, middle - STRIP, bit_height, Half::Weights)?;
        self.draw_half(canvas, &layers, middle + STRIP, bit_height, Half::Activations)?;
        for index in 0..self.policy.len() {
            let (from, to) = layers.bar(index);
            if self.kind(index) == "depthwise" {
                let strip = Area::new(from, middle - STRIP + 4.0, to, middle + STRIP - 4.0);
                canvas.fill(strip, theme::INK)?;
            }
        }
        for y in [middle - STRIP, middle + STRIP] {
            canvas.line((area.left, y), (area.right, y), theme::AXIS, 1.0)?;
        }
        for (name, low, high) in
            [("weight bits", area.top, middle), ("activation bits", middle, area.bottom)]
        {
            let half = Area::new(area.left, low, area.right, high);
            let frame = Frame { area: half, x: Axis::none(), y: Axis::none() };
            frame.draw_y(canvas, name, |_| String::new())?;
        }
        layers.draw_names(canvas)
    }
}
