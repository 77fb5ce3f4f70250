//! What training makes small.

use tch::{Kind, Reduction, TchError, Tensor};

/// Cross-entropy against the labels, plus the Kullback-Leibler divergence from the float
/// network's answers: in nats, mean over the images.
///
/// - `outputs`, `float_outputs`: `[n, classes]`
/// - `labels`: `[n]`, i64; without them the divergence is all there is
/// - `distillation`: what the divergence counts beside the cross-entropy
///
/// # Errors
/// When the shapes do not fit.
pub fn loss(
    outputs: &Tensor,
    labels: Option<&Tensor>,
    float_outputs: Option<&Tensor>,
    distillation: f64,
) -> Result<Tensor, TchError> {
    let log_q = outputs.f_log_softmax(1, None::<Kind>)?;
    let divergence = match float_outputs {
        Some(float) => {
            let log_p = float.f_log_softmax(1, None::<Kind>)?;
            Some(log_q.f_kl_div(&log_p, Reduction::Sum, true)? / outputs.size()[0] as f64)
        }
        None => None,
    };
    let entropy = match labels {
        Some(labels) => {
            let weight = None::<Tensor>;
            Some(log_q.f_nll_loss(labels, weight, Reduction::Mean, -100)?)
        }
        None => None,
    };
    Ok(match (entropy, divergence) {
        (Some(entropy), Some(divergence)) => entropy + divergence * distillation,
        (Some(entropy), None) => entropy,
        (None, Some(divergence)) => divergence,
        (None, None) => unreachable!("there are labels or float answers to learn from"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantization::training::reference::{assert_close, leaf, reference};

    #[test]
    fn losses_and_gradients_equal_the_reference() {
        let case = reference().losses;
        let outputs = leaf(&case.outputs, &[5, 4]);
        let float = Tensor::from_slice(&case.float_outputs).view([5, 4]);
        let labels = Tensor::from_slice(&case.labels);
        for (labels, float, expected) in [
            (Some(&labels), None, case.entropy),
            (None, Some(&float), case.divergence),
            (Some(&labels), Some(&float), case.entropy + 0.7 * case.divergence),
        ] {
            let found = loss(&outputs, labels, float, 0.7).unwrap();
            assert_close(&found, &[expected], "loss");
        }
        loss(&outputs, Some(&labels), Some(&float), 0.7).unwrap().backward();
        assert_close(&outputs.grad(), &case.by_outputs, "gradient");
    }
}
