//! The look of every plot: one palette, one font, one set of sizes.
//!
//! The colours are those of Okabe and Ito (2008), told apart with any colour vision;
//! shape, hatching or a label always says the same again.

use std::sync::OnceLock;

use plotters::style::{FontStyle, RGBColor, register_font};

use crate::report::ReportError;

pub const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
pub const INK: RGBColor = RGBColor(0x1F, 0x29, 0x33);
pub const MUTED: RGBColor = RGBColor(0x5B, 0x67, 0x70);
pub const AXIS: RGBColor = RGBColor(0x8A, 0x96, 0xA1);
pub const GRID: RGBColor = RGBColor(0xE6, 0xEA, 0xED);
pub const SHADE: RGBColor = RGBColor(0xF3, 0xF5, 0xF7);

pub const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xB2);
pub const VERMILION: RGBColor = RGBColor(0xD5, 0x5E, 0x00);
pub const GREEN: RGBColor = RGBColor(0x00, 0x9E, 0x73);
pub const PURPLE: RGBColor = RGBColor(0xB8, 0x5C, 0x93);
pub const ORANGE: RGBColor = RGBColor(0xE6, 0x9F, 0x00);
pub const SKY: RGBColor = RGBColor(0x56, 0xB4, 0xE9);
pub const OLIVE: RGBColor = RGBColor(0x8A, 0x8A, 0x2E);

/// The colours of runs laid over each other, in order.
pub const SERIES: [RGBColor; 6] = [BLUE, VERMILION, GREEN, ORANGE, SKY, OLIVE];

/// Each colour and what takes its place on a dark page.
pub const DARK: [(RGBColor, RGBColor); 13] = [
    (PAPER, RGBColor(0x16, 0x1B, 0x22)),
    (INK, RGBColor(0xE6, 0xED, 0xF3)),
    (MUTED, RGBColor(0xA3, 0xAE, 0xB9)),
    (AXIS, RGBColor(0x6E, 0x7A, 0x86)),
    (GRID, RGBColor(0x2B, 0x33, 0x3C)),
    (SHADE, RGBColor(0x1E, 0x25, 0x2E)),
    (BLUE, RGBColor(0x58, 0xA9, 0xE6)),
    (VERMILION, RGBColor(0xFF, 0x8B, 0x4D)),
    (GREEN, RGBColor(0x3C, 0xC7, 0x9A)),
    (PURPLE, RGBColor(0xE3, 0x9A, 0xC4)),
    (ORANGE, RGBColor(0xF5, 0xBE, 0x50)),
    (SKY, RGBColor(0x8F, 0xD0, 0xF7)),
    (OLIVE, RGBColor(0xC9, 0xC9, 0x6B)),
];

/// Text sizes in pixels of a plot 1000 wide.
pub const TITLE: f64 = 19.0;
pub const BODY: f64 = 14.0;
pub const SMALL: f64 = 12.5;
pub const TINY: f64 = 11.0;

/// As an SVG names it: ours where it is installed, then what looks most like it.
pub const FONT_FAMILY: &str = "Roboto, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif";

/// Ascent less descent in em, from the font's `hhea` table.
pub const FONT_HEIGHT_EM: f64 = 2400.0 / 2048.0;

/// Makes the embedded font known to plotters, once.
pub fn register_fonts() -> Result<(), ReportError> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let registered = *REGISTERED.get_or_init(|| {
        let regular = include_bytes!("../../assets/fonts/Roboto-Regular.ttf");
        let bold = include_bytes!("../../assets/fonts/Roboto-Bold.ttf");
        register_font(FONT_FAMILY, FontStyle::Normal, regular).is_ok()
            && register_font(FONT_FAMILY, FontStyle::Bold, bold).is_ok()
    });
    match registered {
        true => Ok(()),
        false => Err(ReportError::Draw("the embedded font is damaged".into())),
    }
}

/// A colour as SVG and CSS write it: `#0072B2`.
pub fn hex(colour: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2)
}
