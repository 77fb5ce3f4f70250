//! What a Pareto plot shows of its runs: points in display units, scales, thinning.

use std::collections::HashSet;

use plotters::prelude::RGBColor;

use crate::{
    domain::{CostKind, EpisodeRecord},
    report::{
        Reference, ReportError, RunView,
        axis::{Axis, Unit, lowest_shown},
        canvas::Point,
        frame::{Frame, Marker},
        theme,
    },
};

/// Faint points closer than this cannot be told apart, in pixels.
const CELL: f64 = 3.0;
/// Faint points drawn of one run at most.
const MOST_FAINT: usize = 2000;

/// One run, in display units.
#[derive(Debug, Clone)]
pub struct Series<'a> {
    pub run: &'a RunView,
    pub colour: RGBColor,
    pub marker: Marker,
    pub tried: Vec<Dot>,
    pub front: Vec<Point>,
    pub references: Vec<(Reference<'a>, Point)>,
    pub chosen: Option<Point>,
}

/// A policy that was tried; of one that lost a race, what is foretold of it.
#[derive(Debug, Clone, Copy)]
pub struct Dot {
    pub at: Point,
    pub feasible: bool,
}

impl<'a> Series<'a> {
    pub fn new(run: &'a RunView, kind: CostKind, x: Unit, y: Unit, index: usize) -> Self {
        let point = |episode: &EpisodeRecord| -> Option<Point> {
            let cost = episode.cost.get(kind) * x.factor;
            let quality = run.quality(episode)? * y.factor.abs();
            cost.is_finite().then_some((cost, quality))
        };
        let tried = run.episodes.iter().filter_map(|episode| {
            Some(Dot { at: point(episode)?, feasible: run.is_feasible(episode) })
        });
        let references = run
            .references()
            .into_iter()
            .filter_map(|reference| Some((reference, point(reference.episode)?)));
        Self {
            run,
            colour: theme::SERIES[index % theme::SERIES.len()],
            marker: Marker::SERIES[index % Marker::SERIES.len()],
            tried: tried.collect(),
            front: run.front(kind).into_iter().filter_map(point).collect(),
            references: references.collect(),
            chosen: run.best().and_then(point),
        }
    }
}

/// Whether two runs may share a plot.
pub fn comparable(first: &RunView, other: &RunView, kind: CostKind) -> Result<(), ReportError> {
    let (a, b) = (&first.description, &other.description);
    let reason = if a.measure != b.measure {
        format!("one measured {}, the other {}", a.measure, b.measure)
    } else if a.batch != b.batch && kind != CostKind::Size {
        format!("their {kind} is that of a batch of {} and of {}", a.batch, b.batch)
    } else {
        return Ok(());
    };
    Err(ReportError::Incomparable { first: first.id, other: other.id, reason })
}

/// Both scales, over what matters: fronts, float, budgets, and what lies at their height.
pub fn scales(runs: &[Series], kind: CostKind, x_unit: Unit, y_unit: Unit) -> (Axis, Axis) {
    let scale = y_unit.factor.abs();
    let floats = || runs.iter().filter_map(|series| Some(series.run.float_quality()? * scale));
    let fronts = || runs.iter().flat_map(|series| series.front.iter().copied());
    let tried = || runs.iter().flat_map(|series| series.tried.iter().map(|dot| dot.at));
    let best = floats().chain(tried().map(|(_, y)| y)).fold(f64::NEG_INFINITY, f64::max);
    let mut low = lowest_shown(best, fronts().map(|(_, y)| y), 0.5);
    // A front of a point or two says little about what is interesting.
    if fronts().count() < 4 {
        let references = runs.iter().flat_map(|series| &series.references).map(|(_, at)| at.1);
        low = low.min(lowest_shown(best, fronts().map(|(_, y)| y).chain(references), 0.7));
    }
    for (_, y) in runs.iter().filter_map(|series| series.chosen) {
        low = low.min(y);
    }
    low = low.min(best - y_unit.least_range());
    let y = Axis::around(low, best, 0.06, 7);
    let visible = || tried().chain(fronts()).filter(|at| at.1 >= y.low).map(|at| at.0);
    let limits = runs.iter().filter_map(|series| Some(series.run.limit(kind)? * x_unit.factor));
    let references = runs.iter().flat_map(|series| &series.references).map(|(_, at)| at.0);
    let (mut left, mut right) = (f64::INFINITY, f64::NEG_INFINITY);
    for x in visible().chain(references) {
        (left, right) = (left.min(x), right.max(x));
    }
    // A budget far from everything would leave the plot empty.
    let reach = (right - left).max(right.abs() * 0.2);
    let near = left - reach..right + reach;
    for limit in limits.filter(|limit| near.contains(limit)) {
        (left, right) = (left.min(limit), right.max(limit));
    }
    (Axis::around(left, right, 0.04, 8), y)
}

/// The points inside the frame, one for each small cell, at most [`MOST_FAINT`].
pub fn thinned(dots: &[Dot], frame: &Frame) -> Vec<Dot> {
    let mut seen = HashSet::new();
    let mut kept: Vec<Dot> = dots
        .iter()
        .filter(|dot| frame.x.contains(dot.at.0) && frame.y.contains(dot.at.1))
        .filter(|dot| {
            let (x, y) = frame.at(dot.at.0, dot.at.1);
            seen.insert(((x / CELL) as i64, (y / CELL) as i64, dot.feasible))
        })
        .copied()
        .collect();
    let step = kept.len().div_ceil(MOST_FAINT).max(1);
    let mut index = 0;
    kept.retain(|_| {
        index += 1;
        (index - 1) % step == 0
    });
    kept
}
