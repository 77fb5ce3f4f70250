//! The layers of a network under the roofs of a device: rate against intensity, both scales
//! in powers of ten.
//!
//! Source: Williams, Waterman and Patterson, "Roofline", CACM 52 (2009).

use plotters::{
    prelude::{DrawingBackend, RGBColor},
    style::Color as _,
};

use crate::{
    domain::Bound,
    report::{
        ReportError,
        axis::Axis,
        canvas::{Anchor, Area, Canvas, Figure, Font, Point},
        frame::{Frame, Marker, Swatch, draw_header, plot_area},
        labels::Placer,
        layer_axis::short_names,
        theme,
    },
};

/// Layers that get their name written beside them: those that take longest.
const NAMED: usize = 10;
/// Widest name, in pixels.
const LONGEST_NAME: f64 = 190.0;
/// Radius of a layer that takes no time, and what is added for one that takes all of it.
const RADIUS: (f64, f64) = (3.75, 13.0);

/// What a roofline plot is drawn from.
#[derive(Debug, Clone, PartialEq)]
pub struct RooflinePlot {
    pub network: String,
    pub profile: String,
    pub policy: String,
    pub batch: u64,
    /// Name and bandwidth of the furthest memory.
    pub memory: String,
    pub bandwidth_bytes_per_s: f64,
    /// Peaks of the array.
    pub roofs: Vec<Roof>,
    pub layers: Vec<RooflineLayer>,
}

/// A peak of the array: the flat part of a roof.
#[derive(Debug, Clone, PartialEq)]
pub struct Roof {
    /// The widths and kinds of layer it holds for.
    pub name: String,
    pub macs_per_s: f64,
}

/// One layer under the roof.
#[derive(Debug, Clone, PartialEq)]
pub struct RooflineLayer {
    pub name: String,
    /// Multiply-accumulates for each byte that leaves the chip; `None` when none does.
    pub intensity_macs_per_byte: Option<f64>,
    /// Multiply-accumulates a second that are reached.
    pub macs_per_s: f64,
    pub latency_s: f64,
    pub bound: Bound,
}

/// The layers of a network on one device.
#[derive(Debug, Clone)]
pub struct RooflineFigure {
    plot: RooflinePlot,
    x: Axis,
    y: Axis,
}

impl RooflineFigure {
    /// # Errors
    /// [`ReportError::Empty`] when no layer has a rate, or the device no roof.
    pub fn new(mut plot: RooflinePlot) -> Result<Self, ReportError> {
        let drawable = |value: f64| value.is_finite() && value > 0.0;
        plot.layers.retain(|layer| drawable(layer.macs_per_s) && drawable(layer.latency_s));
        plot.roofs.retain(|roof| drawable(roof.macs_per_s));
        plot.roofs.sort_by(|a, b| b.macs_per_s.total_cmp(&a.macs_per_s));
        if plot.layers.is_empty() || plot.roofs.is_empty() || !drawable(plot.bandwidth_bytes_per_s)
        {
            return Err(ReportError::Empty(format!(
                "no layer of {} does anything on {}, so there is no roofline",
                plot.network, plot.profile
            )));
        }
        let names = short_names(plot.layers.iter().map(|layer| layer.name.clone()).collect());
        for (layer, name) in plot.layers.iter_mut().zip(names) {
            layer.name = name;
            layer.intensity_macs_per_byte =
                layer.intensity_macs_per_byte.filter(|intensity| drawable(*intensity));
        }
        let ridges = plot.roofs.iter().map(|roof| roof.macs_per_s / plot.bandwidth_bytes_per_s);
        let intensities = plot.layers.iter().filter_map(|layer| layer.intensity_macs_per_byte);
        let (left, right) = range(ridges.chain(intensities));
        let rates = plot.layers.iter().map(|layer| layer.macs_per_s);
        let (low, high) = range(rates.chain(plot.roofs.iter().map(|roof| roof.macs_per_s)));
        let (x, y) = (decades(left / 2.5, right * 4.0), decades(low / 2.5, high * 2.5));
        Ok(Self { plot, x, y })
    }

    fn title(&self) -> String {
        format!("{} · {} · roofline", self.plot.network, self.plot.profile)
    }

    fn subtitle(&self) -> String {
        let layers = &self.plot.layers;
        let waiting = layers.iter().filter(|layer| layer.bound == Bound::Memory).count();
        let batch = match self.plot.batch {
            1 => String::new(),
            batch => format!(" · batch {batch}"),
        };
        format!(
            "{}{batch} · {waiting} of {} layers wait for memory · larger signs take longer",
            self.plot.policy,
            layers.len()
        )
    }

    fn legend(&self) -> Vec<(Swatch, String)> {
        let mut legend = Vec::new();
        for bound in [Bound::Compute, Bound::Memory] {
            if self.plot.layers.iter().any(|layer| layer.bound == bound) {
                let (colour, marker) = sign(bound);
                legend.push((Swatch::Sign(colour, marker), format!("bound by {bound}")));
            }
        }
        if self.plot.layers.iter().any(|layer| layer.intensity_macs_per_byte.is_none()) {
            let words = "hollow, at the right edge: nothing leaves the chip";
            legend.push((Swatch::Hollow(theme::BLUE, Marker::Disc), words.into()));
        }
        legend.push((Swatch::Line(theme::INK), "roof".into()));
        if self.plot.roofs.len() > 1 {
            legend.push((Swatch::Dashed(theme::MUTED), "other roofs".into()));
        }
        legend
    }

    /// The highest roof: what no layer can pass.
    fn highest(&self) -> f64 {
        self.plot.roofs[0].macs_per_s
    }

    /// The slope where it enters the frame, and where it meets a peak; in data.
    fn slope(&self, peak: f64) -> (Point, Point) {
        let bandwidth = self.plot.bandwidth_bytes_per_s;
        let (left, low) = (10f64.powf(self.x.low), 10f64.powf(self.y.low));
        let start = left.max(low / bandwidth);
        ((start, start * bandwidth), (peak / bandwidth, peak))
    }

    fn draw_roofs<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
        placer: &mut Placer,
    ) -> Result<(), ReportError> {
        let right = frame.area.right;
        for roof in self.plot.roofs.iter().skip(1) {
            let from = place(frame, self.slope(roof.macs_per_s).1);
            canvas.dashes(from, (right, from.1), theme::MUTED, 1.5, (6.0, 4.0))?;
            placer.take(Area::new(from.0, from.1 - 2.0, right, from.1 + 2.0), 2.0);
        }
        let (start, ridge) = self.slope(self.highest());
        let (start, ridge) = (place(frame, start), place(frame, ridge));
        canvas.path(&[start, ridge, (right, ridge.1)], theme::INK, 2.25)?;
        placer.take(Area::new(ridge.0, ridge.1 - 2.0, right, ridge.1 + 2.0), 4.0);
        let steps = 60;
        for step in 0..=steps {
            let share = f64::from(step) / f64::from(steps);
            let along = |from: f64, to: f64| from + (to - from) * share;
            placer.take_point((along(start.0, ridge.0), along(start.1, ridge.1)), 5.0, 3.0);
        }
        Ok(())
    }

    /// What lies above the highest roof is out of reach.
    fn shade<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
    ) -> Result<(), ReportError> {
        let (start, ridge) = self.slope(self.highest());
        let (start, ridge) = (place(frame, start), place(frame, ridge));
        let Area { left, top, right, bottom } = frame.area;
        let mut corners = vec![start, ridge, (right, ridge.1), (right, top), (left, top)];
        if start.1 >= bottom - 0.5 {
            corners.push((left, bottom));
        }
        canvas.polygon(&corners, theme::SHADE)
    }

    /// Each peak with its widths over its line, where the one above leaves room; the
    /// bandwidth beside the slope.
    fn name_roofs<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
        placer: &mut Placer,
    ) -> Result<(), ReportError> {
        let right = frame.area.right - 8.0;
        let mut last = f64::NEG_INFINITY;
        for (index, roof) in self.plot.roofs.iter().enumerate() {
            let at = place(frame, self.slope(roof.macs_per_s).1);
            let baseline = at.1 - 6.0;
            if baseline - last < theme::SMALL + 5.0 {
                continue;
            }
            last = baseline;
            let colour = if index == 0 { theme::INK } else { theme::MUTED };
            let font = Font::new(theme::SMALL, colour).bold().anchor(Anchor::End);
            let rate = si(roof.macs_per_s, " ");
            let words = format!("{rate}MAC/s at {}", roof.name);
            let words = font.fit(&words, (right - at.0).max(160.0));
            canvas.text((right, baseline), &words, font)?;
            let left = right - font.width(&words);
            placer.take(Area::new(left, baseline - theme::SMALL, right, baseline + 3.0), 10.0);
        }
        let (start, ridge) = self.slope(self.highest());
        let (start, ridge) = (place(frame, start), place(frame, ridge));
        let at = (start.0 + (ridge.0 - start.0) * 0.62, start.1 + (ridge.1 - start.1) * 0.62);
        let words =
            format!("{}: {}B/s", self.plot.memory, si(self.plot.bandwidth_bytes_per_s, " "));
        // Above the slope nothing else is drawn.
        let font = Font::new(theme::SMALL, theme::INK).bold().anchor(Anchor::End);
        let (width, end) = (font.width(&words), at.0 - 12.0);
        if end - width > frame.area.left + 4.0 {
            return canvas.text((end, at.1 - 4.0), &words, font);
        }
        let font = font.anchor(Anchor::Start);
        canvas.text((frame.area.left + 8.0, frame.area.top + 18.0), &words, font)
    }

    /// Where a layer stands, in pixels; at the right edge when nothing leaves the chip.
    fn at(&self, frame: &Frame, layer: &RooflineLayer) -> Point {
        match layer.intensity_macs_per_byte {
            Some(intensity) => place(frame, (intensity, layer.macs_per_s)),
            None => (frame.area.right - 24.0, place(frame, (1.0, layer.macs_per_s)).1),
        }
    }

    /// The layers, those that take longest first, so that small ones stay visible.
    fn ordered(&self) -> Vec<(&RooflineLayer, f64)> {
        let total: f64 = self.plot.layers.iter().map(|layer| layer.latency_s).sum();
        let mut layers: Vec<(&RooflineLayer, f64)> =
            self.plot.layers.iter().map(|layer| (layer, layer.latency_s / total)).collect();
        layers.sort_by(|a, b| b.1.total_cmp(&a.1));
        layers
    }

    /// Each place where layers stand, with the share and name of the longest and how many
    /// more stand there: equal layers share a place.
    fn names(&self, frame: &Frame) -> Vec<(Point, f64, &str, usize)> {
        let mut names: Vec<(Point, f64, &str, usize)> = Vec::new();
        for (layer, share) in self.ordered() {
            let at = self.at(frame, layer);
            let near = |other: Point| (other.0 - at.0).hypot(other.1 - at.1) < 9.0;
            match names.iter_mut().find(|(other, ..)| near(*other)) {
                Some((.., n_others)) => *n_others += 1,
                None => names.push((at, share, &layer.name, 0)),
            }
        }
        names
    }

    fn draw_layers<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
        placer: &mut Placer,
    ) -> Result<(), ReportError> {
        let layers = self.ordered();
        for &(layer, share) in &layers {
            let (at, radius) = (self.at(frame, layer), radius(share));
            let (colour, marker) = sign(layer.bound);
            if layer.intensity_macs_per_byte.is_none() {
                marker.draw_hollow(canvas, at, radius, colour)?;
            } else {
                marker.draw(canvas, at, radius, colour)?;
            }
            placer.take_point(at, radius + 1.0, 6.0);
        }
        for (at, share, name, n_others) in self.names(frame).into_iter().take(NAMED) {
            let words = match n_others {
                0 => name.to_owned(),
                more => format!("{name} + {more} more"),
            };
            draw_name(canvas, placer, at, radius(share) + 5.0, &words)?;
        }
        Ok(())
    }
}

impl Figure for RooflineFigure {
    fn description(&self) -> String {
        format!("{}. {}", self.title(), self.subtitle())
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), ReportError> {
        let top = draw_header(canvas, &self.title(), &self.subtitle(), &self.legend())?;
        let area = plot_area(canvas.width, top, canvas.height - 66.0);
        let frame = Frame { area, x: self.x.clone(), y: self.y.clone() };
        let mut placer = Placer::new(area);
        self.shade(canvas, &frame)?;
        let off_chip = format!("multiply-accumulates a byte of {}", self.plot.memory);
        frame.draw_x_labelled(canvas, &off_chip, |tick| si(10f64.powf(tick), ""))?;
        let label = |tick: f64| si(10f64.powf(tick), " ").trim_end().to_owned();
        frame.draw_y(canvas, "multiply-accumulates a second", label)?;
        frame.draw_base(canvas)?;
        self.draw_roofs(canvas, &frame, &mut placer)?;
        self.name_roofs(canvas, &frame, &mut placer)?;
        self.draw_layers(canvas, &frame, &mut placer)
    }
}

/// A layer's name where it covers least, with a line to its sign where that is far.
fn draw_name<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    placer: &mut Placer,
    at: Point,
    gap: f64,
    name: &str,
) -> Result<(), ReportError> {
    let font = Font::new(theme::TINY, theme::INK);
    let words = font.fit_end(name, LONGEST_NAME);
    let area = placer.place(at, font.width(&words) + 4.0, theme::TINY + 3.0, gap);
    let nearest = (at.0.clamp(area.left, area.right), at.1.clamp(area.top, area.bottom));
    let (dx, dy) = (nearest.0 - at.0, nearest.1 - at.1);
    let distance = dx.hypot(dy);
    if distance > gap + 6.0 {
        let share = (gap - 4.0) / distance;
        let edge = (at.0 + dx * share, at.1 + dy * share);
        canvas.line(edge, nearest, theme::AXIS, 1.0)?;
    }
    canvas.fill(area, theme::PAPER.mix(0.7))?;
    canvas.text((area.left + 2.0, area.bottom - 4.0), &words, font)
}

/// Colour and shape of what holds a layer back.
fn sign(bound: Bound) -> (RGBColor, Marker) {
    match bound {
        Bound::Compute => (theme::BLUE, Marker::Disc),
        Bound::Memory => (theme::VERMILION, Marker::Diamond),
    }
}

/// Radius of a layer that takes a share of the time; its area grows with the share.
fn radius(share: f64) -> f64 {
    RADIUS.0 + RADIUS.1 * share.sqrt()
}

/// A place in the frame, in pixels, from what stands there; both scales are logarithms.
fn place(frame: &Frame, (x, y): Point) -> Point {
    frame.clamped(x.log10(), y.log10())
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, 0.0), |(low, high), value| (value.min(low), value.max(high)))
}

/// A scale of logarithms, with ticks at powers of ten, or at 1, 2 and 5 of each in a short one.
fn decades(low: f64, high: f64) -> Axis {
    let (low, high) = (low.max(1e-300).log10(), high.min(1e300).log10());
    let mut axis = Axis::over(low, high, 6);
    let n_decades = high - low;
    let digits: &[f64] = if n_decades < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let every = (n_decades / 9.0).ceil().max(1.0) as usize;
    axis.ticks = ((low.floor() as i32)..=(high.ceil() as i32))
        .step_by(every)
        .flat_map(|power| digits.iter().map(move |digit| f64::from(power) + digit.log10()))
        .filter(|tick| (low..=high).contains(tick))
        .collect();
    axis
}

/// A value with the prefix of its size: `500m`, `20`, `1.5k`, `92 T`.
fn si(value: f64, space: &str) -> String {
    const PREFIXES: [(f64, &str); 7] =
        [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")];
    let found = PREFIXES.iter().find(|(size, _)| value >= size * 0.999_999);
    let &(size, prefix) = found.unwrap_or(&(1.0, ""));
    let scaled: f64 = format!("{:.2e}", value / size).parse().unwrap_or(value);
    format!("{scaled}{space}{prefix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_written_with_the_prefix_of_their_size() {
        for (value, expected) in [
            (0.02, "0.02 "),
            (1.0, "1 "),
            (999.0, "999 "),
            (1e3, "1 k"),
            (10f64.powf(9.0), "1 G"),
            (92.16e12, "92.2 T"),
            (3.4e10, "34 G"),
        ] {
            assert_eq!(si(value, " "), expected, "{value}");
        }
    }

    #[test]
    fn a_scale_of_any_length_has_a_few_ticks_in_it() {
        for (low, high) in [(1.0, 5.0), (3.0, 700.0), (1e-4, 1e9), (1e-30, 1e30), (2e9, 2.5e9)] {
            let axis = decades(low, high);
            assert!((1..=11).contains(&axis.ticks.len()), "{low} to {high}: {:?}", axis.ticks);
            assert!(axis.ticks.iter().all(|tick| axis.contains(*tick)), "{low} to {high}");
        }
    }
}
