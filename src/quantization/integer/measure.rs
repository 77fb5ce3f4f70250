//! A network on integers beside the float network that rounds at the same places.

use std::time::Instant;

use tch::{Kind, Tensor};

use super::{IntegerNetwork, IntegerWorkspace};
use crate::{
    network::Executable,
    quantization::{
        error::QuantizationError,
        evaluate::{Evaluator, Measured, Sums},
    },
};

/// What one pass of both over all images gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IntegerMeasured {
    pub integer: Measured,
    /// In double precision, see [`IntegerNetwork::reference`].
    pub fake_quantized: Measured,
    /// Share of images to which both give the same class.
    pub same_class: f64,
}

impl Evaluator {
    /// Runs the integers, and the float network that rounds as they do.
    ///
    /// # Errors
    /// When either does not run on the images.
    pub fn evaluate_integer(
        &self,
        network: &IntegerNetwork,
    ) -> Result<IntegerMeasured, QuantizationError> {
        let (integer, classes) = self.pass(&[], |_, images| integer_outputs(network, images))?;
        let executable = network.reference()?;
        let (fake_quantized, expected) = self.pass(&[executable], |executables, images| {
            Ok(network.run_reference(&executables[0], images)?.flatten(1, -1))
        })?;
        let same = classes.iter().zip(&expected).filter(|(a, b)| a == b).count();
        let same_class = same as f64 / self.n_images() as f64;
        Ok(IntegerMeasured { integer, fake_quantized, same_class })
    }

    /// Quality and predicted classes, the time measured.
    fn pass(
        &self,
        executables: &[Executable],
        outputs: impl Fn(&[Executable], &Tensor) -> Result<Tensor, QuantizationError> + Sync,
    ) -> Result<(Measured, Vec<i64>), QuantizationError> {
        let start = Instant::now();
        let parts = self.for_batches(executables, |_, batch, executables| {
            let outputs = outputs(executables, &batch.images)?;
            let predicted = outputs.argmax(1, false);
            let classes = Vec::<i64>::try_from(predicted).expect("classes are a vector of i64");
            Ok((Sums::of(batch, &outputs), classes))
        })?;
        let wall_s = start.elapsed().as_secs_f64();
        let (mut sums, mut classes) = (Sums::default(), Vec::with_capacity(self.n_images()));
        for (part, own) in parts {
            sums.add(&part);
            classes.extend(own);
        }
        Ok((Measured { quality: sums.finish(), wall_s }, classes))
    }
}

/// Logits of a batch, `[n, outputs]`.
fn integer_outputs(network: &IntegerNetwork, images: &Tensor) -> Result<Tensor, QuantizationError> {
    let n = images.size()[0];
    let ordered = match images.dim() {
        4 => images.permute([0, 2, 3, 1]),
        _ => images.shallow_clone(),
    };
    let flat = ordered.to_kind(Kind::Float).contiguous().view(-1);
    let numbers = Vec::<f32>::try_from(flat).expect("a flat f32 tensor is a vector");
    let mut workspace = IntegerWorkspace::default();
    let mut logits = Vec::new();
    for image in numbers.chunks_exact(numbers.len() / n as usize) {
        logits.extend(network.run(image, &mut workspace)?);
    }
    Ok(Tensor::from_slice(&logits).view([n, -1]))
}
