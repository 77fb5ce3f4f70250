//! What the float and the rounded network make of the calibration images, up to one tensor.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tch::Tensor;

use crate::{
    network::{Executable, TensorId},
    quantization::{error::QuantizationError, evaluate::batch_of},
};

/// Both networks' values of one cut point, for every image.
pub struct Prefix {
    pub at: TensorId,
    pub float: Tensor,
    pub rounded: Tensor,
}

impl Prefix {
    /// Moves on to a later cut point.
    ///
    /// # Errors
    /// When a network does not run.
    pub fn advance(
        &mut self,
        to: TensorId,
        float: &Executable,
        rounded: &Executable,
    ) -> Result<(), QuantizationError> {
        if to != self.at {
            self.float = compute(float, self.at, &self.float, to)?;
            self.rounded = compute(rounded, self.at, &self.rounded, to)?;
            self.at = to;
        }
        Ok(())
    }
}

/// The values of `wanted`, from those of `from`, which carries all that it needs.
///
/// Batches are shared out between threads; each image is computed by itself.
///
/// # Errors
/// When the network does not run.
pub fn compute(
    executable: &Executable,
    from: TensorId,
    values: &Tensor,
    wanted: TensorId,
) -> Result<Tensor, QuantizationError> {
    if from == wanted {
        return Ok(values.shallow_clone());
    }
    let batches = values.split(batch_of(values) as i64, 0);
    let n_workers = rayon::current_num_threads().clamp(1, batches.len());
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Tensor, QuantizationError>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..n_workers {
            let executable = executable.share();
            let batches: Vec<Tensor> = batches.iter().map(Tensor::shallow_clone).collect();
            let (next, done) = (&next, &done);
            scope.spawn(move || {
                tch::set_num_threads(1);
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(batch) = batches.get(index) else { break };
                    let output = executable.run_between(&[(from, batch)], &[wanted]);
                    let output = output.map(|mut out| out.swap_remove(0)).map_err(Into::into);
                    done.lock().expect("no worker panics").push((index, output));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no worker panics");
    done.sort_by_key(|(index, _)| *index);
    let outputs: Vec<Tensor> =
        done.into_iter().map(|(_, output)| output).collect::<Result<_, _>>()?;
    Ok(Tensor::f_cat(&outputs, 0)?)
}
