//! Which layers suffer from few bits: a cell for each layer and width, weights beside
//! activations, coloured by the logarithm of what was measured.

use plotters::prelude::{DrawingBackend, RGBColor};

use crate::{
    domain::{Bits, Operand},
    report::{
        ReportError,
        canvas::{Anchor, Area, Canvas, Figure, Font, printable},
        frame::draw_header,
        layer_axis::short_names,
        theme,
    },
};

/// From little to much; light to dark, so that it reads without colour too.
const COLOURS: [RGBColor; 5] = [
    RGBColor(0xF4, 0xF7, 0xFB),
    RGBColor(0xFD, 0xE2, 0xA8),
    RGBColor(0xF5, 0x9E, 0x5B),
    RGBColor(0xC7, 0x4B, 0x4F),
    RGBColor(0x5B, 0x17, 0x4B),
];
/// Powers of ten below the largest value at most; smaller values look alike.
const DECADES: f64 = 6.0;
/// Pixels.
const ROW: f64 = 19.0;
const LONGEST_NAME: f64 = 190.0;
const SIDE: f64 = 26.0;
const GAP: f64 = 26.0;
const LEGEND: f64 = 64.0;

/// What a heat map is drawn from.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap {
    pub network: String,
    /// What the cells show, with its unit: `KL divergence from float, nats`.
    pub quantity: String,
    /// Images, method, seed: what a reader has to know.
    pub protocol: String,
    /// Names of all layers.
    pub layers: Vec<String>,
    /// Ascending.
    pub bits: Vec<Bits>,
    pub operands: Vec<Operand>,
    pub cells: Vec<HeatCell>,
}

/// One layer, tensor and width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeatCell {
    pub layer_index: usize,
    pub operand: Operand,
    pub bits: Bits,
    /// More is worse; 0 and less have the lightest colour.
    pub value: f64,
}

/// The heat map of a network.
#[derive(Debug, Clone)]
pub struct HeatFigure {
    map: HeatMap,
    /// Powers of ten at the two ends of the scale.
    low: f64,
    high: f64,
}

impl HeatFigure {
    /// # Errors
    /// [`ReportError::Empty`] when there is no cell.
    pub fn new(mut map: HeatMap) -> Result<Self, ReportError> {
        map.cells.retain(|cell| cell.value.is_finite() && cell.layer_index < map.layers.len());
        if map.cells.is_empty() || map.bits.is_empty() || map.operands.is_empty() {
            return Err(ReportError::Empty(format!("no layer of {} was measured", map.network)));
        }
        map.layers = short_names(map.layers);
        let logarithms: Vec<f64> =
            map.cells.iter().filter(|c| c.value > 0.0).map(|c| c.value.log10()).collect();
        let most = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = logarithms.iter().copied().fold(f64::INFINITY, f64::min);
        let (high, least) = if most.is_finite() { (most.ceil(), least) } else { (0.0, -1.0) };
        let low = least.floor().clamp(high - DECADES, high - 1.0);
        Ok(Self { map, low, high })
    }

    fn title(&self) -> String {
        format!("{} · what a layer alone loses at few bits", self.map.network)
    }

    /// 0 for the lightest, 1 for the darkest.
    fn share(&self, value: f64) -> f64 {
        if value <= 0.0 {
            return 0.0;
        }
        ((value.log10() - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn names_width(&self) -> f64 {
        let font = Font::new(theme::TINY, theme::INK);
        let widest = self.map.layers.iter().map(|name| font.width(name)).fold(40.0, f64::max);
        widest.min(LONGEST_NAME) + 10.0
    }

    /// One block of cells an operand, side by side.
    fn panels(&self, top: f64, width: f64) -> Vec<(Operand, Area)> {
        let left = SIDE + self.names_width();
        let n = self.map.operands.len() as f64;
        let panel = (width - SIDE - left - (n - 1.0) * GAP) / n;
        let bottom = top + ROW * self.map.layers.len() as f64;
        let area = |index: usize| {
            let left = left + index as f64 * (panel + GAP);
            Area::new(left, top, left + panel, bottom)
        };
        self.map.operands.iter().enumerate().map(|(index, &one)| (one, area(index))).collect()
    }

    fn draw_names<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        top: f64,
    ) -> Result<(), ReportError> {
        let right = SIDE + self.names_width() - 8.0;
        let font = Font::new(theme::TINY, theme::INK).anchor(Anchor::End);
        for (index, name) in self.map.layers.iter().enumerate() {
            let y = top + (index as f64 + 0.5) * ROW + theme::TINY * 0.36;
            canvas.text((right, y), &font.fit_end(name, LONGEST_NAME), font)?;
        }
        Ok(())
    }

    fn draw_panel<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        operand: Operand,
        area: Area,
    ) -> Result<(), ReportError> {
        let bits = &self.map.bits;
        let column = area.width() / bits.len() as f64;
        let middle = |index: usize| area.left + (index as f64 + 0.5) * column;
        let font = Font::new(theme::SMALL, theme::INK).bold().anchor(Anchor::Middle);
        let centre = (area.left + area.right) / 2.0;
        canvas.text((centre, area.top - 25.0), &format!("{operand}, bits"), font)?;
        let font = Font::new(theme::SMALL, theme::MUTED).anchor(Anchor::Middle);
        for (index, width) in bits.iter().enumerate() {
            canvas.text((middle(index), area.top - 7.0), &width.to_string(), font)?;
        }
        canvas.fill(area, theme::SHADE)?;
        for cell in self.map.cells.iter().filter(|cell| cell.operand == operand) {
            let Some(index) = bits.iter().position(|&width| width == cell.bits) else { continue };
            let left = area.left + index as f64 * column;
            let top = area.top + cell.layer_index as f64 * ROW;
            let place = Area::new(left + 0.5, top + 0.5, left + column - 0.5, top + ROW - 0.5);
            let share = self.share(cell.value);
            canvas.fill(place, colour(share))?;
            if column >= 46.0 {
                let ink = if share > 0.62 { theme::PAPER } else { theme::INK };
                let font = Font::new(theme::TINY, ink).anchor(Anchor::Middle);
                let y = top + ROW / 2.0 + theme::TINY * 0.36;
                canvas.text((middle(index), y), &short(cell.value), font)?;
            }
        }
        Ok(())
    }

    /// The colour scale with a tick at every power of ten.
    fn draw_scale<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        top: f64,
    ) -> Result<(), ReportError> {
        let left = SIDE + self.names_width();
        let words = Font::new(theme::SMALL, theme::INK);
        // Measured wider than here, so that another font of the viewer still fits.
        let beside = words.width(&self.map.quantity) * 1.06 + 16.0;
        let right = (left + 420.0).min(canvas.width - SIDE - beside).max(left + 200.0);
        let bar = Area::new(left, top, right, top + 12.0);
        const STEPS: usize = 84;
        let step = bar.width() / STEPS as f64;
        for index in 0..STEPS {
            let at = bar.left + index as f64 * step;
            let piece = Area::new(at, bar.top, at + step, bar.bottom);
            canvas.fill(piece, colour((index as f64 + 0.5) / STEPS as f64))?;
        }
        canvas.outline(bar, theme::AXIS, 1.0)?;
        let font = Font::new(theme::TINY, theme::MUTED).anchor(Anchor::Middle);
        for power in self.low as i32..=self.high as i32 {
            let share = (f64::from(power) - self.low) / (self.high - self.low);
            let x = bar.left + share * bar.width();
            canvas.line((x, bar.bottom), (x, bar.bottom + 4.0), theme::AXIS, 1.0)?;
            canvas.text((x, bar.bottom + 17.0), &short(10f64.powi(power)), font)?;
        }
        let room = canvas.width - SIDE - bar.right - 16.0;
        let quantity = words.fit(&self.map.quantity, room);
        canvas.text((bar.right + 16.0, bar.top + 10.0), &quantity, words)
    }
}

impl Figure for HeatFigure {
    fn size(&self) -> (u32, u32) {
        let rows = ROW * self.map.layers.len() as f64;
        let width = 330.0 + 62.0 * (self.map.bits.len() * self.map.operands.len()) as f64;
        (width.clamp(760.0, 1400.0) as u32, (130.0 + rows + LEGEND) as u32)
    }

    fn description(&self) -> String {
        let worst = self.map.cells.iter().max_by(|a, b| a.value.total_cmp(&b.value));
        let worst = worst.expect("there is at least one cell");
        let name = printable(&self.map.layers[worst.layer_index]);
        format!(
            "{}. {}. {}: most at {name}, {} at {} bits: {}",
            self.title(),
            self.map.protocol,
            self.map.quantity,
            worst.operand,
            worst.bits,
            short(worst.value)
        )
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), ReportError> {
        let top = draw_header(canvas, &self.title(), &self.map.protocol, &[])?;
        let top = top - 24.0 + 38.0;
        self.draw_names(canvas, top)?;
        for (operand, area) in self.panels(top, canvas.width) {
            self.draw_panel(canvas, operand, area)?;
        }
        self.draw_scale(canvas, top + ROW * self.map.layers.len() as f64 + 18.0)
    }
}

/// The colour of a share of the scale, mixed from its two neighbours.
fn colour(share: f64) -> RGBColor {
    let place = share.clamp(0.0, 1.0) * (COLOURS.len() - 1) as f64;
    let index = (place as usize).min(COLOURS.len() - 2);
    let (from, to, part) = (COLOURS[index], COLOURS[index + 1], place - index as f64);
    let mix = |from: u8, to: u8| {
        (f64::from(from) + (f64::from(to) - f64::from(from)) * part).round() as u8
    };
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

/// Two digits: `0.012`, `3.4e-5`.
fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let rounded: f64 = format!("{value:.1e}").parse().unwrap_or(value);
    if (1e-3..1e3).contains(&rounded.abs()) { rounded.to_string() } else { format!("{rounded:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(values: &[f64]) -> HeatMap {
        let cell = |(layer_index, &value): (usize, &f64)| HeatCell {
            layer_index,
            operand: Operand::Weight,
            bits: Bits::new(4).unwrap(),
            value,
        };
        HeatMap {
            network: "net".into(),
            quantity: "KL".into(),
            protocol: "8 images".into(),
            layers: (0..values.len()).map(|index| format!("layer{index}")).collect(),
            bits: vec![Bits::new(4).unwrap()],
            operands: vec![Operand::Weight],
            cells: values.iter().enumerate().map(cell).collect(),
        }
    }

    #[test]
    fn the_scale_spans_whole_powers_of_ten_but_not_endlessly_many() {
        for (values, low, high) in [
            (&[0.02, 3.0][..], -2.0, 1.0),
            (&[1e-12, 0.5], -6.0, 0.0),
            (&[0.3, 0.4], -1.0, 0.0),
            (&[0.0, -1e-9], -1.0, 0.0),
        ] {
            let figure = HeatFigure::new(map(values)).unwrap();
            assert_eq!((figure.low, figure.high), (low, high), "{values:?}");
            assert!(figure.svg().unwrap().ends_with("</svg>\n"), "{values:?}");
        }
        assert!(matches!(HeatFigure::new(map(&[f64::NAN])), Err(ReportError::Empty(_))));
    }

    #[test]
    fn more_is_darker() {
        let light = |share: f64| {
            let RGBColor(r, g, b) = colour(share);
            0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b)
        };
        let steps: Vec<f64> = (0..=20).map(|step| light(f64::from(step) / 20.0)).collect();
        assert!(steps.windows(2).all(|pair| pair[1] < pair[0]), "{steps:?}");
    }

    #[test]
    fn values_are_written_with_two_digits() {
        for (value, expected) in
            [(0.0, "0"), (0.01234, "0.012"), (3.44e-5, "3.4e-5"), (1.0, "1"), (9.99, "10")]
        {
            assert_eq!(short(value), expected);
        }
    }
}
