//! Quality against a cost: every policy tried, the front, and what to compare it with.

use plotters::{
    prelude::{DrawingBackend, RGBColor},
    style::Color as _,
};

use crate::{
    domain::{CostKind, show_cost},
    report::{
        ReportError, RunView,
        axis::{Axis, Unit, cost_name, measure_name},
        canvas::{Anchor, Area, Canvas, Figure, Font, Point},
        frame::{Frame, Marker, Swatch, draw_header, plot_area},
        labels::Placer,
        pareto_data::{Dot, Series, comparable, scales, thinned},
        theme,
    },
};

/// The Pareto front of one run, or of several laid over each other.
#[derive(Debug, Clone)]
pub struct ParetoFigure<'a> {
    runs: Vec<Series<'a>>,
    kind: CostKind,
    x_unit: Unit,
    y_unit: Unit,
    x: Axis,
    y: Axis,
}

/// Words that belong to a point.
struct Label {
    words: String,
    at: Point,
    colour: RGBColor,
    /// Pixels to stay away from the point.
    gap: f64,
}

impl<'a> ParetoFigure<'a> {
    /// # Errors
    /// [`ReportError::Empty`] when no episode has a quality and a cost;
    /// [`ReportError::Incomparable`] when the runs measured different things.
    pub fn new(runs: &[&'a RunView], kind: CostKind) -> Result<Self, ReportError> {
        let first = *runs
            .first()
            .ok_or_else(|| ReportError::Empty("no run was given for the Pareto front".into()))?;
        for run in runs {
            comparable(first, run, kind)?;
        }
        let y_unit = Unit::of_measure(first.description.measure);
        let costs = runs.iter().flat_map(|run| &run.episodes).map(|e| e.cost.get(kind));
        let largest = costs.filter(|cost| cost.is_finite()).fold(0.0, f64::max);
        let x_unit = Unit::of_cost(kind, largest);
        let runs: Vec<Series> = runs
            .iter()
            .enumerate()
            .map(|(index, run)| Series::new(run, kind, x_unit, y_unit, index))
            .collect();
        if runs.iter().all(|series| series.tried.is_empty()) {
            return Err(ReportError::Empty(format!(
                "no episode of run {} has both a quality and a {kind}",
                first.id
            )));
        }
        let (x, y) = scales(&runs, kind, x_unit, y_unit);
        Ok(Self { runs, kind, x_unit, y_unit, x, y })
    }

    fn first(&self) -> &'a RunView {
        self.runs[0].run
    }

    fn title(&self) -> String {
        let description = &self.first().description;
        format!(
            "{} · {} · {} against {}",
            self.shared(|run| run.description.model.clone())
                .unwrap_or_else(|| "several networks".into()),
            self.shared(|run| run.description.profile.clone())
                .unwrap_or_else(|| "several devices".into()),
            measure_name(description.measure),
            cost_name(self.kind, 1),
        )
    }

    fn subtitle(&self) -> String {
        if self.runs.len() > 1 {
            let tried: usize = self.runs.iter().map(|series| series.tried.len()).sum();
            return format!("{} runs · {} · on the search split", self.runs.len(), policies(tried));
        }
        let run = self.first();
        let tried = self.runs[0].tried.len();
        format!("{} · {} · on the search split", run.label(), policies(tried))
    }

    /// What all runs have in common, if they do.
    fn shared<T: PartialEq>(&self, of: impl Fn(&RunView) -> T) -> Option<T> {
        let first = of(self.first());
        self.runs.iter().all(|series| of(series.run) == first).then_some(first)
    }

    fn legend(&self) -> Vec<(Swatch, String)> {
        let mut legend = Vec::new();
        if let [series] = self.runs.as_slice() {
            legend.push((Swatch::Series(series.colour, series.marker), "Pareto front".into()));
            legend.push((Swatch::Faint(series.colour.mix(0.4)), "policies tried".into()));
        } else {
            let profiles_differ = self.shared(|run| run.description.profile.clone()).is_none();
            for series in &self.runs {
                let mut label = series.run.label();
                if profiles_differ {
                    label += &format!(" · {}", series.run.description.profile);
                }
                legend.push((Swatch::Series(series.colour, series.marker), label));
            }
        }
        if self.runs.iter().any(|series| series.tried.iter().any(|dot| !dot.feasible)) {
            legend.push((Swatch::Faint(theme::AXIS.mix(0.45)), "over budget".into()));
        }
        if self.runs.iter().any(|series| !series.references.is_empty()) {
            legend.push((
                Swatch::Hollow(theme::INK, Marker::Square),
                "uniform, weights/activations".into(),
            ));
        }
        if self.runs.iter().any(|series| series.chosen.is_some()) {
            let colour = if self.runs.len() == 1 { theme::VERMILION } else { theme::INK };
            legend.push((Swatch::Sign(colour, Marker::Star), "chosen".into()));
        }
        if self.runs.iter().any(|series| series.run.float_quality().is_some()) {
            legend.push((Swatch::Dashed(theme::MUTED), "float".into()));
        }
        if self.runs.iter().any(|series| series.run.limit(self.kind).is_some()) {
            legend.push((Swatch::Line(theme::PURPLE), "budget".into()));
        }
        legend
    }

    /// The budgets within the frame, each once, in display units.
    fn limits(&self, frame: &Frame) -> Vec<f64> {
        let limits = self.runs.iter().filter_map(|series| series.run.limit(self.kind));
        let mut limits: Vec<f64> = limits.map(|limit| limit * self.x_unit.factor).collect();
        limits.retain(|limit| frame.x.contains(*limit));
        limits.sort_by(f64::total_cmp);
        limits.dedup();
        limits
    }

    /// Where a single run's budget ends, in pixels; what lies right of it is shaded.
    fn shade(&self, frame: &Frame) -> Option<f64> {
        let limit = *self.limits(frame).first()?;
        (self.runs.len() == 1).then(|| frame.px(limit))
    }

    /// What lies beneath everything at a place, in pixels.
    fn paper(&self, frame: &Frame, px: f64) -> RGBColor {
        match self.shade(frame) {
            Some(shade) if px >= shade => theme::SHADE,
            _ => theme::PAPER,
        }
    }

    fn draw_budgets<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
        placer: &mut Placer,
    ) -> Result<(), ReportError> {
        for limit in self.limits(frame) {
            let px = frame.px(limit);
            let Area { top, bottom, .. } = frame.area;
            canvas.line((px, top), (px, bottom), theme::PURPLE, 1.75)?;
            placer.take(Area::new(px - 1.0, top, px + 1.0, bottom), 4.0);
            let label = Label {
                words: format!("budget {}", show_cost(self.kind, limit / self.x_unit.factor)),
                at: (px, bottom - 22.0),
                colour: theme::PURPLE,
                gap: 8.0,
            };
            self.draw_label(canvas, frame, placer, &label)?;
        }
        Ok(())
    }

    fn draw_float<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
        placer: &mut Placer,
    ) -> Result<(), ReportError> {
        let mut drawn: Vec<f64> = Vec::new();
        for series in &self.runs {
            let Some(float) = series.run.float_quality() else { continue };
            let y = float * self.y_unit.factor.abs();
            if !frame.y.contains(y) || drawn.contains(&y) {
                continue;
            }
            let Area { left, right, .. } = frame.area;
            let py = frame.py(y);
            canvas.dashes((left, py), (right, py), theme::MUTED, 1.5, (7.0, 4.0))?;
            placer.take(Area::new(left, py - 1.0, right, py + 1.0), 4.0);
            let words = format!("float {}", series.run.description.measure.show(float));
            let font = Font::new(theme::SMALL, theme::MUTED);
            let width = font.width(&words);
            canvas.text((left + 8.0, py - 6.0), &words, font)?;
            placer.take(Area::new(left, py - 20.0, left + 12.0 + width, py), 10.0);
            drawn.push(y);
        }
        Ok(())
    }

    fn draw_tried<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
    ) -> Result<(), ReportError> {
        let alpha = if self.runs.len() == 1 { 0.35 } else { 0.22 };
        for series in &self.runs {
            for dot in thinned(&series.tried, frame) {
                let colour =
                    if dot.feasible { series.colour.mix(alpha) } else { theme::AXIS.mix(0.4) };
                canvas.disc(frame.at(dot.at.0, dot.at.1), 2.25, colour)?;
            }
        }
        Ok(())
    }

    /// Says how much lies below the frame.
    fn draw_below<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
        placer: &mut Placer,
    ) -> Result<(), ReportError> {
        let below = |dot: &&Dot| dot.at.1 < frame.y.low;
        let count: usize =
            self.runs.iter().map(|series| series.tried.iter().filter(below).count()).sum();
        if count == 0 {
            return Ok(());
        }
        let policies = if count == 1 { "policy lies" } else { "policies lie" };
        let words = format!("{count} {policies} below this range");
        let font = Font::new(theme::SMALL, theme::MUTED).anchor(Anchor::End);
        let Area { right, bottom, .. } = frame.area;
        let left = right - font.width(&words) - 26.0;
        let veil = Area::new(left, bottom - 24.0, right - 4.0, bottom - 4.0);
        canvas.fill(veil, self.paper(frame, left).mix(0.85))?;
        canvas.text((right - 10.0, bottom - 10.0), &words, font)?;
        Marker::Below.draw(canvas, (left + 8.0, bottom - 14.0), 4.0, theme::AXIS)?;
        placer.take(Area::new(left, bottom - 26.0, right, bottom), 10.0);
        Ok(())
    }

    fn draw_front<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
        placer: &mut Placer,
        series: &Series,
    ) -> Result<(), ReportError> {
        let (below, shown): (Vec<Point>, Vec<Point>) =
            series.front.iter().partition(|(_, y)| *y < frame.y.low);
        let mut steps: Vec<Point> = Vec::new();
        if let (Some(_), Some(&(x, _))) = (below.last(), shown.first()) {
            steps.push((x, frame.y.low));
        }
        for &(x, y) in &shown {
            if let Some(&(_, before)) = steps.last() {
                steps.push((x, before));
            }
            steps.push((x, y));
        }
        let steps: Vec<Point> = steps.iter().map(|&(x, y)| frame.clamped(x, y)).collect();
        canvas.path(&steps, series.colour, 2.25)?;
        for pair in steps.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let line = Area::new(x0.min(x1), y0.min(y1), x0.max(x1) + 2.0, y0.max(y1) + 2.0);
            placer.take(line, 3.0);
        }
        let radius = if shown.len() > 60 { 3.25 } else { 4.5 };
        for &(x, y) in &shown {
            let at = frame.clamped(x, y);
            series.marker.draw(canvas, at, radius, series.colour)?;
            placer.take_point(at, radius + 1.0, 4.0);
        }
        Ok(())
    }

    /// The uniform policies, each drawn once even when several runs tried it; returns the
    /// words to write beside them.
    fn draw_references<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
        placer: &mut Placer,
    ) -> Result<Vec<Label>, ReportError> {
        let mut labels: Vec<Label> = Vec::new();
        let alike = self
            .shared(|run| (run.description.model_digest.clone(), run.description.profile.clone()));
        for series in &self.runs {
            let colour = if alike.is_some() { theme::INK } else { series.colour };
            for (reference, (x, y)) in &series.references {
                let (mut at, mut words) = (frame.clamped(*x, *y), reference.bits.to_string());
                let is_below = *y < frame.y.low;
                if is_below {
                    let quality = y / self.y_unit.factor.abs();
                    words += &format!(": {}", series.run.description.measure.show(quality));
                    at.1 -= 7.0;
                }
                let near = |other: Point| (other.0 - at.0).hypot(other.1 - at.1) < 4.0;
                // One point, one label, however many policies end there.
                if let Some(label) = labels.iter_mut().find(|label| near(label.at)) {
                    if !label.words.split(", ").any(|known| known == words) {
                        label.words += &format!(", {words}");
                    }
                    continue;
                }
                if is_below {
                    Marker::Below.draw(canvas, at, 5.0, colour)?;
                } else {
                    Marker::Square.draw_hollow(canvas, at, 5.0, colour)?;
                }
                placer.take_point(at, 6.0, 10.0);
                labels.push(Label { words, at, colour: theme::INK, gap: 9.0 });
            }
        }
        Ok(labels)
    }

    /// The star of every run; returns what is written beside it when there is one run.
    fn draw_chosen<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
        placer: &mut Placer,
    ) -> Result<Option<Label>, ReportError> {
        let single = self.runs.len() == 1;
        let mut label = None;
        for series in &self.runs {
            let Some((x, y)) = series.chosen else { continue };
            let at = frame.clamped(x, y);
            let colour = if single { theme::VERMILION } else { series.colour };
            Marker::Star.draw(canvas, at, 8.0, colour)?;
            placer.take_point(at, 11.0, 10.0);
            let words = format!(
                "{} at {}",
                series.run.description.measure.show(y / self.y_unit.factor.abs()),
                show_cost(self.kind, x / self.x_unit.factor)
            );
            label = single.then_some(Label { words, at, colour, gap: 14.0 });
        }
        Ok(label)
    }

    /// A tick of the quality scale; distances are counted downwards from 0.
    fn y_label(&self, tick: f64) -> String {
        self.y.label(tick * self.y_unit.factor.signum())
    }

    /// Words beside a point, where they cover least, on a veil of paper.
    fn draw_label<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
        placer: &mut Placer,
        label: &Label,
    ) -> Result<(), ReportError> {
        let &Label { ref words, at, colour, gap } = label;
        let font = Font::new(theme::SMALL, colour).bold();
        let area = placer.place(at, font.width(words) + 4.0, theme::SMALL + 3.0, gap);
        let nearest = (at.0.clamp(area.left, area.right), at.1.clamp(area.top, area.bottom));
        let (dx, dy) = (nearest.0 - at.0, nearest.1 - at.1);
        let distance = dx.hypot(dy);
        if distance > gap + 10.0 {
            let share = (gap - 2.0) / distance;
            let edge = (at.0 + dx * share, at.1 + dy * share);
            canvas.line(edge, nearest, colour.mix(0.6), 1.0)?;
        }
        canvas.fill(area, self.paper(frame, area.left).mix(0.75))?;
        canvas.text((area.left + 2.0, area.bottom - 4.0), words, font)
    }
}

impl Figure for ParetoFigure<'_> {
    fn description(&self) -> String {
        format!("Pareto front: {}. {}", self.title(), self.subtitle())
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), ReportError> {
        let top = draw_header(canvas, &self.title(), &self.subtitle(), &self.legend())?;
        let area = plot_area(canvas.width, top, canvas.height - 66.0);
        let frame = Frame { area, x: self.x.clone(), y: self.y.clone() };
        let mut placer = Placer::new(area);
        if let Some(left) = self.shade(&frame) {
            canvas.fill(Area { left, ..area }, theme::SHADE)?;
        }
        let description = &self.first().description;
        let batch = self.shared(|run| run.description.batch).unwrap_or(1);
        frame.draw_x(canvas, &format!("{} ({})", cost_name(self.kind, batch), self.x_unit.name))?;
        let name = match self.y_unit.name {
            "" => format!("{} (lower is better)", measure_name(description.measure)),
            unit => format!("{} ({unit})", measure_name(description.measure)),
        };
        frame.draw_y(canvas, &name, |tick| self.y_label(tick))?;
        self.draw_budgets(canvas, &frame, &mut placer)?;
        self.draw_tried(canvas, &frame)?;
        self.draw_float(canvas, &frame, &mut placer)?;
        frame.draw_base(canvas)?;
        for series in &self.runs {
            self.draw_front(canvas, &frame, &mut placer, series)?;
        }
        self.draw_below(canvas, &frame, &mut placer)?;
        let mut references = self.draw_references(canvas, &frame, &mut placer)?;
        if let Some(label) = self.draw_chosen(canvas, &frame, &mut placer)? {
            self.draw_label(canvas, &frame, &mut placer, &label)?;
        }
        references.sort_by(|a, b| a.at.0.total_cmp(&b.at.0));
        for label in &references {
            self.draw_label(canvas, &frame, &mut placer, label)?;
        }
        Ok(())
    }
}

fn policies(tried: usize) -> String {
    match tried {
        1 => "1 policy tried".into(),
        _ => format!("{tried} policies tried"),
    }
}
