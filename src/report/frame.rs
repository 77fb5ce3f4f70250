//! The frame of a plot: title, legend, axes and grid around a rectangle of data.

use plotters::prelude::{DrawingBackend, RGBAColor, RGBColor};

use crate::report::{
    ReportError,
    axis::Axis,
    canvas::{Anchor, Area, Canvas, Font, Point},
    theme,
};

/// Space left and right of everything.
const MARGIN: f64 = 26.0;

/// A rectangle of data with its two scales.
#[derive(Debug, Clone)]
pub struct Frame {
    pub area: Area,
    pub x: Axis,
    pub y: Axis,
}

impl Frame {
    /// Where a value of the horizontal scale stands, in pixels.
    pub fn px(&self, x: f64) -> f64 {
        self.area.left + self.x.share(x) * self.area.width()
    }

    /// Where a value of the vertical scale stands, in pixels.
    pub fn py(&self, y: f64) -> f64 {
        self.area.bottom - self.y.share(y) * self.area.height()
    }

    pub fn at(&self, x: f64, y: f64) -> Point {
        (self.px(x), self.py(y))
    }

    /// The same, moved to the nearest place inside.
    pub fn clamped(&self, x: f64, y: f64) -> Point {
        let (x, y) = self.at(x, y);
        let Area { left, top, right, bottom } = self.area;
        (x.clamp(left, right), y.clamp(top, bottom))
    }

    /// Horizontal grid lines with their labels, and the name of the vertical axis.
    pub fn draw_y<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        name: &str,
        label: impl Fn(f64) -> String,
    ) -> Result<(), ReportError> {
        let Area { left, right, top, bottom } = self.area;
        let font = Font::new(theme::SMALL, theme::MUTED).anchor(Anchor::End);
        for &tick in &self.y.ticks {
            let y = self.py(tick);
            canvas.line((left, y), (right, y), theme::GRID, 1.0)?;
            canvas.text((left - 8.0, y + theme::SMALL * 0.36), &label(tick), font)?;
        }
        let font = Font::new(theme::BODY, theme::INK).anchor(Anchor::Middle).upwards();
        let name = font.fit(name, (bottom - top) + 40.0);
        canvas.text((MARGIN + 8.0, (top + bottom) / 2.0), &name, font)
    }

    /// Vertical grid lines with their labels, and the name of the horizontal axis.
    pub fn draw_x<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        name: &str,
    ) -> Result<(), ReportError> {
        self.draw_x_labelled(canvas, name, |tick| self.x.label(tick))
    }

    /// The same with labels of one's own.
    pub fn draw_x_labelled<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        name: &str,
        label: impl Fn(f64) -> String,
    ) -> Result<(), ReportError> {
        let Area { left, right, top, bottom } = self.area;
        let font = Font::new(theme::SMALL, theme::MUTED).anchor(Anchor::Middle);
        for &tick in &self.x.ticks {
            let x = self.px(tick);
            canvas.line((x, top), (x, bottom), theme::GRID, 1.0)?;
            canvas.text((x, bottom + 20.0), &label(tick), font)?;
        }
        let font = Font::new(theme::BODY, theme::INK).anchor(Anchor::Middle);
        canvas.text(((left + right) / 2.0, bottom + 46.0), name, font)
    }

    /// The line data stands on.
    pub fn draw_base<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), ReportError> {
        let Area { left, right, bottom, .. } = self.area;
        canvas.line((left, bottom), (right, bottom), theme::AXIS, 1.25)
    }
}

/// A sign in the legend or on the data. Shapes differ so that colour need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    Disc,
    Square,
    Diamond,
    Triangle,
    /// Points down: what lies below the frame.
    Below,
    Star,
}

impl Marker {
    /// The markers of runs laid over each other, in order.
    pub const SERIES: [Marker; 4] =
        [Marker::Disc, Marker::Diamond, Marker::Triangle, Marker::Square];

    /// The corners around `centre`; `None` for a disc.
    fn corners(self, (x, y): Point, r: f64) -> Option<Vec<Point>> {
        Some(match self {
            Marker::Disc => return None,
            Marker::Square => {
                let r = r * 0.88;
                vec![(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)]
            }
            Marker::Diamond => {
                let r = r * 1.25;
                vec![(x, y - r), (x + r, y), (x, y + r), (x - r, y)]
            }
            Marker::Triangle => {
                let r = r * 1.2;
                vec![(x, y - r), (x + r, y + r * 0.75), (x - r, y + r * 0.75)]
            }
            Marker::Below => {
                let r = r * 1.1;
                vec![(x - r, y - r * 0.7), (x + r, y - r * 0.7), (x, y + r)]
            }
            Marker::Star => (0..10)
                .map(|i| {
                    let angle = std::f64::consts::PI * (f64::from(i) / 5.0 - 0.5);
                    let radius = if i % 2 == 0 { r * 1.5 } else { r * 0.62 };
                    (x + radius * angle.cos(), y + radius * angle.sin())
                })
                .collect(),
        })
    }

    /// A filled sign with a rim of paper, so that it stands off what lies beneath.
    pub fn draw<DB: DrawingBackend>(
        self,
        canvas: &Canvas<DB>,
        centre: Point,
        radius: f64,
        colour: impl Into<RGBAColor>,
    ) -> Result<(), ReportError> {
        self.shape(canvas, centre, radius + 1.5, theme::PAPER.into())?;
        self.shape(canvas, centre, radius, colour.into())
    }

    /// A hollow sign: its rim alone.
    pub fn draw_hollow<DB: DrawingBackend>(
        self,
        canvas: &Canvas<DB>,
        centre: Point,
        radius: f64,
        colour: impl Into<RGBAColor>,
    ) -> Result<(), ReportError> {
        self.draw(canvas, centre, radius, colour)?;
        self.shape(canvas, centre, radius - 2.0, theme::PAPER.into())
    }

    fn shape<DB: DrawingBackend>(
        self,
        canvas: &Canvas<DB>,
        centre: Point,
        radius: f64,
        colour: RGBAColor,
    ) -> Result<(), ReportError> {
        match self.corners(centre, radius) {
            None => canvas.disc(centre, radius, colour),
            Some(corners) => canvas.polygon(&corners, colour),
        }
    }
}

/// The small picture beside a legend's words.
#[derive(Debug, Clone, Copy)]
pub enum Swatch {
    Faint(RGBAColor),
    Line(RGBColor),
    /// A line with a sign on it.
    Series(RGBColor, Marker),
    Dashed(RGBColor),
    Filled(RGBAColor),
    Hatched(RGBColor),
    Sign(RGBColor, Marker),
    Hollow(RGBColor, Marker),
}

/// Widest swatch, in pixels.
const SWATCH: f64 = 24.0;

impl Swatch {
    fn width(&self) -> f64 {
        match self {
            Swatch::Sign(..) | Swatch::Hollow(..) => 14.0,
            Swatch::Filled(_) | Swatch::Hatched(_) | Swatch::Faint(_) => 20.0,
            _ => SWATCH,
        }
    }

    fn draw<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        (x, y): Point,
    ) -> Result<(), ReportError> {
        let middle = (x + self.width() / 2.0, y);
        let (from, to) = ((x, y), (x + self.width(), y));
        let bar = Area::new(from.0, y - 6.0, to.0, y + 6.0);
        match *self {
            Swatch::Faint(colour) => {
                for (dx, dy) in [(-7.0, 2.0), (0.0, -2.5), (7.0, 1.0)] {
                    canvas.disc((middle.0 + dx, middle.1 + dy), 2.25, colour)?;
                }
                Ok(())
            }
            Swatch::Line(colour) => canvas.line(from, to, colour, 2.25),
            Swatch::Series(colour, marker) => {
                canvas.line(from, to, colour, 2.25)?;
                marker.draw(canvas, middle, 4.5, colour)
            }
            Swatch::Dashed(colour) => canvas.dashes(from, to, colour, 1.75, (6.0, 3.0)),
            Swatch::Filled(colour) => canvas.fill(bar, colour),
            Swatch::Hatched(colour) => draw_hatched(canvas, bar, colour),
            Swatch::Sign(colour, marker) => marker.draw(canvas, middle, 5.0, colour),
            Swatch::Hollow(colour, marker) => marker.draw_hollow(canvas, middle, 5.0, colour),
        }
    }
}

/// A bar that says the same without colour: pale, with slanted lines and a rim.
pub fn draw_hatched<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    bar: Area,
    colour: RGBColor,
) -> Result<(), ReportError> {
    use plotters::style::Color as _;
    canvas.fill(bar, colour.mix(0.18))?;
    canvas.hatch(bar, colour, 1.25, 6.0)?;
    canvas.outline(bar, colour, 1.25)
}

/// Title, line below it and legend; returns the height where the plot may begin.
pub fn draw_header<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    title: &str,
    subtitle: &str,
    legend: &[(Swatch, String)],
) -> Result<f64, ReportError> {
    let room = canvas.width - 2.0 * MARGIN;
    let font = Font::new(theme::TITLE, theme::INK).bold();
    canvas.text((MARGIN, 36.0), &font.fit(title, room), font)?;
    let font = Font::new(theme::BODY, theme::MUTED);
    canvas.text((MARGIN, 59.0), &font.fit(subtitle, room), font)?;
    let font = Font::new(theme::SMALL, theme::INK);
    let (mut x, mut y) = (MARGIN, 84.0);
    for (swatch, words) in legend {
        let words = font.fit(words, room - SWATCH - 8.0);
        // Measured wider than here, so that another font of the viewer still fits.
        let start = swatch.width() + 7.0;
        let width = start + font.width(&words) * 1.06 + 20.0;
        if x > MARGIN && x + width - 20.0 > canvas.width - MARGIN {
            (x, y) = (MARGIN, y + 21.0);
        }
        swatch.draw(canvas, (x, y))?;
        canvas.text((x + start, y + theme::SMALL * 0.36), &words, font)?;
        x += width;
    }
    Ok(y + 24.0)
}

/// The room a plot has below its header, with space for the labels of both axes.
pub fn plot_area(width: f64, top: f64, bottom: f64) -> Area {
    Area::new(MARGIN + 62.0, top, width - MARGIN - 4.0, bottom)
}
