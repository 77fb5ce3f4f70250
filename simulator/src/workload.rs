//! What a network asks of the hardware: layers in order, and the tensors alive between them.

use serde::{Deserialize, Serialize};
use thiserror::Error;

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
    /// and then it takes 8 bits.
    pub bits_of_layer: Option<usize>,
    pub first_step: usize,
    pub last_step: usize,
}

/// Where a layer's result goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LayerOutput {
    /// The layer that reads the result, and so decides the bits it is written at; `None`
    /// when no layer does, and then it keeps the activation bits of the layer itself.
    pub read_by: Option<usize>,
    /// Elements of a skip connection that are read and added before the result is
    /// written, for one image; 0 without one.
    pub skip_elements: u64,
}

/// All that the cost model knows of a network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Workload {
    pub layers: Vec<Layer>,
    /// One for each layer, or empty for a chain in which each layer feeds the next.
    #[serde(default)]
    pub outputs: Vec<LayerOutput>,
    /// Empty for a bare list of layers: then each layer's input and output are alive
    /// while it runs, and nothing else.
    pub tensors: Vec<LiveTensor>,
    /// For each step, the name of what runs then; the peak names it.
    pub steps: Vec<String>,
}

/// What makes a workload meaningless.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WorkloadError {
    #[error("layer {index} ({name}): {problem}")]
    Layer { index: usize, name: String, problem: String },
    #[error("tensor {name}: {problem}")]
    Tensor { name: String, problem: String },
    #[error("{outputs} layer outputs for {layers} layers; give one for each layer, or none")]
    Outputs { outputs: usize, layers: usize },
}

impl Layer {
    /// A matrix product for one position, with a bias: kernel, stride and map are 1.
    pub fn linear(name: String, in_channels: u64, out_channels: u64) -> Self {
        Self {
            name,
            kind: LayerKind::Linear,
            in_channels,
            out_channels,
            kernel_h: 1,
            kernel_w: 1,
            stride_h: 1,
            stride_w: 1,
            pad_top: 0,
            pad_left: 0,
            pad_bottom: 0,
            pad_right: 0,
            dilation_h: 1,
            dilation_w: 1,
            groups: 1,
            in_h: 1,
            in_w: 1,
            bias: true,
        }
    }

    /// Rows of the result: `(in + padding - kernel extent) / stride + 1`.
    pub fn out_h(&self) -> u64 {
        out_extent(
            self.in_h,
            self.pad_top,
            self.pad_bottom,
            self.kernel_h,
            self.dilation_h,
            self.stride_h,
        )
    }

    /// Columns of the result.
    pub fn out_w(&self) -> u64 {
        out_extent(
            self.in_w,
            self.pad_left,
            self.pad_right,
            self.kernel_w,
            self.dilation_w,
            self.stride_w,
        )
    }

    /// Elements of the result for one image; saturates where no `u64` holds it.
    pub fn out_elements(&self) -> u64 {
        self.out_channels.saturating_mul(self.out_h()).saturating_mul(self.out_w())
    }

    /// Elements of the input for one image.
    pub fn in_elements(&self) -> u64 {
        self.in_channels.saturating_mul(self.in_h).saturating_mul(self.in_w)
    }

    /// Number of weights.
    pub fn weights(&self) -> u64 {
        self.reduction().saturating_mul(self.out_channels)
    }

    /// Multiply-accumulates for one image.
    pub fn macs(&self) -> u64 {
        self.reduction().saturating_mul(self.out_elements())
    }

    /// Products summed for one element of the result.
    pub fn reduction(&self) -> u64 {
        self.kernel_h
            .saturating_mul(self.kernel_w)
            .saturating_mul(self.in_channels / self.groups.max(1))
    }

    /// Says what is wrong with the shape, if anything is.
    pub fn check(&self) -> Result<(), String> {
        let sizes = [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("kernel_h", self.kernel_h),
            ("kernel_w", self.kernel_w),
            ("stride_h", self.stride_h),
            ("stride_w", self.stride_w),
            ("dilation_h", self.dilation_h),
            ("dilation_w", self.dilation_w),
            ("groups", self.groups),
            ("in_h", self.in_h),
            ("in_w", self.in_w),
        ];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(format!("{key} is 0; it needs to be at least 1"));
        }
        let whole = |channels: u64| channels.is_multiple_of(self.groups);
        if !whole(self.in_channels) || !whole(self.out_channels) {
            return Err(format!(
                "groups is {}; it needs to divide {} input and {} output channels",
                self.groups, self.in_channels, self.out_channels
            ));
        }
        match self.kind {
            LayerKind::Depthwise if self.groups != self.in_channels => {
                return Err(format!(
                    "groups is {}; a depthwise layer has one for each of its {} input channels",
                    self.groups, self.in_channels
                ));
            }
            LayerKind::Linear if self.kernel_h.max(self.kernel_w) > 1 || self.groups > 1 => {
                return Err("a linear layer has a kernel of 1 and one group".to_owned());
            }
            _ => {}
        }
        for (axis, size, before, after, kernel, dilation) in [
            ("h", self.in_h, self.pad_top, self.pad_bottom, self.kernel_h, self.dilation_h),
            ("w", self.in_w, self.pad_left, self.pad_right, self.kernel_w, self.dilation_w),
        ] {
            let padded = size.saturating_add(before).saturating_add(after);
            let extent = kernel_extent(kernel, dilation);
            if extent > padded {
                return Err(format!(
                    "the kernel covers {extent} elements along {axis}, the padded input has \
                     {padded}; it needs at least as many"
                ));
            }
        }
        Ok(())
    }
}

impl Workload {
    /// A bare list of layers, each feeding the next.
    pub fn of_layers(layers: Vec<Layer>) -> Self {
        Self { layers, ..Self::default() }
    }

    /// The layer whose activation bits the result of this one is written at.
    pub fn consumer(&self, layer_index: usize) -> usize {
        match self.outputs.get(layer_index) {
            Some(output) => output.read_by.unwrap_or(layer_index),
            None => (layer_index + 1).min(self.layers.len().saturating_sub(1)),
        }
    }

    /// Multiply-accumulates of all layers for one image.
    pub fn macs(&self) -> u64 {
        self.layers.iter().map(Layer::macs).fold(0, u64::saturating_add)
    }

    /// Weights of all layers.
    pub fn weights(&self) -> u64 {
        self.layers.iter().map(Layer::weights).fold(0, u64::saturating_add)
    }

    /// Checks every layer, output and tensor.
    ///
    /// # Errors
    /// [`WorkloadError`] naming the first layer or tensor that cannot be.
    pub fn check(&self) -> Result<(), WorkloadError> {
        for (index, layer) in self.layers.iter().enumerate() {
            layer.check().map_err(|problem| WorkloadError::Layer {
                index,
                name: layer.name.clone(),
                problem,
            })?;
        }
        self.check_outputs()?;
        for tensor in &self.tensors {
            self.check_tensor(tensor)
                .map_err(|problem| WorkloadError::Tensor { name: tensor.name.clone(), problem })?;
        }
        Ok(())
    }

    fn check_outputs(&self) -> Result<(), WorkloadError> {
        let layers = self.layers.len();
        if !self.outputs.is_empty() && self.outputs.len() != layers {
            return Err(WorkloadError::Outputs { outputs: self.outputs.len(), layers });
        }
        for (index, output) in self.outputs.iter().enumerate() {
            if let Some(reader) = output.read_by.filter(|reader| *reader >= layers) {
                return Err(WorkloadError::Layer {
                    index,
                    name: self.layers[index].name.clone(),
                    problem: format!("feeds layer {reader}; there are {layers}"),
                });
            }
        }
        Ok(())
    }

    fn check_tensor(&self, tensor: &LiveTensor) -> Result<(), String> {
        if let Some(layer) = tensor.bits_of_layer.filter(|layer| *layer >= self.layers.len()) {
            return Err(format!(
                "takes its bits from layer {layer}; there are {}",
                self.layers.len()
            ));
        }
        if tensor.first_step > tensor.last_step || tensor.last_step >= self.steps.len() {
            return Err(format!(
                "lives from step {} to {}; there are {} steps",
                tensor.first_step,
                tensor.last_step,
                self.steps.len()
            ));
        }
        Ok(())
    }
}

/// Input elements one kernel position spans along an axis.
fn kernel_extent(kernel: u64, dilation: u64) -> u64 {
    kernel.saturating_sub(1).saturating_mul(dilation).saturating_add(1)
}

fn out_extent(size: u64, before: u64, after: u64, kernel: u64, dilation: u64, stride: u64) -> u64 {
    let padded = size.saturating_add(before).saturating_add(after);
    match padded.checked_sub(kernel_extent(kernel, dilation)) {
        Some(room) => room / stride.max(1) + 1,
        None => 0,
    }
}
