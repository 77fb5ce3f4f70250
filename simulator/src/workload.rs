//! What a network asks of the hardware: layers in order, and the tensors alive between them.

use serde::{Deserialize, Serialize};

/// What a layer computes, as far as its cost goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerKind {
    /// Dense or grouped convolution.
    Conv,
    /// Convolution with one input channel a group.
    Depthwise,
    /// Matrix product with constant weights; kernel, stride and map are 1.
    Linear,
}

/// The shape of one quantizable layer, for one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    pub name: String,
    pub kind: LayerKind,
    pub in_channels: u64,
    pub out_channels: u64,
    pub kernel_h: u64,
    pub kernel_w: u64,
    pub stride_h: u64,
    pub stride_w: u64,
    pub pad_top: u64,
    pub pad_left: u64,
    pub pad_bottom: u64,
    pub pad_right: u64,
    pub dilation_h: u64,
    pub dilation_w: u64,
    pub groups: u64,
    pub in_h: u64,
    pub in_w: u64,
    /// Whether the layer adds a bias; 32 bits for each output channel.
    pub bias: bool,
}

/// An activation tensor and how long it has to be kept.
///
/// Steps count the operations of the network in the order they run; they need not be
/// layers. The tensor occupies memory in every step of `first_step..=last_step`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveTensor {
    pub name: String,
    /// Elements for one image.
    pub elements: u64,
    /// The layer whose activation bits it is stored at; `None` when no layer reads it,
    /// and then it takes `unread_bits` of the workload.
    pub bits_of_layer: Option<usize>,
    pub first_step: usize,
    pub last_step: usize,
}

/// All that the cost model knows of a network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Workload {
    pub layers: Vec<Layer>,
    /// Empty for a bare list of layers: then each layer's input and output are alive
    /// while it runs, and nothing else.
    pub tensors: Vec<LiveTensor>,
    /// For each step, the name of what runs then; the peak names it.
    pub steps: Vec<String>,
}
