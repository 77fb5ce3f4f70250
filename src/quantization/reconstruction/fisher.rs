//! How much the network's answer depends on each number of a tensor.

use rand::Rng;
use tch::{Kind, Tensor};

use crate::{
    network::{Executable, TensorId},
    quantization::{error::QuantizationError, evaluate::batch_of, reconstruction::random},
};

/// The diagonal of the Fisher information of a tensor, image by image, with mean 1: the squared
/// gradient of the log-likelihood of a class drawn from the float network's own answer.
///
/// - `values`: the float network's, `[n, ...]`
/// - returns: of the same shape; all 1 where the answer depends on nothing
///
/// # Errors
/// When the network does not run.
///
/// Source: BRECQ, equation 10. We draw the class from the network's answer where they take the
/// divergence from the rounded network.
pub fn importance(
    float: &Executable,
    at: TensorId,
    values: &Tensor,
    seed: u64,
    index: usize,
) -> Result<Tensor, QuantizationError> {
    let output = float.graph().output()?;
    let mut squares = Vec::new();
    for (batch_index, batch) in values.split(batch_of(values) as i64, 0).iter().enumerate() {
        let batch = batch.detach().copy().set_requires_grad(true);
        let outputs = float.run_recorded(&[(at, &batch)], &[output], &mut |_, _| Ok(None))?;
        let log_p = outputs[0].flatten(1, -1).log_softmax(1, Kind::Float);
        let drawn = draw(&log_p.detach().exp(), seed, index, batch_index);
        let likelihood = log_p.gather(1, &drawn, false).sum(Kind::Float);
        let gradient = Tensor::f_run_backward(&[likelihood], &[&batch], false, false)?;
        squares.push(gradient[0].detach().square());
    }
    let squares = Tensor::f_cat(&squares, 0)?;
    let mean = squares.mean(Kind::Double).double_value(&[]);
    Ok(if mean > 0.0 { squares / mean } else { squares.ones_like() })
}

/// One class an image, drawn from its probabilities; `[n, 1]`.
fn draw(p: &Tensor, seed: u64, index: usize, batch_index: usize) -> Tensor {
    // Steps of learning count up from 0, these streams down from the top.
    let mut rng = random::rng(seed, index, u32::MAX as usize - batch_index);
    let n = p.size()[0];
    let uniform: Vec<f32> =
        (0..n).map(|_| (rng.next_u32() >> 8) as f32 / (1u32 << 24) as f32).collect();
    let below = p.cumsum(1, Kind::Float).lt_tensor(&Tensor::from_slice(&uniform).view([n, 1]));
    below.sum_dim_intlist([1].as_slice(), true, Kind::Int64).clamp_max(p.size()[1] - 1)
}
