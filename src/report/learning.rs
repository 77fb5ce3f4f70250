//! How a search went: quality of every episode, the best so far, warm-up and exploration.

use std::collections::HashMap;

use plotters::{prelude::DrawingBackend, style::Color as _};

use crate::{
    domain::{EpisodeKind, EpisodeRecord},
    report::{
        ReportError, RunView,
        axis::{Axis, Unit, lowest_shown, measure_name},
        canvas::{Anchor, Area, Canvas, Figure, Font, Point},
        frame::{Frame, Marker, Swatch, draw_header, plot_area},
        theme,
    },
};

/// Episodes drawn as dots at most; the lines follow all of them.
const MOST_DOTS: usize = 2000;

/// The learning curve of one run.
#[derive(Debug, Clone)]
pub struct LearningFigure<'a> {
    run: &'a RunView,
    unit: Unit,
    /// Episode, quality in display units, how it came about; uniform policies left out.
    tried: Vec<Tried>,
}

#[derive(Debug, Clone, Copy)]
struct Tried {
    episode: f64,
    quality: f64,
    feasible: bool,
    warm_up: bool,
}

impl<'a> LearningFigure<'a> {
    /// # Errors
    /// [`ReportError::Empty`] when no episode has a quality.
    pub fn new(run: &'a RunView) -> Result<Self, ReportError> {
        let unit = Unit::of_measure(run.description.measure);
        let tried = |episode: &EpisodeRecord| {
            Some(Tried {
                episode: f64::from(episode.index),
                quality: run.quality(episode)? * unit.factor.abs(),
                feasible: run.is_feasible(episode),
                warm_up: episode.kind == EpisodeKind::WarmUp,
            })
        };
        let own = run.episodes.iter().filter(|episode| episode.kind != EpisodeKind::Reference);
        let mut points: Vec<Tried> = own.filter_map(tried).collect();
        if points.is_empty() {
            points = run.episodes.iter().filter_map(tried).collect();
        }
        if points.is_empty() {
            let reason = format!("no episode of run {} has a quality", run.id);
            return Err(ReportError::Empty(reason));
        }
        points.sort_by(|a, b| a.episode.total_cmp(&b.episode));
        Ok(Self { run, unit, tried: points })
    }

    fn title(&self) -> String {
        let description = &self.run.description;
        format!(
            "{} · {} · {} by episode",
            description.model,
            description.profile,
            measure_name(description.measure)
        )
    }

    fn subtitle(&self) -> String {
        let result = &self.run.result;
        format!(
            "{} · {} episodes, {} evaluations · on the search split",
            self.run.label(),
            result.episodes,
            result.evaluations
        )
    }

    /// Episodes over which the mean runs: a twentieth of all, from 5 to 50.
    fn window(&self) -> usize {
        (self.tried.len() / 20).clamp(5, 50)
    }

    fn has_mean(&self) -> bool {
        self.tried.len() >= 3 * self.window()
    }

    fn warm_up_end(&self) -> Option<f64> {
        let last = self.tried.iter().rev().find(|tried| tried.warm_up)?;
        Some(last.episode + 0.5)
    }

    fn legend(&self) -> Vec<(Swatch, String)> {
        let mut legend = vec![
            (Swatch::Line(theme::VERMILION), "best within the budgets so far".to_owned()),
            (Swatch::Faint(theme::BLUE.mix(0.5)), "an episode".to_owned()),
        ];
        if self.run.description.budgets.is_empty() {
            legend[0].1 = "best so far".into();
        }
        if self.has_mean() {
            legend.push((Swatch::Line(theme::BLUE), format!("mean of {}", self.window())));
        }
        if self.run.float_quality().is_some() {
            legend.push((Swatch::Dashed(theme::MUTED), "float".into()));
        }
        if self.warm_up_end().is_some() {
            legend.push((Swatch::Filled(theme::GRID.into()), "warm-up, random policies".into()));
        }
        legend
    }

    fn scale(&self) -> Axis {
        let float = self.run.float_quality().map(|float| float * self.unit.factor.abs());
        let qualities = || self.tried.iter().map(|tried| tried.quality);
        let best = float.into_iter().chain(qualities()).fold(f64::NEG_INFINITY, f64::max);
        let low = lowest_shown(best, qualities(), 0.6).min(best - self.unit.least_range());
        Axis::around(low, best, 0.06, 7)
    }

    fn draw_curves<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
    ) -> Result<(), ReportError> {
        let step = self.tried.len().div_ceil(MOST_DOTS).max(1);
        for tried in self.tried.iter().step_by(step) {
            let at = frame.clamped(tried.episode, tried.quality);
            let colour = if tried.feasible { theme::BLUE } else { theme::AXIS };
            if tried.quality < frame.y.low {
                Marker::Below.draw(canvas, (at.0, at.1 - 4.0), 2.5, colour.mix(0.5))?;
            } else {
                canvas.disc(at, 2.5, colour.mix(0.4))?;
            }
        }
        if self.has_mean() {
            let qualities: Vec<f64> = self.tried.iter().map(|tried| tried.quality).collect();
            let means = moving_mean(&qualities, self.window());
            let points: Vec<Point> = self
                .tried
                .iter()
                .zip(means)
                .skip(self.window() - 1)
                .map(|(tried, mean)| frame.clamped(tried.episode, mean))
                .collect();
            canvas.path(&thinned(points), theme::BLUE, 2.0)?;
        }
        let best = best_so_far(&self.tried);
        let end = self.tried.last().map(|last| last.episode);
        let mut steps: Vec<Point> = Vec::new();
        for &(episode, quality) in &best {
            if let Some(&(_, before)) = steps.last() {
                steps.push((episode, before));
            }
            steps.push((episode, quality));
        }
        if let (Some(&(_, last)), Some(end)) = (steps.last(), end) {
            steps.push((end, last));
        }
        let steps: Vec<Point> = steps.iter().map(|&(x, y)| frame.clamped(x, y)).collect();
        canvas.path(&steps, theme::VERMILION, 2.5)
    }

    fn draw_float<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
    ) -> Result<(), ReportError> {
        let Some(float) = self.run.float_quality() else { return Ok(()) };
        let y = frame.py(float * self.unit.factor.abs());
        let Area { left, right, .. } = frame.area;
        canvas.dashes((left, y), (right, y), theme::MUTED, 1.5, (7.0, 4.0))?;
        let words = format!("float {}", self.run.description.measure.show(float));
        let font = Font::new(theme::SMALL, theme::MUTED).anchor(Anchor::End);
        canvas.text((right - 6.0, y - 6.0), &words, font)
    }

    /// How wide the agent searched: a strip below the curve.
    fn draw_exploration<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: &Frame,
    ) -> Result<(), ReportError> {
        frame.draw_y(canvas, "noise σ", |tick| frame.y.label(tick))?;
        let sigma = &self.run.exploration;
        let points: Vec<Point> = sigma
            .iter()
            .enumerate()
            .filter(|(episode, sigma)| sigma.is_finite() && frame.x.contains(*episode as f64))
            .map(|(episode, sigma)| frame.clamped(episode as f64, *sigma))
            .collect();
        canvas.path(&thinned(points), theme::GREEN, 2.0)?;
        frame.draw_base(canvas)
    }
}

impl Figure for LearningFigure<'_> {
    fn description(&self) -> String {
        format!("Learning curve: {}. {}", self.title(), self.subtitle())
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), ReportError> {
        let top = draw_header(canvas, &self.title(), &self.subtitle(), &self.legend())?;
        let sigma = self.run.exploration.iter().copied().filter(|sigma| sigma.is_finite());
        let most_sigma = sigma.fold(0.0, f64::max);
        let strip = if most_sigma > 0.0 { 100.0 } else { 0.0 };
        let whole = plot_area(canvas.width, top, canvas.height - 66.0);
        let first = self.tried[0].episode;
        let last = self.tried[self.tried.len() - 1].episode;
        let x = Axis::counting(first.min(0.0), last, 10);
        let area = Area { bottom: whole.bottom - strip, ..whole };
        let frame = Frame { area, x: x.clone(), y: self.scale() };
        if let Some(end) = self.warm_up_end() {
            let right = frame.px(end.min(last));
            canvas.fill(Area { right, ..whole }, theme::SHADE)?;
            canvas.line((right, whole.top), (right, whole.bottom), theme::GRID, 1.0)?;
        }
        Frame { area: whole, ..frame.clone() }.draw_x(canvas, "episode")?;
        let name = match self.unit.name {
            "" => format!("{} (lower is better)", measure_name(self.run.description.measure)),
            unit => format!("{} ({unit})", measure_name(self.run.description.measure)),
        };
        let sign = self.unit.factor.signum();
        frame.draw_y(canvas, &name, |tick| frame.y.label(tick * sign))?;
        self.draw_float(canvas, &frame)?;
        frame.draw_base(canvas)?;
        self.draw_curves(canvas, &frame)?;
        if strip > 0.0 {
            let area = Area { top: whole.bottom - strip + 26.0, ..whole };
            let y = Axis::over(0.0, most_sigma * 1.05, 2);
            self.draw_exploration(canvas, &Frame { area, x, y })?;
        }
        Ok(())
    }
}

/// Each improvement: its episode and quality. Policies over a budget do not count.
fn best_so_far(tried: &[Tried]) -> Vec<Point> {
    let mut best = f64::NEG_INFINITY;
    let mut improvements = Vec::new();
    for tried in tried.iter().filter(|tried| tried.feasible) {
        if tried.quality > best {
            best = tried.quality;
            improvements.push((tried.episode, best));
        }
    }
    improvements
}

/// At each value, the mean of it and up to `window − 1` before it.
fn moving_mean(values: &[f64], window: usize) -> Vec<f64> {
    let mut sum = 0.0;
    let mean = |(index, value): (usize, &f64)| {
        sum += value;
        if index >= window {
            sum -= values[index - window];
        }
        sum / (index + 1).min(window) as f64
    };
    values.iter().enumerate().map(mean).collect()
}

/// One point for each half pixel of width: a longer path shows no more.
fn thinned(points: Vec<Point>) -> Vec<Point> {
    let mut last: HashMap<i64, Point> = HashMap::new();
    for point in points {
        last.insert((point.0 * 2.0) as i64, point);
    }
    let mut points: Vec<Point> = last.into_values().collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_follows_its_window() {
        assert_eq!(moving_mean(&[1.0, 3.0, 5.0, 7.0], 2), [1.0, 2.0, 4.0, 6.0]);
        assert_eq!(moving_mean(&[], 5), [0.0; 0]);
    }

    #[test]
    fn policies_over_a_budget_are_never_the_best() {
        let tried = [(0, 1.0, true), (1, 9.0, false), (2, 0.5, true), (3, 2.0, true)].map(
            |(episode, quality, feasible)| Tried {
                episode: f64::from(episode),
                quality,
                feasible,
                warm_up: false,
            },
        );
        assert_eq!(best_so_far(&tried), [(0.0, 1.0), (3.0, 2.0)]);
    }
}
