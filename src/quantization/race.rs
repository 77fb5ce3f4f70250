//! Evaluations that stop as soon as they can no longer matter.
//!
//! A network is compared with a rival on the same images, image by image: what makes an image
//! hard is the same for both, so that far fewer images tell two networks apart than would give
//! either figure.
//!
//! Source: Maron and Moore 1997, "The racing algorithm", with differences in pairs (blocking).

use std::time::Instant;

use tch::{Kind, Tensor};

use crate::{
    domain::{Measure, Quality},
    network::{Executable, Graph},
    quantization::{
        error::QuantizationError,
        evaluate::{Batch, Evaluator, Measured, Sums},
    },
};

/// How many standard errors the mean difference of divergence has to lie above 0. It is looked at
/// after every batch, so that two would be passed too often by chance: of 149 policies of three
/// searches none was stopped wrongly at 2.5, and two at 2.
const STANDARD_ERRORS: f64 = 2.5;

/// Share of the images that are looked at in any case: what is foretold of the rest then is
/// within 6 % (one standard deviation).
const LEAST_SHARE: f64 = 0.25;

/// How an evaluation came along, for others to be compared with on the same evaluator.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Divergence of every image and blend, in nats and in the evaluator's order.
    kl: Vec<f64>,
    /// Over the images so far, after each batch; the last is over all.
    so_far: Vec<Quality>,
}

/// What a race gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Raced {
    /// Where it stopped, what is foretold for all images: the rival's quality there, moved by how
    /// far the two are apart on the images that were looked at.
    pub quality: Quality,
    /// Images that were looked at before it stopped; none where all were.
    pub stopped_after: Option<usize>,
    /// Of a network that was not stopped.
    pub course: Option<Course>,
}

impl Course {
    /// Over all images.
    fn whole(&self) -> &Quality {
        self.so_far.last().expect("there is a batch")
    }
}

impl Evaluator {
    /// As [`Evaluator::evaluate`], with how it came along.
    ///
    /// # Errors
    /// When the network does not run.
    pub fn course(&self, graph: &Graph) -> Result<(Measured, Course), QuantizationError> {
        let start = Instant::now();
        let course = self.course_while(graph, &mut |_| true)?;
        Ok((Measured { quality: *course.whole(), wall_s: start.elapsed().as_secs_f64() }, course))
    }

    /// Judges a network only as long as it may still be better than a rival: it is stopped once its
    /// divergence is beyond doubt the larger one, and its measure is not above the rival's so far.
    ///
    /// The number of threads changes nothing.
    ///
    /// - `rival`: of another network on this evaluator
    ///
    /// # Errors
    /// When the network does not run.
    pub fn race(
        &self,
        graph: &Graph,
        rival: &Course,
        measure: Measure,
    ) -> Result<Raced, QuantizationError> {
        let mut apart = Difference::default();
        let course = self.course_while(graph, &mut |course| {
            let seen = apart.n..course.kl.len();
            course.kl[seen.clone()].iter().zip(&rival.kl[seen]).for_each(|(a, b)| apart.add(a - b));
            let batch = course.so_far.len() - 1;
            let is_better = measure.of(&course.so_far[batch]) > measure.of(&rival.so_far[batch]);
            is_better || !apart.is_above_zero(rival.kl.len())
        })?;
        let batch = course.so_far.len() - 1;
        if course.kl.len() == rival.kl.len() {
            return Ok(Raced {
                quality: *course.whole(),
                stopped_after: None,
                course: Some(course),
            });
        }
        let quality = moved(rival.whole(), &rival.so_far[batch], &course.so_far[batch]);
        let n_images = self.batches()[..=batch].iter().map(Batch::n_images).sum();
        Ok(Raced { quality, stopped_after: Some(n_images), course: None })
    }

    /// Batch after batch for as long as `go_on` says so; it is asked after every batch, in their
    /// order whatever the number of threads is.
    fn course_while(
        &self,
        graph: &Graph,
        go_on: &mut dyn FnMut(&Course) -> bool,
    ) -> Result<Course, QuantizationError> {
        let executable = [Executable::in_arithmetic(graph, self.device(), self.arithmetic())?];
        let (mut sums, mut course) =
            (Sums::default(), Course { kl: Vec::new(), so_far: Vec::new() });
        let n_batches = self.batches().len();
        for first in (0..n_batches).step_by(self.n_workers()) {
            let range = first..(first + self.n_workers()).min(n_batches);
            let parts = self.for_batches_in(range, &executable, |_, batch, executables| {
                let outputs = executables[0].run(&batch.images)?.flatten(1, -1);
                Ok((Sums::of(batch, &outputs), divergences(batch, &outputs)))
            })?;
            for (part, own) in parts {
                sums.add(&part);
                course.kl.extend(own);
                course.so_far.push(sums.finish());
                if !go_on(&course) {
                    return Ok(course);
                }
            }
        }
        Ok(course)
    }
}

/// Differences in divergence so far.
#[derive(Debug, Default)]
struct Difference {
    n: usize,
    sum: f64,
    sum_of_squares: f64,
}

impl Difference {
    fn add(&mut self, difference: f64) {
        self.n += 1;
        self.sum += difference;
        self.sum_of_squares += difference * difference;
    }

    /// Whether the mean over all of `n_in_all` lies above 0 beyond doubt.
    fn is_above_zero(&self, n_in_all: usize) -> bool {
        let n = self.n as f64;
        let seen = n / n_in_all as f64;
        let mean = self.sum / n;
        let variance = (self.sum_of_squares / n - mean * mean).max(0.0);
        // Of all there are, some were drawn: nothing is left to chance once all are.
        let standard_error = (variance / n * (1.0 - seen)).sqrt();
        (LEAST_SHARE..1.0).contains(&seen) && mean > STANDARD_ERRORS * standard_error
    }
}

/// Quality over all images of a network that was at `own` when its rival, now at `whole`, was at
/// `rival`.
fn moved(whole: &Quality, rival: &Quality, own: &Quality) -> Quality {
    let moved = |of: fn(&Quality) -> Option<f64>| Some(of(whole)? + of(own)? - of(rival)?);
    let share = |of| moved(of).map(|value: f64| value.clamp(0.0, 1.0));
    let distance = |of| moved(of).map(|value: f64| value.max(0.0));
    Quality {
        top1: share(|q| q.top1),
        top5: share(|q| q.top5),
        loss: distance(|q| q.loss),
        agreement: share(|q| q.agreement),
        kl: distance(|q| q.kl),
        mse: distance(|q| q.mse),
    }
}

/// The KL divergence of each image of a batch.
fn divergences(batch: &Batch, outputs: &Tensor) -> Vec<f64> {
    let log_p = batch.float_outputs().log_softmax(1, Kind::Float);
    let log_q = outputs.log_softmax(1, Kind::Float);
    let each =
        (log_p.exp() * (&log_p - &log_q)).sum_dim_intlist([1].as_slice(), false, Kind::Double);
    Vec::try_from(each).expect("one number an image")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_beyond_doubt_when_it_is_large_for_its_spread_and_enough_was_seen() {
        for (name, differences, n_in_all, expected) in [
            ("all alike", vec![0.1; 30], 100, true),
            ("a tenth was seen", vec![0.1; 30], 300, false),
            ("all were seen", vec![0.1; 30], 30, false),
            ("no difference", vec![0.0; 30], 100, false),
            ("better", vec![-0.1; 30], 100, false),
            ("one image decides", [vec![0.0; 29], vec![3.0]].concat(), 100, false),
            ("not a number", [vec![0.1; 29], vec![f64::NAN]].concat(), 100, false),
        ] {
            let mut apart = Difference::default();
            differences.iter().for_each(|&each| apart.add(each));
            assert_eq!(apart.is_above_zero(n_in_all), expected, "{name}");
        }
    }

    #[test]
    fn what_is_foretold_is_the_rivals_quality_moved() {
        let at = |top1, kl| Quality { top1: Some(top1), kl: Some(kl), ..Quality::default() };
        let found = moved(&at(0.9, 0.2), &at(0.8, 0.3), &at(0.7, 0.35));
        assert!((found.top1.unwrap() - 0.8).abs() < 1e-12, "{found:?}");
        assert!((found.kl.unwrap() - 0.25).abs() < 1e-12, "{found:?}");
        assert_eq!((found.top5, found.loss), (None, None));
        assert_eq!(moved(&at(0.05, 0.0), &at(0.5, 0.3), &at(0.3, 0.1)), at(0.0, 0.0));
    }
}
