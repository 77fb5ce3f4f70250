//! Methods side by side: quality against weight size, one line and sign a method.

use plotters::{
    prelude::{DrawingBackend, RGBColor},
    style::Color as _,
};

use crate::{
    domain::{CostKind, LayerBits, Measure},
    report::{
        ReportError,
        axis::{Axis, Unit, lowest_shown, measure_name},
        canvas::{Area, Canvas, Figure, Font, Point},
        frame::{Frame, Marker, Swatch, draw_header, plot_area},
        labels::Placer,
        theme,
    },
};

/// Pixels between signs of equal size, and how far the outer ones may stand apart.
const ASIDE: (f64, f64) = (9.0, 54.0);
/// Share of the points, best first, that the vertical scale is made for.
const FOCUS: f64 = 0.7;

/// What a comparison is drawn from.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparisonPlot {
    pub network: String,
    pub measure: Measure,
    /// Images, seeds, pins: what a reader has to know.
    pub protocol: String,
    /// By the measure, more is better; none where it could not be measured.
    pub float_quality: Option<f64>,
    pub methods: Vec<ComparedMethod>,
}

/// One method with its points.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparedMethod {
    pub name: String,
    pub points: Vec<ComparedPoint>,
}

/// One choice of bits.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparedPoint {
    pub bits: LayerBits,
    pub size_bytes: f64,
    /// By the measure, more is better; the mean over the seeds.
    pub quality: f64,
    /// Standard deviation over the seeds, where there are several.
    pub deviation: Option<f64>,
}

/// Quality against size.
#[derive(Debug, Clone)]
pub struct ComparisonFigure {
    plot: ComparisonPlot,
    size: Unit,
    quality: Unit,
    x: Axis,
    y: Axis,
}

impl ComparisonFigure {
    /// # Errors
    /// [`ReportError::Empty`] when no method has a point.
    pub fn new(mut plot: ComparisonPlot) -> Result<Self, ReportError> {
        for method in &mut plot.methods {
            method.points.retain(|p| p.quality.is_finite() && p.size_bytes.is_finite());
            method.points.sort_by(|a, b| {
                a.size_bytes
                    .total_cmp(&b.size_bytes)
                    .then(a.bits.activation.cmp(&b.bits.activation))
            });
        }
        plot.methods.retain(|method| !method.points.is_empty());
        let points: Vec<&ComparedPoint> = plot.methods.iter().flat_map(|m| &m.points).collect();
        if points.is_empty() {
            let reason = format!("no method was measured on {}", plot.network);
            return Err(ReportError::Empty(reason));
        }
        let sizes = || points.iter().map(|point| point.size_bytes);
        let largest = sizes().fold(0.0, f64::max);
        let size = Unit::of_cost(CostKind::Size, largest);
        let quality = Unit::of_measure(plot.measure);
        let smallest = sizes().fold(largest, f64::min);
        let x = Axis::around(smallest * size.factor, largest * size.factor, 0.12, 7);
        let float = plot.float_quality.filter(|quality| quality.is_finite());
        let qualities = || points.iter().map(|point| point.quality);
        let best = qualities().chain(float).fold(f64::NEG_INFINITY, f64::max);
        let low = lowest_shown(best, qualities(), FOCUS);
        let (top, bottom) = (best * quality.factor.abs(), low * quality.factor.abs());
        let y = Axis::around(bottom.min(top - quality.least_range()), top, 0.07, 7);
        Ok(Self { plot, size, quality, x, y })
    }

    fn title(&self) -> String {
        format!("{} · {} against weight size", self.plot.network, measure_name(self.plot.measure))
    }

    fn subtitle(&self) -> String {
        let aside =
            if self.plot.methods.len() > 1 { " · equal sizes stand side by side" } else { "" };
        format!("{}{aside}", self.plot.protocol)
    }

    fn legend(&self, frame: &Frame) -> Vec<(Swatch, String)> {
        let methods = self.plot.methods.iter().enumerate().map(|(index, method)| {
            let (colour, marker) = sign(index);
            (Swatch::Series(colour, marker), method.name.clone())
        });
        let mut legend: Vec<(Swatch, String)> = methods.collect();
        if let Some(float) = self.plot.float_quality {
            let shown = self.plot.measure.show(float);
            legend.push((Swatch::Dashed(theme::INK), format!("float, {shown}")));
        }
        let mut points = self.plot.methods.iter().flat_map(|method| &method.points);
        if points.any(|point| self.is_outside(frame, point)) {
            legend.push((Swatch::Hollow(theme::MUTED, Marker::Below), "worse than shown".into()));
        }
        legend
    }

    /// A quality on the vertical scale, where more is better; a distance gets its sign back in
    /// the labels.
    fn y_of(&self, quality: f64) -> f64 {
        quality * self.quality.factor.abs()
    }

    fn is_outside(&self, frame: &Frame, point: &ComparedPoint) -> bool {
        !frame.y.contains(self.y_of(point.quality))
    }

    /// Where a point stands, in pixels: beside its neighbours of equal size, at the edge where
    /// it is outside.
    fn at(&self, frame: &Frame, method: usize, point: &ComparedPoint) -> Point {
        let (x, y) = frame.clamped(point.size_bytes * self.size.factor, self.y_of(point.quality));
        let n_methods = self.plot.methods.len();
        let aside = ASIDE.0.min(ASIDE.1 / n_methods as f64);
        (x + (method as f64 - (n_methods - 1) as f64 / 2.0) * aside, y)
    }

    fn draw_float<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
        placer: &mut Placer,
    ) -> Result<(), ReportError> {
        let Some(float) = self.plot.float_quality else { return Ok(()) };
        let y = frame.py(self.y_of(float));
        let Area { left, right, .. } = frame.area;
        placer.take(Area::new(left, y - 2.0, right, y + 2.0), 3.0);
        canvas.dashes((left, y), (right, y), theme::INK, 1.75, (6.0, 3.0))
    }

    fn draw_lines<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
    ) -> Result<(), ReportError> {
        for (index, method) in self.plot.methods.iter().enumerate() {
            let path: Vec<Point> =
                method.points.iter().map(|point| self.at(frame, index, point)).collect();
            canvas.path(&path, sign(index).0.mix(0.45), 1.75)?;
        }
        Ok(())
    }

    fn draw_points<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
        placer: &mut Placer,
    ) -> Result<(), ReportError> {
        for (index, method) in self.plot.methods.iter().enumerate() {
            let (colour, marker) = sign(index);
            for point in &method.points {
                let at = self.at(frame, index, point);
                placer.take_point(at, 7.0, 8.0);
                if self.is_outside(frame, point) {
                    Marker::Below.draw_hollow(canvas, (at.0, at.1 - 6.0), 6.0, colour)?;
                    continue;
                }
                if let Some(deviation) = point.deviation.filter(|d| *d > 0.0) {
                    let end = |sign: f64| {
                        let y = self.y_of(point.quality + sign * deviation);
                        (at.0, frame.clamped(0.0, y).1)
                    };
                    canvas.line(end(-1.0), end(1.0), colour, 1.5)?;
                }
                marker.draw(canvas, at, 5.0, colour)?;
            }
        }
        Ok(())
    }

    /// Names each choice of bits once, beside its best point.
    fn name_bits<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
        placer: &mut Placer,
    ) -> Result<(), ReportError> {
        let mut best: Vec<(LayerBits, f64, Point)> = Vec::new();
        for (index, method) in self.plot.methods.iter().enumerate() {
            for point in &method.points {
                let at = self.at(frame, index, point);
                match best.iter_mut().find(|(bits, ..)| *bits == point.bits) {
                    Some(known) if known.1 >= point.quality => {}
                    Some(known) => *known = (point.bits, point.quality, at),
                    None => best.push((point.bits, point.quality, at)),
                }
            }
        }
        let font = Font::new(theme::SMALL, theme::INK).bold();
        for (bits, _, at) in best {
            let words = format!("W{} A{}", bits.weight, bits.activation);
            let area = placer.place(at, font.width(&words) + 4.0, theme::SMALL + 3.0, 10.0);
            canvas.fill(area, theme::PAPER.mix(0.8))?;
            canvas.text((area.left + 2.0, area.bottom - 4.0), &words, font)?;
        }
        Ok(())
    }
}

impl Figure for ComparisonFigure {
    fn description(&self) -> String {
        format!("{}. {}", self.title(), self.subtitle())
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), ReportError> {
        let mut frame = Frame {
            area: plot_area(canvas.width, 0.0, canvas.height - 66.0),
            x: self.x.clone(),
            y: self.y.clone(),
        };
        let legend = self.legend(&frame);
        frame.area.top = draw_header(canvas, &self.title(), &self.subtitle(), &legend)?;
        let mut placer = Placer::new(frame.area);
        frame.draw_x(canvas, &format!("weight size, {}", self.size.name))?;
        let unit = match self.quality.name {
            "" => String::new(),
            name => format!(", {name}"),
        };
        let name = format!("{}{unit}", measure_name(self.plot.measure));
        frame.draw_y(canvas, &name, |tick| self.y.label(tick * self.quality.factor.signum()))?;
        frame.draw_base(canvas)?;
        self.draw_float(canvas, &frame, &mut placer)?;
        self.draw_lines(canvas, &frame)?;
        self.draw_points(canvas, &frame, &mut placer)?;
        self.name_bits(canvas, &frame, &mut placer)
    }
}

/// Colour and shape of a method; two methods share neither pair before the thirteenth.
fn sign(index: usize) -> (RGBColor, Marker) {
    let colour = theme::SERIES[index % theme::SERIES.len()];
    (colour, Marker::SERIES[index % Marker::SERIES.len()])
}
