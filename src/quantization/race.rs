//! Evaluations that stop as soon as they cannot matter any more.

use std::time::Instant;

use tch::{Kind, Tensor};

use crate::{
    domain::Quality,
    network::{Executable, Graph},
    quantization::{
        error::QuantizationError,
        evaluate::{Batch, Evaluator, Measured, Sums},
    },
};

/// What is known of a network after some of the images.
#[derive(Debug, Clone, Copy)]
pub struct Partial<'a> {
    /// Over the images so far.
    pub quality: Quality,
    /// The KL divergence of every image so far, in nats and in the evaluator's order: to be
    /// compared image by image with those of another network on the same evaluator.
    pub kl: &'a [f64],
}

impl Evaluator {
    /// As [`Evaluator::evaluate`], batch after batch for as long as `go_on` says so; it is asked
    /// after every batch but the last. None when it stopped.
    ///
    /// Batches are shown in their order whatever the number of threads is, and a complete
    /// evaluation gives the figures of [`Evaluator::evaluate`].
    ///
    /// # Errors
    /// When the network does not run.
    pub fn evaluate_while(
        &self,
        graph: &Graph,
        go_on: &mut dyn FnMut(&Partial<'_>) -> bool,
    ) -> Result<Option<Measured>, QuantizationError> {
        let start = Instant::now();
        let executable = [Executable::in_arithmetic(graph, self.device(), self.arithmetic())?];
        let (mut sums, mut kl) = (Sums::default(), Vec::with_capacity(self.n_images()));
        let n_batches = self.batches().len();
        for first in (0..n_batches).step_by(self.n_workers()) {
            let range = first..(first + self.n_workers()).min(n_batches);
            let parts = self.for_batches_in(range, &executable, |_, batch, executables| {
                let outputs = executables[0].run(&batch.images)?.flatten(1, -1);
                Ok((Sums::of(batch, &outputs), divergences(batch, &outputs)))
            })?;
            for (part, own) in parts {
                sums.add(&part);
                kl.extend(own);
                let partial = Partial { quality: sums.finish(), kl: &kl };
                if sums.n_images() < self.n_images() && !go_on(&partial) {
                    return Ok(None);
                }
            }
        }
        let quality = sums.finish();
        Ok(Some(Measured { quality, wall_s: start.elapsed().as_secs_f64() }))
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
