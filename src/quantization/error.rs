//! What can go wrong between a float network and its quantized quality.

use crate::{domain::Bits, network::NetworkError, quantization::integer::IntegerError};

#[derive(Debug, thiserror::Error)]
pub enum QuantizationError {
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(
        "the network has no layer to quantize; Conv, Gemm and MatMul with constant f32 weights count"
    )]
    NothingToQuantize,
    #[error("layer {layer}: weight {index} is {value}; quantization needs finite weights")]
    WeightNotFinite { layer: String, index: usize, value: f32 },
    #[error(
        "tensor {tensor}: calibration met {value}; look for images or weights that are not finite"
    )]
    ActivationNotFinite { tensor: String, value: f32 },
    #[error("layer {layer}: weight {index} is {value}, whose square is too large to be summed up")]
    WeightTooLarge { layer: String, index: usize, value: f32 },
    #[error(
        "tensor {tensor}: calibration met {value}, whose square is too large to be summed up; look for images that are not normalised"
    )]
    ActivationTooLarge { tensor: String, value: f32 },
    #[error("this recipe has parts that exclude each other: {problem}")]
    Recipe { problem: &'static str },
    #[error("there is no image; calibration and evaluation need at least one")]
    NoImages,
    #[error("layer {layer}: the second moments of its input cannot be inverted")]
    Singular { layer: String },
    #[error("layer {layer}: {bits} bits; quantization knows 1 to 8")]
    Bits { layer: String, bits: Bits },
    #[error("the policy has {policy} layers, the network {network}")]
    PolicyLength { policy: usize, network: usize },
    #[error(
        "layers {first} and {second} read one tensor and need equal activation bits, not {first_bits} and {second_bits}"
    )]
    SharedTensor { first: String, second: String, first_bits: Bits, second_bits: Bits },
    #[error(
        "measure {measure} needs labels, and the images have none; agreement, kl and mse do not"
    )]
    NoLabels { measure: crate::domain::Measure },
    #[error("image {image}: label {label} is outside the network's {classes} outputs")]
    LabelOutOfRange { image: usize, label: i64, classes: usize },
    #[error(
        "layer {layer}: this method does not just round the tensor the layer reads; sensitivity of activations needs one that does"
    )]
    NotAlone { layer: String },
    #[error(transparent)]
    Integer(#[from] IntegerError),
    #[error("training: {reason}")]
    Training { reason: String },
    #[error(
        "no batch norm was folded into a layer of this network, so none can be trained; train it folded"
    )]
    NoBatchNorm,
    #[error(
        "the images have no labels; training needs the float network's answers: distillation above 0"
    )]
    NothingToLearnFrom,
    #[error(
        "epoch {}, step {step}: the loss is {loss}; a smaller learning rate may help, and what was finished before is kept", epoch + 1
    )]
    LossNotFinite { epoch: u32, step: usize, loss: f64 },
    #[error("the checkpoint cannot be used: {reason}")]
    Checkpoint { reason: String },
    #[error("the tuned network cannot be used: {reason}")]
    Tuned { reason: String },
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}
