//! A sheet to draw on, the same for SVG and PNG: shapes and text in fractions of a pixel.
//!
//! plotters knows whole pixels only, so that a sheet is four times as large as it looks.
//! An SVG says so in its view box; a PNG is averaged down to twice the size, which also
//! smooths every edge.

use std::{fmt::Display, fs, path::Path};

use image::{
    ExtendedColorType, ImageEncoder,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use plotters::{
    coord::Shift,
    prelude::{
        BitMapBackend, Circle, DrawingArea, DrawingBackend, FontDesc, FontFamily, FontStyle,
        FontTransform, IntoDrawingArea, PathElement, Polygon, RGBAColor, Rectangle, SVGBackend,
        ShapeStyle, Text, TextStyle,
    },
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::report::{ReportError, theme};

/// Units of a sheet for each pixel of the plot as it is looked at.
const UNITS: f64 = 4.0;
/// Pixels of a PNG for each pixel of the plot as it is looked at.
pub const PNG_SCALE: u32 = 2;

/// Characters of a text that can ever have room.
const LONGEST_TEXT: usize = 400;

/// A place, in pixels from the upper left corner.
pub type Point = (f64, f64);

/// An upright rectangle, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

impl Area {
    pub fn new(left: f64, top: f64, right: f64, bottom: f64) -> Self {
        Self { left, top, right, bottom }
    }

    pub fn width(&self) -> f64 {
        self.right - self.left
    }

    pub fn height(&self) -> f64 {
        self.bottom - self.top
    }
}

/// Which point of a text its position names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Debug, Clone, Copy)]
pub struct Font {
    /// Pixels an em.
    pub size: f64,
    pub bold: bool,
    pub colour: RGBAColor,
    pub anchor: Anchor,
    /// Reads upwards, turned by a quarter.
    pub upwards: bool,
}

impl Font {
    pub fn new(size: f64, colour: impl Into<RGBAColor>) -> Self {
        Self { size, bold: false, colour: colour.into(), anchor: Anchor::Start, upwards: false }
    }

    pub fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub fn upwards(self) -> Self {
        Self { upwards: true, ..self }
    }

    fn desc(&self, size: f64) -> FontDesc<'static> {
        let style = if self.bold { FontStyle::Bold } else { FontStyle::Normal };
        FontDesc::new(FontFamily::Name(theme::FONT_FAMILY), size, style)
    }

    /// How wide a text is, in pixels.
    pub fn width(&self, text: &str) -> f64 {
        let size = self.size * theme::FONT_HEIGHT_EM * UNITS;
        let measured = self.desc(size).box_size(&printable(text));
        measured.map_or(0.0, |(width, _)| f64::from(width) / UNITS)
    }

    /// The text, or its beginning and an ellipsis where it is wider than `width` pixels.
    pub fn fit(&self, text: &str, width: f64) -> String {
        if text.chars().nth(LONGEST_TEXT).is_none() && self.width(text) <= width {
            return text.to_owned();
        }
        let mut kept: Vec<char> = text.chars().take(LONGEST_TEXT).collect();
        while kept.pop().is_some() {
            let shorter: String = kept.iter().chain(&['…']).collect();
            if self.width(&shorter) <= width {
                return shorter;
            }
        }
        String::new()
    }

    /// The same for paths, whose end says more than their beginning.
    pub fn fit_end(&self, text: &str, width: f64) -> String {
        let backwards: String = text.chars().rev().collect();
        self.fit(&backwards, width).chars().rev().collect()
    }
}

/// What the sheet turns into; the two differ in how plotters places and scales text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Medium {
    Vector,
    Pixels,
}

impl Medium {
    /// plotters' font size for one em.
    fn size_of_em(self) -> f64 {
        match self {
            Medium::Vector => 1.24,
            Medium::Pixels => theme::FONT_HEIGHT_EM,
        }
    }

    /// From the position to the baseline, in em, with the anchor at the top.
    fn drop_em(self) -> f64 {
        match self {
            Medium::Vector => 0.76,
            Medium::Pixels => theme::FONT_HEIGHT_EM / 2.0,
        }
    }
}

/// A sheet of a given size.
pub struct Canvas<DB: DrawingBackend> {
    area: DrawingArea<DB, Shift>,
    medium: Medium,
    pub width: f64,
    pub height: f64,
}

type Drawn = Result<(), ReportError>;

impl<DB: DrawingBackend> Canvas<DB> {
    fn new(backend: DB, medium: Medium, (width, height): (u32, u32)) -> Result<Self, ReportError> {
        theme::register_fonts()?;
        let area = backend.into_drawing_area();
        area.fill(&theme::PAPER).map_err(failed)?;
        Ok(Self { area, medium, width: width.into(), height: height.into() })
    }

    pub fn line(&self, from: Point, to: Point, colour: impl Into<RGBAColor>, width: f64) -> Drawn {
        self.path(&[from, to], colour, width)
    }

    /// An open path through all points.
    pub fn path(&self, points: &[Point], colour: impl Into<RGBAColor>, width: f64) -> Drawn {
        let mut units: Vec<(i32, i32)> = points.iter().map(|&point| to_units(point)).collect();
        units.dedup();
        if units.len() < 2 {
            return Ok(());
        }
        let style = stroke(colour.into(), width);
        self.area.draw(&PathElement::new(units, style)).map_err(failed)
    }

    /// A straight line of dashes; `dash` and `gap` in pixels.
    pub fn dashes(
        &self,
        from: Point,
        to: Point,
        colour: impl Into<RGBAColor>,
        width: f64,
        (dash, gap): (f64, f64),
    ) -> Drawn {
        let colour = colour.into();
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let along = |at: f64| {
            let share = (at / length).clamp(0.0, 1.0);
            (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share)
        };
        let mut at = 0.0;
        while at < length {
            self.line(along(at), along(at + dash), colour, width)?;
            at += dash + gap;
        }
        Ok(())
    }

    pub fn fill(&self, area: Area, colour: impl Into<RGBAColor>) -> Drawn {
        let corners = [to_units((area.left, area.top)), to_units((area.right, area.bottom))];
        self.area.draw(&Rectangle::new(corners, filled(colour.into()))).map_err(failed)
    }

    pub fn outline(&self, area: Area, colour: impl Into<RGBAColor>, width: f64) -> Drawn {
        let Area { left, top, right, bottom } = area;
        let corners = [(left, top), (right, top), (right, bottom), (left, bottom)];
        let half = width / 2.0;
        self.path(
            &[corners[0], corners[1], corners[2], corners[3], (left, top - half)],
            colour,
            width,
        )
    }

    /// Slanted lines, `gap` pixels apart, that fill an area.
    pub fn hatch(&self, area: Area, colour: impl Into<RGBAColor>, width: f64, gap: f64) -> Drawn {
        let colour = colour.into();
        let (w, h) = (area.width(), area.height());
        if w <= 0.0 || h <= 0.0 {
            return Ok(());
        }
        // A line of the family runs from (s, bottom) to (s + h, top); both ends are cut.
        let mut start = -h + gap / 2.0;
        while start < w {
            let (x0, x1) = (start.max(0.0), (start + h).min(w));
            let y = |x: f64| area.bottom - (x - start);
            self.line((area.left + x0, y(x0)), (area.left + x1, y(x1)), colour, width)?;
            start += gap;
        }
        Ok(())
    }

    pub fn polygon(&self, corners: &[Point], colour: impl Into<RGBAColor>) -> Drawn {
        let units: Vec<(i32, i32)> = corners.iter().map(|&point| to_units(point)).collect();
        self.area.draw(&Polygon::new(units, colour.into())).map_err(failed)
    }

    pub fn disc(&self, centre: Point, radius: f64, colour: impl Into<RGBAColor>) -> Drawn {
        let radius = (radius * UNITS).round() as i32;
        let disc = Circle::new(to_units(centre), radius, filled(colour.into()));
        self.area.draw(&disc).map_err(failed)
    }

    /// A text whose baseline begins, is centred or ends at `at`.
    pub fn text(&self, at: Point, text: &str, font: Font) -> Drawn {
        let text = printable(text);
        if text.is_empty() {
            return Ok(());
        }
        let em = font.size * UNITS;
        let drop = self.medium.drop_em() * font.size;
        let position = if font.upwards { (at.0 - drop, at.1) } else { (at.0, at.1 - drop) };
        let transform = if font.upwards { FontTransform::Rotate270 } else { FontTransform::None };
        let h_pos = match font.anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        let style = TextStyle::from(font.desc(em * self.medium.size_of_em()).transform(transform))
            .color(&font.colour)
            .pos(Pos::new(h_pos, VPos::Top));
        self.area.draw(&Text::new(text, to_units(position), style)).map_err(failed)
    }

    fn present(&self) -> Drawn {
        self.area.present().map_err(failed)
    }
}

/// Something that can be drawn on a sheet of its own.
pub trait Figure {
    /// Width and height in pixels, as looked at.
    fn size(&self) -> (u32, u32) {
        (1000, 640)
    }

    /// What a reader who cannot see the plot is told.
    fn description(&self) -> String;

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), ReportError>;

    /// The plot as an SVG document that scales with the room it is given.
    fn svg(&self) -> Result<String, ReportError> {
        let (width, height) = self.size();
        let units = (width * UNITS as u32, height * UNITS as u32);
        let mut text = String::new();
        {
            let backend = SVGBackend::with_string(&mut text, units);
            let canvas = Canvas::new(backend, Medium::Vector, (width, height))?;
            self.draw(&canvas)?;
            canvas.present()?;
        }
        let body = text.split_once('>').map_or("", |(_, body)| body);
        let title = escape(&printable(&self.description()));
        Ok(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>{body}",
            units.0, units.1
        ))
    }

    /// The plot as a PNG file of twice the size.
    fn png(&self) -> Result<Vec<u8>, ReportError> {
        let (width, height) = self.size();
        let (fine_width, fine_height) = (width * UNITS as u32, height * UNITS as u32);
        let mut fine = vec![0; fine_width as usize * fine_height as usize * 3];
        {
            let backend = BitMapBackend::with_buffer(&mut fine, (fine_width, fine_height));
            let canvas = Canvas::new(backend, Medium::Pixels, (width, height))?;
            self.draw(&canvas)?;
            canvas.present()?;
        }
        let pixels = halved(&fine, fine_width as usize);
        let mut file = Vec::new();
        PngEncoder::new_with_quality(&mut file, CompressionType::Best, FilterType::Adaptive)
            .write_image(&pixels, width * PNG_SCALE, height * PNG_SCALE, ExtendedColorType::Rgb8)
            .map_err(failed)?;
        Ok(file)
    }

    /// Writes the plot as its file's ending says, `.svg` or `.png`.
    fn write(&self, path: &Path) -> Result<(), ReportError> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("");
        let bytes = match ending.to_ascii_lowercase().as_str() {
            "svg" => self.svg()?.into_bytes(),
            "png" => self.png()?,
            _ => return Err(ReportError::UnknownFormat { path: path.to_owned() }),
        };
        fs::write(path, bytes)
            .map_err(|reason| ReportError::Write { path: path.to_owned(), reason })
    }
}

/// The mean of every two by two pixels; three bytes a pixel.
fn halved(fine: &[u8], fine_width: usize) -> Vec<u8> {
    let row = fine_width * 3;
    let mut pixels = Vec::with_capacity(fine.len() / 4);
    for rows in fine.chunks_exact(2 * row) {
        let (upper, lower) = rows.split_at(row);
        for (upper, lower) in upper.chunks_exact(6).zip(lower.chunks_exact(6)) {
            for channel in 0..3 {
                let sum = [upper[channel], upper[channel + 3], lower[channel], lower[channel + 3]];
                let sum: u16 = sum.into_iter().map(u16::from).sum();
                pixels.push(((sum + 2) / 4) as u8);
            }
        }
    }
    pixels
}

fn to_units((x, y): Point) -> (i32, i32) {
    ((x * UNITS).round() as i32, (y * UNITS).round() as i32)
}

fn stroke(color: RGBAColor, width: f64) -> ShapeStyle {
    ShapeStyle { color, filled: false, stroke_width: (width * UNITS).round().max(1.0) as u32 }
}

fn filled(color: RGBAColor) -> ShapeStyle {
    ShapeStyle { color, filled: true, stroke_width: 0 }
}

fn failed(reason: impl Display) -> ReportError {
    ReportError::Draw(reason.to_string())
}

/// The text without characters that XML forbids, break a line or move a terminal's cursor.
pub fn printable(text: &str) -> String {
    let forbidden = |c: char| c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}');
    text.chars().map(|c| if forbidden(c) { ' ' } else { c }).collect()
}

/// The text as it stands in XML, in or out of an attribute.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
