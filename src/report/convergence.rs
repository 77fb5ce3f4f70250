//! How searches came along beside each other: best quality and hypervolume by evaluations and by
//! seconds; several seeds as their mean with a band from the worst to the best of them.

use plotters::{
    prelude::{DrawingBackend, RGBColor},
    style::Color as _,
};

use crate::{
    domain::{CostKind, Measure},
    report::{
        ReportError, RunView,
        axis::{Axis, Unit, lowest_shown, measure_name},
        canvas::{Anchor, Area, Canvas, Figure, Font, Point},
        frame::{Frame, Marker, Swatch, draw_header, plot_area},
        groups::groups,
        progress::{Spread, Stand, judging_seconds, reference_words, spread, stands},
        theme,
    },
};

/// Places along an axis where runs are looked at.
const PLACES: usize = 400;
const PANEL: f64 = 250.0;
/// Below a panel, for the labels and the name of its axis.
const BELOW: f64 = 76.0;
/// Series that get a colour and sign of their own.
const MOST_SERIES: usize = 12;

/// Several runs, or one, by evaluations and by seconds.
#[derive(Debug, Clone)]
pub struct ConvergenceFigure {
    title: String,
    subtitle: String,
    measure: Measure,
    objective: CostKind,
    float: Option<f64>,
    has_budgets: bool,
    series: Vec<Series>,
}

#[derive(Debug, Clone)]
struct Series {
    label: String,
    /// By run.
    stands: Vec<Vec<Stand>>,
}

/// What a panel shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Quality,
    Hypervolume,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Evaluations,
    Seconds,
}

impl ConvergenceFigure {
    /// Runs that differ in nothing but their seed become one line with a band.
    ///
    /// # Errors
    /// [`ReportError::Incomparable`] when runs have other measures or objectives,
    /// [`ReportError::Empty`] when no run tried a policy of its own.
    pub fn new(runs: &[&RunView]) -> Result<Self, ReportError> {
        let Some(first) = runs.first() else {
            return Err(ReportError::Empty("no run was given".into()));
        };
        let description = &first.description;
        for run in &runs[1..] {
            let other = &run.description;
            let reason = if other.measure != description.measure {
                format!("one maximizes {}, the other {}", description.measure, other.measure)
            } else if other.objective != description.objective {
                format!("their fronts are over {} and {}", description.objective, other.objective)
            } else {
                continue;
            };
            return Err(ReportError::Incomparable { first: first.id, other: run.id, reason });
        }
        let elsewhere = judging_seconds(runs);
        let mut series: Vec<Series> = groups(runs)
            .into_iter()
            .map(|group| Series {
                label: group.label,
                stands: group.runs.iter().map(|run| stands(run, &elsewhere)).collect(),
            })
            .collect();
        series.iter_mut().for_each(|series| series.stands.retain(|stands| !stands.is_empty()));
        series.retain(|series| !series.stands.is_empty());
        series.truncate(MOST_SERIES);
        if series.is_empty() {
            let reason = format!("run {} tried no policy but uniform ones", first.id);
            return Err(ReportError::Empty(reason));
        }
        let same_model = runs.iter().all(|run| run.description.model == description.model);
        let same_device = runs.iter().all(|run| run.description.profile == description.profile);
        let names = [
            if same_model { description.model.as_str() } else { "several networks" },
            if same_device { description.profile.as_str() } else { "several devices" },
        ];
        let n_runs = runs.len();
        let who = if n_runs == 1 { first.label() } else { format!("{n_runs} runs") };
        Ok(Self {
            title: format!("{} · how the search came along", names.join(" · ")),
            subtitle: format!(
                "{who} · on the search split · an evaluation is a policy not tried before"
            ),
            measure: description.measure,
            objective: description.objective,
            float: if same_model { first.float_quality() } else { None },
            has_budgets: runs.iter().any(|run| !run.description.budgets.is_empty()),
            series,
        })
    }

    /// Without a budget the best quality is the widest policy's, which says nothing.
    fn panels(&self) -> Vec<(Value, By)> {
        let volume = [(Value::Hypervolume, By::Evaluations), (Value::Hypervolume, By::Seconds)];
        match self.has_budgets {
            true => {
                vec![(Value::Quality, By::Evaluations), (Value::Quality, By::Seconds), volume[0]]
            }
            false => volume.to_vec(),
        }
    }

    fn legend(&self) -> Vec<(Swatch, String)> {
        let mut legend: Vec<(Swatch, String)> = self
            .series
            .iter()
            .enumerate()
            .map(|(index, series)| {
                let (colour, marker) = sign(index);
                let n = series.stands.len();
                let seeds = if n > 1 { format!(", mean of {n}") } else { String::new() };
                (Swatch::Series(colour, marker), format!("{}{seeds}", series.label))
            })
            .collect();
        if self.series.iter().any(|series| series.stands.len() > 1) {
            let band = theme::AXIS.mix(0.25);
            legend.push((Swatch::Filled(band), "from the worst to the best seed".into()));
        }
        if self.series.len() > 1 {
            legend.push((Swatch::Hollow(theme::MUTED, Marker::Below), "worse than shown".into()));
        }
        if self.has_budgets && self.float.is_some() {
            legend.push((Swatch::Dashed(theme::MUTED), "float".into()));
        }
        legend
    }

    /// Steps of each run: place along the axis, value in display units.
    fn steps(&self, series: &Series, (value, by): (Value, By)) -> Vec<Vec<Point>> {
        let unit = Unit::of_measure(self.measure);
        let point = |stand: &Stand| {
            let x = match by {
                By::Evaluations => f64::from(stand.evaluations),
                By::Seconds => stand.seconds,
            };
            let y = match value {
                Value::Quality => stand.quality? * unit.factor.abs(),
                Value::Hypervolume => stand.hypervolume,
            };
            Some((x, y))
        };
        series.stands.iter().map(|stands| stands.iter().filter_map(point).collect()).collect()
    }

    fn draw_panel<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        area: Area,
        panel: (Value, By),
    ) -> Result<(), ReportError> {
        let (value, by) = panel;
        let all: Vec<Vec<Vec<Point>>> =
            self.series.iter().map(|series| self.steps(series, panel)).collect();
        let points = || all.iter().flatten().flatten();
        let last = points().map(|point| point.0).fold(0.0, f64::max);
        let x = match by {
            By::Evaluations => Axis::counting(0.0, last, 10),
            By::Seconds => Axis::over(0.0, last.max(1e-3), 10),
        };
        let unit = Unit::of_measure(self.measure);
        let float = self.float.filter(|_| value == Value::Quality);
        let float = float.map(|float| float * unit.factor.abs());
        let best = points().map(|point| point.1).chain(float).fold(f64::NEG_INFINITY, f64::max);
        let places: Vec<f64> = (0..=PLACES).map(|i| last * i as f64 / PLACES as f64).collect();
        let spreads: Vec<Vec<Spread>> = all.iter().map(|runs| spread(runs, &places)).collect();
        let shown = || spreads.iter().flatten().map(|spread| spread.low);
        let low = lowest_shown(best, shown(), 0.7);
        let least = if value == Value::Quality { unit.least_range() } else { 1e-3 };
        let y = Axis::around(low.min(best - least), best, 0.06, 5);
        let frame = Frame { area, x, y };
        frame.draw_x(canvas, by.name())?;
        let (name, turned) = self.value_name(value);
        frame.draw_y(canvas, &name, |tick| frame.y.label(tick * turned))?;
        frame.draw_base(canvas)?;
        if let Some(float) = float {
            let y = frame.py(float);
            canvas.dashes((area.left, y), (area.right, y), theme::MUTED, 1.5, (7.0, 4.0))?;
        }
        for (index, (runs, spreads)) in all.iter().zip(&spreads).enumerate() {
            if runs.len() > 1 {
                draw_band(canvas, &frame, spreads, sign(index).0)?;
            }
        }
        for (index, (runs, spreads)) in all.iter().zip(&spreads).enumerate() {
            draw_line(canvas, &frame, runs, spreads, index)?;
        }
        Ok(())
    }

    /// What stands at the vertical axis, and the sign its labels are turned by.
    fn value_name(&self, value: Value) -> (String, f64) {
        match value {
            Value::Hypervolume => ("hypervolume".into(), 1.0),
            Value::Quality => {
                let unit = Unit::of_measure(self.measure);
                let name = measure_name(self.measure);
                match unit.name {
                    "" => (format!("best {name}"), unit.factor.signum()),
                    unit_name => (format!("best {name} ({unit_name})"), unit.factor.signum()),
                }
            }
        }
    }
}

impl By {
    fn name(self) -> &'static str {
        match self {
            By::Evaluations => "evaluations",
            By::Seconds => "seconds",
        }
    }
}

impl Figure for ConvergenceFigure {
    fn size(&self) -> (u32, u32) {
        let panels = self.panels().len() as f64;
        (1000, (150.0 + panels * (PANEL + BELOW)) as u32)
    }

    fn description(&self) -> String {
        format!("{}. {}", self.title, self.subtitle)
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), ReportError> {
        let top = draw_header(canvas, &self.title, &self.subtitle, &self.legend())?;
        let panels = self.panels();
        let note = 22.0;
        let room = canvas.height - top - note;
        let height = room / panels.len() as f64;
        for (index, panel) in panels.into_iter().enumerate() {
            let top = top + index as f64 * height;
            self.draw_panel(canvas, plot_area(canvas.width, top, top + height - BELOW), panel)?;
        }
        let words = format!(
            "hypervolume in cost as a share of 8/8 times quality; {}",
            reference_words(self.measure, self.objective)
        );
        let font = Font::new(theme::SMALL, theme::MUTED).anchor(Anchor::End);
        canvas.text((canvas.width - 30.0, canvas.height - 12.0), &words, font)
    }
}

/// From the worst to the best run.
fn draw_band<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    frame: &Frame,
    spreads: &[Spread],
    colour: RGBColor,
) -> Result<(), ReportError> {
    let upper = spreads.iter().map(|spread| frame.clamped(spread.x, spread.high));
    let lower = spreads.iter().rev().map(|spread| frame.clamped(spread.x, spread.low));
    let corners: Vec<Point> = upper.chain(lower).collect();
    if corners.len() < 4 {
        return Ok(());
    }
    canvas.polygon(&corners, colour.mix(0.16))
}

/// The mean up to where the last run ends, then dashes; a sign where that is.
fn draw_line<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    frame: &Frame,
    runs: &[Vec<Point>],
    spreads: &[Spread],
    index: usize,
) -> Result<(), ReportError> {
    let (colour, marker) = sign(index);
    let ends = runs.iter().filter_map(|steps| steps.last());
    let Some(end) = ends.copied().reduce(|a, b| if a.0 >= b.0 { a } else { b }) else {
        return Ok(());
    };
    let starts = runs.iter().filter_map(|steps| steps.first()).map(|step| step.0);
    let start = starts.fold(0.0, f64::max);
    let mut path: Vec<Point> = Vec::new();
    let mut last = None;
    for spread in spreads.iter().filter(|spread| spread.x <= end.0) {
        if let Some(before) = last.filter(|before| *before != spread.mean) {
            path.push(frame.clamped(spread.x, before));
        }
        path.push(frame.clamped(spread.x, spread.mean));
        last = Some(spread.mean);
    }
    let n = runs.len() as f64;
    let ends: Vec<f64> = runs.iter().filter_map(|steps| steps.last()).map(|step| step.1).collect();
    let at_end = frame.clamped(end.0.max(start), ends.iter().sum::<f64>() / n.max(1.0));
    path.push(at_end);
    // What is worse than shown has no line, only a sign at the edge.
    let bottom = frame.area.bottom;
    for part in path.split(|point| point.1 >= bottom) {
        canvas.path(part, colour, 2.25)?;
    }
    if at_end.1 >= bottom {
        return Marker::Below.draw_hollow(canvas, (at_end.0, bottom - 6.0), 6.0, colour);
    }
    let right = frame.area.right.min(frame.px(frame.x.high));
    if right - at_end.0 > 12.0 {
        canvas.dashes(at_end, (right, at_end.1), colour.mix(0.7), 1.25, (3.0, 4.0))?;
    }
    marker.draw(canvas, at_end, 5.0, colour)
}

/// Colour and shape of a series; no two of them share both.
fn sign(index: usize) -> (RGBColor, Marker) {
    let colour = theme::SERIES[index % theme::SERIES.len()];
    let marker = index % Marker::SERIES.len() + index / theme::SERIES.len() * 2;
    (colour, Marker::SERIES[marker % Marker::SERIES.len()])
}
