//! The counts of a layer that no bitwidth changes, for a whole batch, in checked arithmetic.

use thiserror::Error;

use crate::workload::{Layer, LayerKind, Workload, WorkloadError};

/// Most multiply-accumulates a network may have. Together with the limits on elements and on
/// array sizes it keeps every later product of counts below 2^63.
const MACS_MAX: u64 = 1 << 50;
/// Most elements all weights, or all activations, may have.
const ELEMENTS_MAX: u64 = 1 << 40;

/// Why a cost cannot be computed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CostError {
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    #[error(
        "layer {index} ({name}): {quantity} go beyond {limit} at batch {batch}; a smaller batch \
         or map would do"
    )]
    TooLarge { index: usize, name: String, quantity: &'static str, limit: u64, batch: u64 },
    #[error("batch is {0}; it needs to be 1 to 1048576")]
    Batch(u64),
    #[error("{bits} bitwidths for {layers} layers; give one pair for each layer")]
    Bits { bits: usize, layers: usize },
}

/// A layer as `groups` matrix products of `positions × reduction` by `reduction × outputs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub kind: LayerKind,
    pub batch: u64,
    pub groups: u64,
    pub in_channels: u64,
    pub out_channels: u64,
    pub kernel_h: u64,
    pub kernel_w: u64,
    pub stride_h: u64,
    pub stride_w: u64,
    /// Input rows and columns one kernel position spans, dilation included.
    pub extent_h: u64,
    pub extent_w: u64,
    pub out_h: u64,
    pub out_w: u64,
    /// Output positions of the batch (P).
    pub positions: u64,
    /// Products summed for one output, within a group (K).
    pub reduction: u64,
    /// Output channels of one group (N).
    pub outputs: u64,
    pub macs: u64,
    pub weights: u64,
    /// Elements of the input and of the result, for the batch.
    pub in_elements: u64,
    pub out_elements: u64,
    /// Elements of a skip connection read on the way out, for the batch.
    pub skip_elements: u64,
    pub bias: bool,
    /// Whether this is the network's first layer, fed with the input itself.
    pub first: bool,
}

impl Shape {
    pub fn kernel_area(&self) -> u64 {
        self.kernel_h * self.kernel_w
    }

    pub fn is_depthwise(&self) -> bool {
        self.kind == LayerKind::Depthwise
    }

    /// The shapes of all layers at this batch.
    ///
    /// # Errors
    /// A layer that cannot be, or counts too large for exact arithmetic.
    pub fn of_workload(workload: &Workload, batch: u64) -> Result<Vec<Self>, CostError> {
        if batch == 0 || batch > 1 << 20 {
            return Err(CostError::Batch(batch));
        }
        workload.check()?;
        let mut totals = [0u64; 3];
        let mut shapes = Vec::with_capacity(workload.layers.len());
        for (index, layer) in workload.layers.iter().enumerate() {
            let skip = workload.outputs.get(index).map_or(0, |output| output.skip_elements);
            let too_large = |quantity, limit| CostError::TooLarge {
                index,
                name: layer.name.clone(),
                quantity,
                limit,
                batch,
            };
            let counts = Counts::of(layer, skip, batch);
            for (total, count, quantity, limit) in [
                (0, counts.macs, "multiply-accumulates", MACS_MAX),
                (1, counts.weights, "weights", ELEMENTS_MAX),
                (2, counts.activations, "activations", ELEMENTS_MAX),
            ] {
                totals[total] = count
                    .and_then(|count| totals[total].checked_add(count))
                    .filter(|sum| *sum <= limit)
                    .ok_or_else(|| too_large(quantity, limit))?;
            }
            shapes.push(Self::of_layer(layer, skip, batch, index == 0));
        }
        Ok(shapes)
    }

    /// The shape of a layer whose counts were checked.
    fn of_layer(layer: &Layer, skip_elements: u64, batch: u64, first: bool) -> Self {
        Self {
            kind: layer.kind,
            batch,
            groups: layer.groups,
            in_channels: layer.in_channels,
            out_channels: layer.out_channels,
            kernel_h: layer.kernel_h,
            kernel_w: layer.kernel_w,
            stride_h: layer.stride_h,
            stride_w: layer.stride_w,
            extent_h: (layer.kernel_h - 1) * layer.dilation_h + 1,
            extent_w: (layer.kernel_w - 1) * layer.dilation_w + 1,
            out_h: layer.out_h(),
            out_w: layer.out_w(),
            positions: batch * layer.out_h() * layer.out_w(),
            reduction: layer.reduction(),
            outputs: layer.out_channels / layer.groups,
            macs: batch * layer.macs(),
            weights: layer.weights(),
            in_elements: batch * layer.in_elements(),
            out_elements: batch * layer.out_elements(),
            skip_elements: batch * skip_elements,
            bias: layer.bias,
            first,
        }
    }
}

/// The counts that are held against the limits; `None` where even a `u64` is too small.
struct Counts {
    macs: Option<u64>,
    weights: Option<u64>,
    activations: Option<u64>,
}

impl Counts {
    fn of(layer: &Layer, skip_elements: u64, batch: u64) -> Self {
        let weights = product(&[
            layer.kernel_h,
            layer.kernel_w,
            layer.in_channels / layer.groups,
            layer.out_channels,
        ]);
        // Everything a kernel touches, padding included, so that no product of tile extents
        // is larger than what is checked here.
        let touched = product(&[
            batch,
            layer.in_channels,
            padded(layer.in_h, layer.pad_top, layer.pad_bottom),
            padded(layer.in_w, layer.pad_left, layer.pad_right),
        ]);
        let results = product(&[batch, layer.out_channels, layer.out_h(), layer.out_w()]);
        let strides = product(&[layer.stride_h, layer.stride_w])
            .filter(|stride| *stride <= ELEMENTS_MAX)
            .map(|_| 0);
        let macs =
            weights.and_then(|weights| product(&[weights, batch, layer.out_h(), layer.out_w()]));
        let skip = batch.checked_mul(skip_elements);
        let activations = [touched, results, skip, strides]
            .into_iter()
            .try_fold(0u64, |sum, count| sum.checked_add(count?));
        Self { macs, weights, activations }
    }
}

fn padded(size: u64, before: u64, after: u64) -> u64 {
    size.saturating_add(before).saturating_add(after)
}

fn product(factors: &[u64]) -> Option<u64> {
    factors.iter().try_fold(1u64, |product, factor| product.checked_mul(*factor))
}
